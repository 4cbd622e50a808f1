"""Rules of the house that no linter knows.

Short files, crates that look one way only, none that is banned, tables of promises whose tests and files exist, and
every command of the Makefile in the README, and what to do at each alert.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
# A file that a stranger reads once from top to bottom. Half would cut nouns in two; twice is where nobody reads on.
MOST_LINES = 400
# Who may depend on whom among our own crates: `proto ◀ pool ◀ gateway`.
MAY_NEED = {
    "par-proto": set(),
    "par-pool": {"par-proto"},
    "par-gateway": {"par-proto", "par-pool"},
    "par-fuzz": {"par-proto", "par-pool", "par-gateway"},
}
# Tables whose last column names what shows a promise: modules of the end-to-end tests, tests (`…` for the rest of a
# name), and files.
PROMISES = ("SECURITY.md", "docs/requirements.md", "docs/controls.md", "tests/e2e/main.rs")
# Of these the column before the last names files of this checkout.
PLACES = ("docs/controls.md",)


def sources() -> list[Path]:
    """Rust, Python and JavaScript files, tracked or new, generated ones left out."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.rs", "*.py", "*.mjs"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.split("\0") if name and not re.search(r"_pb2(_grpc)?\.py$", name)]
    return [CHECKOUT / name for name in names if (CHECKOUT / name).is_file()]


def too_long() -> Iterator[str]:
    """Yield one fault per file over the limit."""
    for path in sources():
        lines = len(path.read_text(errors="replace").splitlines())
        if lines > MOST_LINES:
            yield f"{path.relative_to(CHECKOUT)}: {lines} lines, more than {MOST_LINES}: split it by what it is about"


def wrong_way() -> Iterator[str]:
    """Yield one fault per dependency against the order of the crates."""
    for manifest in sorted(CHECKOUT.glob("*/Cargo.toml")):
        text = manifest.read_text()
        named = re.search(r'^name = "([^"]+)"', text, re.MULTILINE)
        crate = named.group(1) if named else "?"
        needed = set(re.findall(r"^(par-[a-z]+)\b", text, re.MULTILINE))
        where = manifest.relative_to(CHECKOUT)
        if crate not in MAY_NEED:
            yield f"{where}: crate {crate} has no place in the order yet (scripts/house.py)"
            continue
        for other in sorted(needed - MAY_NEED[crate]):
            yield f"{where}: {crate} may not depend on {other}"


def banned(rules: str, lock: str) -> Iterator[str]:
    """Yield one fault per crate of the lock file that deny.toml bans: also where cargo-deny is not installed."""
    reasons = dict(re.findall(r'\{ crate = "([^"]+)", reason = "([^"]+)" \}', rules))
    for name in sorted(set(re.findall(r'^name = "([^"]+)"', lock, re.MULTILINE)) & set(reasons)):
        yield f"Cargo.lock: {name} is banned: {reasons[name]}"


def shown() -> tuple[set[str], str]:
    """Names of the modules of end-to-end tests, and all names of tests, one a line."""
    modules = {path.stem for path in (CHECKOUT / "tests/e2e").rglob("*.rs")}
    tests = [
        name
        for path in sources()
        if path.suffix in {".rs", ".py"}
        for name in re.findall(
            r"^ *(?:async )?(?:fn|def) (\w+)\(", path.read_text(errors="replace"), re.MULTILINE
        )
    ]
    return modules, "\n".join(["", *sorted(set(tests)), ""])


def unproven(table: str, text: str, modules: set[str], tests: str) -> Iterator[str]:
    """Yield one fault per name in the last column of a table that stands for no test."""
    for row in re.findall(r"^(?://! )?\|(.+)\|$", text, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", row.rpartition("|")[2]):
            if "/" in name:
                found = (CHECKOUT / name).exists()
            elif name.endswith("…"):
                found = f"\n{name.removesuffix('…')}" in tests
            else:
                found = name in modules or f"\n{name}\n" in tests
            if not found:
                yield f"{table}: there is no test {name}"


def misplaced(table: str, text: str) -> Iterator[str]:
    """Yield one fault per name in the last column but one of a table that stands for no file."""
    for row in re.findall(r"^\|(.+)\|$", text, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", row.rpartition("|")[0].rpartition("|")[2]):
            if not (CHECKOUT / name).exists():
                yield f"{table}: there is no file {name}"


def unanswered(rules: str, runbook: str) -> Iterator[str]:
    """Yield one fault per alert for which the runbook has no section."""
    sections = re.findall(r"^### (\w+)$", runbook, re.MULTILINE)
    for alert in re.findall(r"^ *- alert: (\w+)$", rules, re.MULTILINE):
        if alert not in sections:
            yield f"docs/runbook.md: no section for the alert {alert}"


def untold(makefile: str, readme: str) -> Iterator[str]:
    """Yield one fault per command of the Makefile that the README's table does not have, and the other way round."""
    offered = set(re.findall(r"^([a-z][a-z-]*):.*## ", makefile, re.MULTILINE))
    told = set(re.findall(r"^\| `make ([a-z-]+)[^`]*` \|", readme, re.MULTILINE))
    for name in sorted(offered - told):
        yield f"README.md: the table of commands has no `make {name}`"
    for name in sorted(told - offered):
        yield f"README.md: there is no `make {name}`"


def main() -> int:
    """0 if the house is in order."""
    rules, lock = (CHECKOUT / "deny.toml").read_text(), (CHECKOUT / "Cargo.lock").read_text()
    faults = [*too_long(), *wrong_way(), *banned(rules, lock)]
    modules, tests = shown()
    for table in PROMISES:
        faults += unproven(table, (CHECKOUT / table).read_text(), modules, tests)
    for table in PLACES:
        faults += misplaced(table, (CHECKOUT / table).read_text())
    faults += untold((CHECKOUT / "Makefile").read_text(), (CHECKOUT / "README.md").read_text())
    alerts = (CHECKOUT / "conf/prometheus/rules/alerts.yml").read_text()
    faults += unanswered(alerts, (CHECKOUT / "docs/runbook.md").read_text())
    for fault in faults:
        print(f"house: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
