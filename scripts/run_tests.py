"""Run every test of the checkout, show each runner's own words, and close with the true sum.

usage: run_tests.py [--python PYTHON]

A runner whose summary cannot be read counts as one failure: silence is not success.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Count:
    """What one runner says it did."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:
        """Both together."""
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


Reader = Callable[[Sequence[str]], "Count | None"]


@dataclass(frozen=True)
class Runner:
    """A command, and who reads its summary."""

    name: str
    command: Sequence[str]
    read: Reader


def read_nextest(lines: Sequence[str]) -> Count | None:
    """Read `Summary [ 1.2s] 5 tests run: 4 passed (1 slow), 1 failed, 2 skipped`."""
    for line in reversed(lines):
        if re.match(r"\s*Summary \[", line):
            return _named(line, failed=("failed", "exec failed", "timed out"))
    return None


def read_cargo(lines: Sequence[str]) -> Count | None:
    """Add up `test result: ok. 4 passed; 0 failed; 1 ignored; …`, one line per test binary."""
    found = [_named(line, skipped=("ignored",)) for line in lines if line.startswith("test result: ")]
    return sum(found, Count()) if found else None


def read_pytest(lines: Sequence[str]) -> Count | None:
    """Read `3 passed, 1 skipped in 0.12s`, with or without a frame of equal signs."""
    for line in reversed(lines):
        if re.search(r"(\d+ \w+.*|no tests ran) in [\d.:]+s", line):
            return _named(line, passed=("passed", "xpassed"), failed=("failed", "error", "errors"))
    return None


def read_node(lines: Sequence[str]) -> Count | None:
    """Read what Node's own runner closes with: `# pass 5`, `# fail 0`, a line for each word."""
    found = dict(re.findall(r"^(?:#|\u2139) ([a-z]+) (\d+)$", "\n".join(lines), re.MULTILINE))
    number = {word: int(count) for word, count in found.items()}
    if "pass" not in number:
        return None
    failed = number.get("fail", 0) + number.get("cancelled", 0)
    return Count(number["pass"], failed, number.get("skipped", 0) + number.get("todo", 0))


def _named(
    line: str,
    passed: Sequence[str] = ("passed",),
    failed: Sequence[str] = ("failed",),
    skipped: Sequence[str] = ("skipped", "xfailed", "deselected"),
) -> Count:
    counts = {word: int(number) for number, word in re.findall(r"(\d+) ((?:exec |timed )?[a-z]+)", line)}

    def total(words: Sequence[str]) -> int:
        return sum(counts.get(word, 0) for word in words)

    return Count(total(passed), total(failed), total(skipped))


def run(runner: Runner) -> Count:
    """Run it, pass on what it prints, and return its own count."""
    print(f"\n── {runner.name}: {' '.join(runner.command)}", flush=True)
    begun = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(
        runner.command,
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(ESCAPES.sub("", line.rstrip("\n")))
    count = runner.read(lines)
    seconds = time.monotonic() - begun
    if count is None:
        print(f"── {runner.name}: exit {child.returncode} and no summary: counted as one failure")
        return Count(failed=1)
    if child.returncode and not count.failed:
        print(f"── {runner.name}: exit {child.returncode} without a failed test: counted as one failure")
        count += Count(failed=1)
    print(f"── {runner.name}: {count} in {seconds:.0f} s", flush=True)
    return count


def runners(python: str) -> list[Runner]:
    """All of them. A folder without Python tests has none to run."""
    if shutil.which("cargo-nextest"):
        nextest = ["cargo", "nextest", "run", "--workspace", "--no-fail-fast", "--no-tests", "fail"]
        rust = [
            Runner("rust", nextest, read_nextest),
            Runner("rust documentation", ["cargo", "test", "--workspace", "--doc"], read_cargo),
        ]
    else:
        rust = [Runner("rust", ["cargo", "test", "--workspace", "--no-fail-fast"], read_cargo)]
    # No options about verbosity: with a project's own `-q` a second one would take the summary away.
    # Why something was skipped is said.
    pytest = [python, "-m", "pytest", "-p", "no:cacheprovider", "-rs"]
    folders = ["scripts", "loadtest/tests", "pool/worker/tests", "tests/interop"]
    scripts = ["pool/worker-node/tests/", "gateway/src/control/dashboard/tests/"]
    node = Runner("JavaScript", ["node", "--test", *scripts], read_node)
    python_tests = [
        Runner(folder, [*pytest, folder], read_pytest)
        for folder in folders
        if any((CHECKOUT / folder).glob("**/test_*.py"))
    ]
    return [*rust, *python_tests, node]


def not_checked(file: Path) -> list[str]:
    """What tests could not look at on this machine, each once."""
    return sorted(set(file.read_text().splitlines())) if file.exists() else []


def main(arguments: Sequence[str]) -> int:
    """0 if something was tested and nothing failed."""
    python = arguments[arguments.index("--python") + 1] if "--python" in arguments else sys.executable
    begun = time.monotonic()
    target = Path(os.environ.get("CARGO_TARGET_DIR") or CHECKOUT / "target")
    # The tests in Python drive the binary that the Rust tests have just built.
    os.environ.setdefault("PAR_BINARY", str(target.absolute() / "debug" / "par"))
    with tempfile.TemporaryDirectory() as scratch:
        # Tests in Rust that end early because something is not here say so in this file.
        missing = Path(os.environ.setdefault("PAR_NOT_CHECKED", str(Path(scratch) / "not_checked")))
        total = sum((run(runner) for runner in runners(python)), Count())
        print("".join(f"\nNOT CHECKED: {why}" for why in not_checked(missing)))
    print(f"\ntests took {time.monotonic() - begun:.0f} s")
    print(total, flush=True)
    return 0 if total.passed and not total.failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
