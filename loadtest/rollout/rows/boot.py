"""Single mode: from the start of the process to ready, a small FastAPI package that lies in S3."""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from bench import tools
from bench.client import ask, get
from bench.par import AGENTS
from bench.plan import Result, at_most
from bench.server import START_SECONDS, free_ports, start

from .. import packages, s3
from ..plan import Trial, Unexpected
from ..s3 import Bucket

AGENT = "rest"
KEY = "rest.apkg"
ASKED_INSTALL_SECONDS = 3.0
ASKED_KNOWN_SECONDS = 1.0
LOOK_EVERY_SECONDS = 0.005


def boot(trial: Trial) -> Result:
    """Each round starts twice: with nothing but a wheelhouse, then with everything but the package."""
    title = "Single mode, FastAPI package from S3: process start to ready"
    result = Result("boot", title, ["environment", "median s", "worst s", "steps of the median, ms"])
    package = _package()
    seen: dict[str, list[tuple[float, dict[str, float]]]] = {"installed from a wheelhouse": [], "known": []}
    with s3.serve() as bucket, tempfile.TemporaryDirectory(prefix="rollout-") as folder:
        bucket.put(KEY, package)
        wheels = Path(folder) / "wheels"
        _download(wheels)
        for number in range(1, trial.plan.cold_starts + 1):
            home = Path(tempfile.mkdtemp(prefix="rollout-"))
            try:
                for name, starts in seen.items():
                    starts.append(_start(trial.binary, bucket, package, wheels, home))
                    trial.say(f"boot {number}: {name} {starts[-1][0]:.2f} s")
            finally:
                shutil.rmtree(home, ignore_errors=True)
    for name, starts in seen.items():
        middle = statistics.median_low(seconds for seconds, _ in starts)
        steps = next(steps for seconds, steps in starts if seconds == middle)
        shown = ", ".join(f"{step} {seconds * 1000:.0f}" for step, seconds in steps.items())
        worst = max(seconds for seconds, _ in starts)
        result.lines.append([name, f"{middle:.2f}", f"{worst:.2f}", shown])
        asked = ASKED_KNOWN_SECONDS if name == "known" else ASKED_INSTALL_SECONDS
        result.verdicts.append(at_most(f"boot, environment {name}, worst", worst, asked, " s", 2))
    result.raw = {
        name: [{"seconds": s, "steps": steps} for s, steps in starts] for name, starts in seen.items()
    }
    return result


def _package() -> bytes:
    folder = AGENTS / AGENT
    names = ("agent.yaml", "web.py", "requirements.txt")
    return packages.archive({name: (folder / name).read_bytes() for name in names})


def _download(wheels: Path) -> None:
    """The wheels of the package, from the index."""
    with tempfile.TemporaryDirectory(prefix="rollout-") as scratch:
        python = Path(scratch) / "venv" / "bin" / "python"
        tools.run(["uv", "venv", "--quiet", "--seed", "--python", tools.PYTHON, str(python.parent.parent)])
        requirements = str(AGENTS / AGENT / "requirements.txt")
        command = [str(python), "-m", "pip", "download", "--quiet", "--only-binary", ":all:"]
        tools.run([*command, "-d", str(wheels), "-r", requirements])


def _start(
    binary: Path, bucket: Bucket, package: bytes, wheels: Path, home: Path
) -> tuple[float, dict[str, float]]:
    """Seconds to ready, and those of each step."""
    shutil.rmtree(home / "store", ignore_errors=True)
    rest, a2a, ui, metrics = free_ports(4)
    env = {
        **bucket.env,
        "AGENT_APP_ID": "rest",
        "PACKAGE_URL": bucket.url(KEY),
        "PACKAGE_SHA256": hashlib.sha256(package).hexdigest(),
        "REST_PORT": str(rest),
        "A2A_PORT": str(a2a),
        "UI_PORT": str(ui),
        "METRICS_PORT": str(metrics),
        "HOST": "127.0.0.1",
        "PAR_DATA_DIR": str(home / "data"),
        "PACKAGE_CACHE_DIR": str(home / "store"),
        "WHEELHOUSE_DIR": str(wheels),
    }
    begun = time.perf_counter()
    with start("par", rest, [str(binary), "serve"], home, env, home / "log") as server:
        while True:
            try:
                if ask(rest, get("/health"), 5.0).status == 200:
                    break
            except OSError:
                pass
            if time.perf_counter() - begun > START_SECONDS:
                raise Unexpected(f"not ready:\n{server.log.read_text(errors='replace')[-2000:]}")
            time.sleep(LOOK_EVERY_SECONDS)
        seconds = time.perf_counter() - begun
        steps = _steps(server.log)
    return seconds, steps


def _steps(log: Path) -> dict[str, float]:
    """What the log says of each step's time."""
    found: dict[str, float] = {}
    for line in log.read_text(errors="replace").splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        details = said.get("details") or {}
        if "seconds" in details:
            found[said["event"]] = found.get(said["event"], 0.0) + float(details["seconds"])
    return found
