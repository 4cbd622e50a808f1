"""What is rolled out: packages and wheels, made here byte for byte the same every time."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path

# Zip files carry times; with one fixed time the same content has the same digest.
TIME = (2026, 1, 1, 0, 0, 0)
MEGABYTE = 1_000_000
WHEELS = 10
MODULES_OF_A_WHEEL = 30
# Parts of a large package that do not shrink: models, pictures, what agents ship besides code.
DATA_FILE = 2 * MEGABYTE

RELEASE_CODE = '''"""Release {release}: tells which release it is and how long its imports took."""

import time

_BEGUN = time.perf_counter()

import asyncio  # noqa
import csv  # noqa
import decimal  # noqa
import email.message  # noqa
import logging.handlers  # noqa
import sqlite3  # noqa
import urllib.request  # noqa
import xml.etree.ElementTree  # noqa

{imports}

IMPORT_SECONDS = time.perf_counter() - _BEGUN


def run(body):
    """Which release answers."""
    return {{"release": {release}, "import_seconds": IMPORT_SECONDS}}
'''
SMALL_CODE = '''"""A small agent without dependencies."""

import json
import re


def run(body):
    """Its own number."""
    return {{"release": {release}, "words": len(re.findall("[a-z]+", json.dumps(body)))}}
'''


def release(name: str, version: str, number: int, wheels: int, padding_mb: int = 0) -> bytes:
    """A package that answers `{"release": number, …}` and needs the first `wheels` wheels."""
    imports = "\n".join(f"import {_module(wheel)}  # noqa" for wheel in range(wheels))
    files = {
        "agent.yaml": _manifest(name, version).encode(),
        "release.py": RELEASE_CODE.format(release=number, imports=imports).encode(),
    }
    if wheels:
        needed = "".join(f"{_project(wheel)}==1.0.0\n" for wheel in range(wheels))
        files["requirements.txt"] = needed.encode()
    noise = random.Random(number)
    for part in range(padding_mb * MEGABYTE // DATA_FILE):
        files[f"data/part-{part:02}.bin"] = noise.randbytes(DATA_FILE)
    return archive(files)


def small(name: str, number: int) -> bytes:
    """A package of the standard library alone."""
    code = SMALL_CODE.format(release=number).encode()
    return archive({"agent.yaml": _manifest(name, "1.0.0").encode(), "release.py": code})


def archive(files: Mapping[str, bytes]) -> bytes:
    """These files as a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, TIME)
            entry.external_attr = 0o644 << 16
            # What is noise stays as it is: deflating it would only cost time.
            entry.compress_type = zipfile.ZIP_STORED if path.endswith(".bin") else zipfile.ZIP_DEFLATED
            packed.writestr(entry, content)
    return buffer.getvalue()


def wheelhouse(folder: Path) -> None:
    """Fill `folder` with pure wheels that depend on nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in range(WHEELS):
        project, module = _project(wheel), _module(wheel)
        info = f"{module}-1.0.0.dist-info"
        files = {f"{module}/__init__.py": b'"""A dependency."""\n\nfrom . import part_00  # noqa\n'}
        for part in range(MODULES_OF_A_WHEEL):
            lines = [f"def function_{n}(value):\n    return (value, {part}, {n})\n\n\n" for n in range(50)]
            files[f"{module}/part_{part:02}.py"] = "".join(lines).encode()
        metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0.0\n"
        tags = "Wheel-Version: 1.0\nGenerator: rollout\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        files[f"{info}/METADATA"] = metadata.encode()
        files[f"{info}/WHEEL"] = tags.encode()
        record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
        files[f"{info}/RECORD"] = record.encode()
        (folder / f"{module}-1.0.0-py3-none-any.whl").write_bytes(archive(files))


def _manifest(name: str, version: str) -> str:
    return (
        f"name: {name}\nversion: {version}\nruntime: {{python: '>=3.9'}}\n"
        f"exports:\n  - id: {name}-run\n    handler: release:run\n"
    )


def _project(wheel: int) -> str:
    return f"rollout-wheel-{wheel}"


def _module(wheel: int) -> str:
    return f"rollout_wheel_{wheel}"
