"""The index in S3: which releases are listed, and in what a listed one is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from rollout.registry import INDEX, Entry
from rollout.s3 import Bucket

from .ends import Signer
from .packages import Release, still
from .plan import Kind


@dataclass
class Shelf:
    """Releases in the order of their publication. The last one that is good is what must serve in the end."""

    bucket: Bucket
    signer: Signer
    published: list[Release] = field(default_factory=list)

    @property
    def last_good(self) -> Release:
        """What must serve when all is quiet."""
        return next(release for release in reversed(self.published) if not release.is_bad)

    def good(self) -> frozenset[int]:
        """Numbers that answers may have."""
        return frozenset(release.number for release in self.published if not release.is_bad)

    def publish(self, kind: Kind) -> Release:
        """A release more, and the index that lists it. Blocks."""
        release = Release(len(self.published), kind)
        self._put(release.entry(), wrong_signature=kind is Kind.RELEASE_SIGNATURE)
        self.published.append(release)
        self._list(release, kind)
        return release

    def take_back(self) -> None:
        """List the last good one again. Blocks."""
        self._list(self.last_good, Kind.RELEASE_GOOD)

    def _put(self, entry: Entry, wrong_signature: bool = False) -> None:
        self.bucket.put(entry.file, entry.content)
        signed = entry.content + b"something else" if wrong_signature else entry.content
        self.bucket.put(f"{entry.file}.asc", self.signer.sign(signed))

    def _list(self, release: Release, kind: Kind) -> None:
        unmoved = still()
        if len(self.published) == 1:
            self._put(unmoved)
        packages = [_listed(unmoved), _listed(release.entry())]
        if kind is Kind.RELEASE_DIGEST:
            packages[1]["sha256"] = "0" * 64
        self.bucket.put(INDEX, json.dumps({"version": 1, "packages": packages}).encode())


def _listed(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "version": entry.version,
        "url": entry.file,
        "signature": f"{entry.file}.asc",
        "sha256": entry.sha256,
        "size": len(entry.content),
        "active": True,
    }
