"""The closing line of `make test` is only as true as the reading of each runner's summary."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from run_tests import (
    Count,
    Reader,
    Runner,
    not_checked,
    read_cargo,
    read_nextest,
    read_node,
    read_pytest,
    run,
)


@pytest.mark.parametrize(
    ("read", "lines", "count"),
    [
        (read_nextest, ["     Summary [   0.1s] 5 tests run: 5 passed, 0 skipped"], Count(5, 0, 0)),
        (
            read_nextest,
            [
                "     Summary [   9.1s] 9 tests run: 5 passed (1 slow), 2 failed, 1 exec failed, 1 timed out, 3 skipped",
                "error: test run failed",
            ],
            Count(5, 4, 3),
        ),
        (read_nextest, ["     Summary [   0.1s] 1 test run: 1 passed (1 leaky), 0 skipped"], Count(1, 0, 0)),
        (read_nextest, ["error: could not compile `par-pool` (lib) due to 6 previous errors"], None),
        (
            read_cargo,
            [
                "test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
                "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            ],
            Count(7, 2, 1),
        ),
        (read_cargo, ["error: no such command"], None),
        (read_pytest, ["...", "3 passed, 1 skipped in 0.12s"], Count(3, 0, 1)),
        (
            read_pytest,
            ["== 1 failed, 2 passed, 1 error, 4 deselected in 61.20s (0:01:01) =="],
            Count(2, 2, 4),
        ),
        (read_pytest, ["no tests ran in 0.01s"], Count()),
        (
            read_node,
            [
                "# tests 9",
                "# pass 5",
                "# fail 2",
                "# cancelled 1",
                "# skipped 1",
                "# todo 0",
                "# duration_ms 9.5",
            ],
            Count(5, 3, 1),
        ),
        (read_node, ["\u2139 pass 3", "\u2139 fail 0"], Count(3, 0, 0)),
        (read_node, ["Could not find 'pool/worker-node/tests/'"], None),
        (read_pytest, ["ImportError while loading conftest"], None),
    ],
)
def test_a_summary_is_read_as_it_is_meant(read: Reader, lines: list[str], count: Count | None) -> None:
    """Real closing lines of the runners, good and bad."""
    assert read(lines) == count


@pytest.mark.parametrize(
    ("script", "count"),
    [
        ("print('2 passed in 0.1s')", Count(2)),
        ("print('nothing to say')", Count(failed=1)),
        ("import sys; print('2 passed in 0.1s'); sys.exit(3)", Count(2, 1)),
        ("import sys; print('1 failed, 2 passed in 0.1s'); sys.exit(1)", Count(2, 1)),
    ],
)
def test_a_runner_that_ends_badly_is_a_failure(script: str, count: Count) -> None:
    """Whatever its summary says, or if it has none."""
    assert run(Runner("fake", [sys.executable, "-c", script], read_pytest)) == count


def test_the_closing_line_is_plain() -> None:
    """CI reads it by this shape."""
    assert str(Count(3, 1)) == "3 passed, 1 failed"
    assert str(Count(3, 0, 2)) == "3 passed, 0 failed, 2 skipped"


def test_what_could_not_be_checked_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "not_checked"
    assert not_checked(file) == []
    file.write_text("units: no systemd\npages: no man\nunits: no systemd\n")
    assert not_checked(file) == ["pages: no man", "units: no systemd"]
