"""Layers as archives whose bytes depend on their files alone, and an image of them in the layout of OCI."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Who the image runs as, and the directories that belong to him.
USER = 10001
HIS = {"var/lib/par": 0o700}
STICKY = {"tmp": 0o1777}


@dataclass(frozen=True)
class Layer:
    """An archive of files: what it is called, where it is, how large."""

    name: str
    #: The archive, as it is unpacked.
    tar: bytes
    #: Sum of the sizes of its files.
    size: int
    files: int

    @property
    def digest(self) -> str:
        """Of the archive before it is packed."""
        return f"sha256:{hashlib.sha256(self.tar).hexdigest()}"


def layer(name: str, root: Path, epoch: int) -> Layer:
    """Everything below `root`, in the order of names, owned by root, of one time."""
    out = io.BytesIO()
    size = files = 0
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in _walk(root):
            inside = str(path.relative_to(root))
            member = archive.gettarinfo(str(path), inside)
            member.mtime, member.uname, member.gname = epoch, "", ""
            member.uid = member.gid = USER if inside in HIS else 0
            member.mode = _mode(inside, path)
            if member.isfile() or member.islnk():
                # A link between files of one layer would depend on which comes first.
                member.type, member.linkname, member.size = tarfile.REGTYPE, "", path.stat().st_size
                size, files = size + member.size, files + 1
                with path.open("rb") as content:
                    archive.addfile(member, content)
            else:
                archive.addfile(member)
    return Layer(name, out.getvalue(), size, files)


def _walk(root: Path) -> list[Path]:
    found = []
    for directory, folders, names in os.walk(root):
        found += [Path(directory) / name for name in [*folders, *names]]
    return sorted(found, key=lambda path: path.relative_to(root).parts)


def _mode(inside: str, path: Path) -> int:
    given = (HIS | STICKY).get(inside)
    if given is not None:
        return given
    # Nothing is set-user-id, and nothing depends on the umask of who builds.
    mode = path.lstat().st_mode
    return 0o755 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o644


def image(layers: list[Layer], labels: dict[str, str], architecture: str, created: str, out: Path) -> str:
    """Write the layout of an image, which `skopeo copy oci:…` and others read; its digest."""
    blobs = out / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(content: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{digest}",
            "size": len(content),
        }

    packed = [put(gzip.compress(each.tar, 6, mtime=0), "layer.v1.tar+gzip") for each in layers]
    config = {
        "created": created,
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "Env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
            "Entrypoint": ["/usr/bin/par"],
            "Cmd": ["serve"],
            "WorkingDir": "/",
            "Volumes": {"/var/lib/par": {}, "/tmp": {}},
            "ExposedPorts": {f"{port}/tcp": {} for port in (8000, 50051, 9090)},
            "StopSignal": "SIGTERM",
            # Of engines that know it; the specification of OCI has no such thing and lets it be.
            "Healthcheck": {
                "Test": ["CMD", *HEALTH],
                **{name: seconds * 10**9 for name, seconds in HEALTH_TIMES.items()},
                "Retries": HEALTH_RETRIES,
            },
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [each.digest for each in layers]},
        "history": [{"created": created, "created_by": f"scripts/rootfs: {each.name}"} for each in layers],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(_json(config), "config.v1+json"),
        "layers": packed,
    }
    named = put(_json(manifest), "manifest.v1+json")
    (out / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [named]}))
    (out / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return str(named["digest"])


# Whether the process answers; whether it is ready is /health, which is for load balancers.
HEALTH = (
    "/usr/bin/python3.11",
    "-c",
    "import os, http.client as h; "
    "c = h.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8000), timeout=4); "
    "c.request('GET', '/runtime/live'); exit(c.getresponse().status != 200)",
)
# In seconds.
HEALTH_TIMES = {"Interval": 10, "Timeout": 5, "StartPeriod": 30}
HEALTH_RETRIES = 3
# What programs in it find. HOME is for libraries that keep things: it goes with the container.
ENVIRONMENT = {
    "PATH": "/usr/bin",
    "LANG": "C.UTF-8",
    "HOME": "/tmp",
    "PAR_DATA_DIR": "/var/lib/par",
    "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
}


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
