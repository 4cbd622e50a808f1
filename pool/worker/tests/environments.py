"""Environments with real packages of the index, made once and kept between runs.

Enters: the name of an environment. Leaves: an interpreter, and where its packages are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "par" / "worker-tests"

#: "old" is the oldest set that is promised to work, "new" what is current.
REQUIREMENTS = {
    "new": [
        "fastapi==0.165.0",
        "uvicorn[standard]==0.54.0",
        "grpcio==1.85.1",
        "grpcio-status==1.85.1",
        "grpcio-tools==1.85.1",
    ],
    "old": [
        "fastapi==0.88.0",
        "starlette==0.22.0",
        "pydantic==1.10.26",
        "uvicorn==0.20.0",
        "websockets==10.4",
        "httptools==0.5.0",
        "grpcio==1.51.3",
        "grpcio-status==1.51.3",
        "protobuf==4.21.12",
    ],
    # As a package that brings FastAPI and nothing that serves it.
    "bare": ["fastapi==0.115.12"],
    # What code that is executed for somebody finds.
    "data": ["numpy==2.0.2", "pandas==2.2.3", "matplotlib==3.9.4"],
}

#: The newest Python for which the old ones were built.
_OLD_PYTHON = (3, 11)


class Environment(NamedTuple):
    """One environment."""

    python: str
    site: str


def environment(name: str) -> Environment:
    """Makes it if it is not there. Skips the test where no Python is old enough."""
    python = _python(name)
    key = f"compiled-{name}-{'-'.join(python.split('/')[-3:])}-{_digest(name)}"
    home = CACHE / key
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        if uv := shutil.which("uv"):
            _run(uv, "venv", "--quiet", "--python", python, str(home))
            # Templates write no bytecode: without this, every one of them would compile FastAPI anew.
            install = [uv, "pip", "install", "--quiet", "--compile-bytecode"]
            _run(*install, "--python", str(home / "bin" / "python"), *REQUIREMENTS[name])
        else:
            _run(python, "-m", "venv", str(home))
            _run(str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", *REQUIREMENTS[name])
        (home / "complete").touch()
    site = next((home / "lib").glob("python3.*/site-packages"))
    return Environment(str(home / "bin" / "python"), str(site))


def _python(name: str) -> str:
    if name != "old" or sys.version_info[:2] <= _OLD_PYTHON:
        return sys.executable
    for minor in range(_OLD_PYTHON[1], 8, -1):
        found = shutil.which(f"python3.{minor}")
        if found and subprocess.run([found, "-c", ""], check=False).returncode == 0:
            return found
    pytest.skip("no Python that is old enough for the old packages")


def _digest(name: str) -> str:
    import hashlib

    return hashlib.sha256(" ".join(REQUIREMENTS[name]).encode()).hexdigest()[:8]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
