"""What the bench needs on the machine: uv, wrk, oha, and one pinned environment per peer."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "par"
TOOLS = CACHE / "tools"
ENVIRONMENTS = CACHE / "bench"
PEERS = Path(__file__).with_name("peers")
PYTHON = "3.11"
OHA = "1.16.0"


class Missing(Exception):
    """Something is not there and could not be installed."""


def prepare() -> None:
    """Put the tools directory on PATH and install the load generators that are not there."""
    os.environ["PATH"] = f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}"
    os.environ["UV_PYTHON_DOWNLOADS"] = "never"
    if not shutil.which("uv"):
        raise Missing("uv is not there: run `make setup`")
    if not shutil.which("wrk"):
        _install("wrk")
    if not shutil.which("oha"):
        _install_oha()


def nginx() -> None:
    """Install it if it is not there."""
    os.environ["PATH"] += f"{os.pathsep}/usr/sbin"
    if not shutil.which("nginx"):
        _install("nginx-light")


def environment(name: str, folder: Path = PEERS) -> Path:
    """The `bin` folder of a peer's environment; made once per content of its requirements."""
    requirements = folder / name / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    target = ENVIRONMENTS / f"{name}-{digest}"
    if not (target / ".complete").exists():
        print(f"bench: install {name} into {target}", flush=True)
        run(["uv", "venv", "--quiet", "--clear", "--python", PYTHON, str(target)])
        run(["uv", "pip", "install", "--quiet", "--python", str(target), "-r", str(requirements)])
        (target / ".complete").touch()
    return target / "bin"


def version(command: Sequence[str]) -> str:
    """The first line that a tool prints about itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else "?"


def run(command: Sequence[str]) -> None:
    """Run a step of the installation; its output is shown only if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")


def _install(package: str) -> None:
    if not shutil.which("apt-get"):
        raise Missing(f"{package} is not there: install it with the system's package manager")
    rights = [] if os.geteuid() == 0 else ["sudo", "-n"]
    print(f"bench: install {package} with apt-get", flush=True)
    run([*rights, "apt-get", "update", "-qq"])
    # Installed, not started.
    os.environ["RUNLEVEL"] = "1"
    run([*rights, "apt-get", "install", "-qq", "-y", "--no-install-recommends", package])


def _install_oha() -> None:
    print(f"bench: compile oha {OHA} (once, some minutes)", flush=True)
    command = ["cargo", "install", "oha", "--version", OHA, "--locked"]
    target = ["--root", str(TOOLS), "--target-dir", str(CACHE / "oha-target")]
    run([*command, *target])
    shutil.rmtree(CACHE / "oha-target", ignore_errors=True)
