"""Packages of Debian: fetched by apt, unpacked without running anything of theirs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# The C library, what it is linked to, and certificates. libstdc++ is for wheels: they bring everything else.
BASE = (
    "base-files",
    "libc6",
    "libgcc-s1",
    "gcc-12-base",
    "libstdc++6",
    "ca-certificates",
    "tzdata",
    "netbase",
    "media-types",
)
# Python, and the libraries that its own modules are linked to.
PYTHON = (
    "python3.11-minimal",
    "python3.11",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libbz2-1.0",
    "libcrypt1",
    "libexpat1",
    "libffi8",
    "liblzma5",
    "libncursesw6",
    "libsqlite3-0",
    "libssl3",
    "libtinfo6",
    "libuuid1",
    "zlib1g",
)
# Modules that would need five more libraries: formats and services of another time, and lines that people edit.
WITHOUT = ("nis.cpython", "_dbm.cpython", "readline.cpython")
# One tree of files, as Debian has it, though packages still name the other.
LINKS = (("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"))
# What nobody reads in a container: the licences stay. Character sets beyond Unicode are Python's own.
DROPPED = (
    r"usr/share/doc/[^/]+/(?!copyright$)",
    r"usr/share/(man|lintian|bug|info|locale|applications|pixmaps|binfmts|doc-base)/",
    r"usr/lib/[^/]+/gconv/",
    r"usr/lib/locale/(?!C\.utf8)",
    r"usr/share/(base-files|zoneinfo/right|zoneinfo/posix)/",
    r"(boot|home|media|mnt|opt|root|srv|usr/games|usr/include|usr/src)/",
    r"usr/lib/python3\.11/(test|unittest/test)/",
    r"usr/sbin/",
    r"usr/share/python3/",
    r"usr/lib/(dpkg|mime|valgrind)/",
    r"etc/(cron|init|kernel|apt|dpkg|ca-certificates|update-motd|profile|issue|host.conf|default|skel|opt)",
)


class Failed(SystemExit):
    """A step that could not be done, and what its program said."""


@dataclass(frozen=True)
class Fetched:
    """An archive of Debian."""

    name: str
    version: str
    architecture: str
    path: Path


def fetch(names: Iterable[str], directory: Path) -> list[Fetched]:
    """Download what this machine's apt knows as the newest; sorted by name."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        return [_fetch(name, version, directory) for name, version in _newest(names)]
    except Failed:
        # Its lists are older than the archive, or it has none.
        _run(["apt-get", "update", "-qq"])
        return [_fetch(name, version, directory) for name, version in _newest(names)]


def _newest(names: Iterable[str]) -> list[tuple[str, str]]:
    told = _run(["apt-cache", "show", "--no-all-versions", *names])
    versions = dict(re.findall(r"^Package: (\S+)\n(?:.*\n)*?Version: (\S+)$", told, re.MULTILINE))
    missing = sorted(set(names) - versions.keys())
    if missing:
        raise Failed(f"apt knows no package {', '.join(missing)}")
    return [(name, versions[name]) for name in sorted(names)]


def _fetch(name: str, version: str, directory: Path) -> Fetched:
    pattern = f"{name}_{version.replace(':', '%3a')}_*.deb"
    if not list(directory.glob(pattern)):
        # As root, apt would hand the download to a user that cannot write here.
        _run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", name], cwd=directory)
    (path,) = directory.glob(pattern)
    told = _run(["dpkg-deb", "--show", "--showformat=${Version}\t${Architecture}", str(path)])
    shown, architecture = told.split("\t")
    return Fetched(name, shown, architecture, path)


def unpack(fetched: Iterable[Fetched], root: Path, on: Path | None = None) -> None:
    """Put their files below `root`, without what is dropped. `on` is the layer below, which has the links already."""
    for link, target in LINKS:
        (root / target).mkdir(parents=True, exist_ok=True)
        if not (root / link).is_symlink():
            (root / link).symlink_to(target)
    for one in fetched:
        reading = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(one.path)], stdout=subprocess.PIPE)
        writing = ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(root)]
        subprocess.run(writing, stdin=reading.stdout, check=True)
        if reading.wait():
            raise SystemExit(f"rootfs: {one.path} cannot be read")
    _drop(root)
    if on:
        for link, target in LINKS:
            (root / link).unlink()
            if (root / target).is_dir() and not any((root / target).iterdir()):
                (root / target).rmdir()


def _drop(root: Path) -> None:
    pattern = re.compile("|".join(DROPPED))
    for directory, _, names in os.walk(root, topdown=False):
        for name in names:
            path = Path(directory) / name
            inside = str(path.relative_to(root))
            if pattern.match(inside) or name.startswith(WITHOUT):
                path.unlink()
        if (
            directory != str(root)
            and not os.listdir(directory)
            and pattern.match(f"{os.path.relpath(directory, root)}/")
        ):
            os.rmdir(directory)


def certificates(root: Path) -> None:
    """The bundle that `update-ca-certificates` would make, where libraries look for it."""
    sources = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    place = root / "etc/ssl/certs"
    place.mkdir(parents=True, exist_ok=True)
    (place / "ca-certificates.crt").write_bytes(b"".join(path.read_bytes() for path in sources))
    for path in sources:
        path.unlink()
    library = root / "usr/lib/ssl"
    library.mkdir(parents=True, exist_ok=True)
    for link, target in [("certs", "/etc/ssl/certs"), ("cert.pem", "/etc/ssl/certs/ca-certificates.crt")]:
        if not (library / link).is_symlink():
            (library / link).symlink_to(target)


# Whose copyright files are prose.
STATED = {
    "libcrypt1": ["LGPL-2.1-or-later"],
    "python3.11": ["PSF-2.0"],
    "python3.11-minimal": ["PSF-2.0"],
    "libpython3.11-minimal": ["PSF-2.0"],
    "libpython3.11-stdlib": ["PSF-2.0"],
}


def licences(root: Path, name: str) -> list[str]:
    """What the copyright file of a package names, in its machine-readable form or by the texts that it points to."""
    if name in STATED:
        return STATED[name]
    path = root / "usr/share/doc" / name / "copyright"
    if not path.exists():
        return []
    text = path.read_text(errors="replace")
    named = set(
        re.findall(
            r"^License: *([A-Za-z0-9.+/-]+(?: (?:or|and|with) [A-Za-z0-9.+/-]+)*)$", text, re.MULTILINE
        )
    )
    common = set(re.findall(r"/usr/share/common-licenses/([A-Za-z0-9.-]*[A-Za-z0-9])", text))
    return sorted(named or common)


def _run(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"rootfs: {' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
