"""The wheel in a fresh environment, calling a running `par`: as a program outside of the host does."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CHECKOUT, Par, binary, run, serving

MANIFEST = """
name: outside
version: 1.0.0
exports:
  - {id: add, handler: "main:add"}
  - {id: raises, handler: "main:raises"}
  - {id: slow, handler: "main:slow"}
  - {id: count, handler: "main:count"}
  - {id: endless, handler: "main:endless"}
  - {id: breaks, handler: "main:breaks"}
  - {id: octets, handler: "main:octets"}
  - {id: who, handler: "main:who"}
  - {id: guarded, handler: "main:add", role_required: billing}
"""

MAIN = """
import time

def add(a, b=1):
    return {"sum": a + b}

def raises():
    raise ValueError("of the agent's own")

def slow(*, seconds):
    time.sleep(seconds)

def count(*, to):
    for number in range(to):
        yield {"n": number}

def endless():
    try:
        while True:
            yield "x" * 1000
    finally:
        print("the generator was closed", flush=True)

def breaks(*, to):
    yield from range(to)
    raise ValueError("of the generator's own")

def octets(*, size):
    return b"x" * size

def who(*, word, context):
    return {"word": word, "caller": context.caller, "traceparent": context.traceparent}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make wheel` builds it."""
    out = tmp_path_factory.mktemp("wheel")
    run("make", "--no-print-directory", "-C", CHECKOUT, "wheel", f"WHEEL={out}")
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the wheel and nothing else, not even this checkout."""
    home = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip", home)
    run("uv", "pip", "install", "--quiet", "--offline", "--python", home / "bin" / "python", wheel)
    return home / "bin" / "python"


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Par]:
    """A `par` as in production, with agents for these tests."""
    package = tmp_path_factory.mktemp("outside")
    (package / "agent.yaml").write_text(MANIFEST)
    (package / "main.py").write_text(MAIN)
    with serving(tmp_path_factory.mktemp("par"), str(package), HOST="127.0.0.1") as par:
        yield par


def told(python: Path, par: Par, story: str, **variables: str) -> Any:
    """What a program prints as JSON. It finds the local socket as any other would."""
    environment = {"PAR_DATA_DIR": str(par.data), "PATH": os.environ["PATH"], **variables}
    program = f"import asyncio, json\nimport pixell_runtime\nfrom pixell_runtime import client\n{story}"
    done = subprocess.run(
        [python, "-I", "-c", program], env=environment, capture_output=True, text=True, timeout=120, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_equal_sources_make_equal_wheels_of_the_version_of_par(wheel: Path, tmp_path: Path) -> None:
    copy = tmp_path / "worker"
    shutil.copytree(CHECKOUT / "pool" / "worker", copy, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}
    run("uv", "build", "--quiet", "--wheel", "--out-dir", tmp_path / "out", copy, env=environment)
    (again,) = (tmp_path / "out").glob("*.whl")
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(wheel.read_bytes()).digest()
    version = run(binary(), "--version").split()[-1]
    assert wheel.name == f"pixell_runtime-{version}-py3-none-any.whl"


def test_calls_go_over_the_local_socket(python: Path, outside: Par) -> None:
    story = """
par = pixell_runtime.connect()
async def later():
    async with par:
        return await asyncio.gather(*(par.acall("outside/add", a=n) for n in range(3)))
failures = []
for agent, given in (("raises", {}), ("add", {"c": 1}), ("nobody", {}), ("slow", {"seconds": 20})):
    try:
        par.options(timeout=0.5, request_id="r-" + agent).call(agent, **given)
    except client.CallError as error:
        failures.append([type(error).__name__, error.code, error.status, error.request_id, bool(error.errors), error.error])
who = par.options(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").call("who", word="zoë")
print(json.dumps([par.call("add", a=1, b=2), asyncio.run(later()), par.call("guarded", {"a": 1}), failures, who,
                  len(par.call("octets", size=100_000).read())]))
"""
    sum_, sums, guarded, failures, who, octets = told(python, outside, story)
    assert (sum_, sums) == ({"sum": 3}, [{"sum": 1}, {"sum": 2}, {"sum": 3}])
    assert guarded == {"sum": 2}, "the user of this machine needs no role"
    error = {"type": "ValueError", "message": "of the agent's own"}
    assert failures[0][:5] == ["AgentFailed", "agent_error", 500, "r-raises", False]
    assert {name: failures[0][5][name] for name in error} == error
    assert failures[1][:4] == ["InputInvalid", "input_invalid", 422, "r-add"]
    assert failures[2][:4] == ["NotFound", "agent_not_found", 404, "r-nobody"]
    assert failures[3][:4] == ["DeadlineExceeded", "deadline_exceeded", 504, "r-slow"]
    assert who["word"] == "zoë" and who["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert who["caller"]["subject"] == f"local:{os.geteuid()}" and who["caller"]["tenant"] == "local"
    assert octets == 100_000


def test_streams_come_as_they_are_made_fail_as_they_do_and_end_with_their_reader(
    python: Path, outside: Par
) -> None:
    story = """
par = pixell_runtime.connect()
def failing(stream):
    seen = []
    try:
        for item in stream:
            seen.append(item)
    except client.CallError as error:
        return [seen, type(error).__name__, error.error["message"]]
async def later():
    async with par:
        counted = [item async for item in await par.astream("count", to=3)]
        async with await par.astream("endless") as stream:
            return [counted, len(await stream.__anext__())]
with par.stream("endless") as stream:
    first = len(next(stream))
print(json.dumps([list(par.stream("count", to=3)), list(par.stream("add", a=1)), failing(par.stream("breaks", to=2)),
                  first, asyncio.run(later())]))
"""
    counted, plain, broken, first, later = told(python, outside, story)
    assert counted == [{"n": 0}, {"n": 1}, {"n": 2}] and later == [counted, 1000] and first == 1000
    assert plain == [{"sum": 2}], "what is no generator is one item"
    assert broken == [[0, 1], "AgentFailed", "of the generator's own"]
    deadline = time.monotonic() + 20
    while (outside.data / "log").read_text().count("the generator was closed") < 2:
        assert time.monotonic() < deadline, "whoever leaves a stream closes its generator"
        time.sleep(0.05)


def test_calls_go_over_a_port_with_and_without_a_token(python: Path, outside: Par) -> None:
    story = f"""
address = "http://127.0.0.1:{outside.port}"
par = pixell_runtime.connect(address)
try:
    par.call("guarded", a=1)
except client.Unauthenticated as error:
    print(json.dumps([par.call("add", a=1), error.code, pixell_runtime.connect(address, token="none").call("add", a=2)]))
"""
    assert told(python, outside, story) == [{"sum": 2}, "unauthenticated", {"sum": 3}]


def test_types_are_told_to_whoever_checks_them(python: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import pixell_runtime\n"
        "par: pixell_runtime.Client = pixell_runtime.connect(timeout=3)\n"
        "error: str = pixell_runtime.connect(timeout='3')\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, program]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=tmp_path)
    faults = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(faults) == 2 and all("program.py:3:" in fault for fault in faults), done.stdout + done.stderr
