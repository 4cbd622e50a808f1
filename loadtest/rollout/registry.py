"""A registry: packages and an index in a folder or in a bucket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

INDEX = "index.json"


@dataclass(frozen=True)
class Entry:
    """One package of an index."""

    name: str
    version: str
    content: bytes

    @property
    def file(self) -> str:
        """Its address, relative to the index."""
        return f"{self.name}-{self.version}.apkg"

    @property
    def sha256(self) -> str:
        """Digest of its bytes, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


class Shelf(Protocol):
    """Where a registry keeps its files."""

    def put(self, key: str, content: bytes) -> None:
        """Store or replace, so that a reader sees the old or the new content whole."""


@dataclass(frozen=True)
class Folder:
    """A registry on disk."""

    path: Path

    def put(self, key: str, content: bytes) -> None:
        target = self.path / key
        fresh = target.with_name(f".{target.name}.new")
        fresh.write_bytes(content)
        fresh.replace(target)


def index(entries: Sequence[Entry]) -> bytes:
    """An index that lists these, each as the version that serves."""
    packages = [
        {
            "name": entry.name,
            "version": entry.version,
            "url": entry.file,
            "sha256": entry.sha256,
            "size": len(entry.content),
            "active": True,
        }
        for entry in entries
    ]
    return json.dumps({"version": 1, "packages": packages}, indent=1).encode()
