"""A promise whose test is gone is told, and so is a place or a command."""

from __future__ import annotations

from house import misplaced, unanswered, unproven, untold

MODULES = {"tls", "sandbox"}
TESTS = "\na_head_that_drips_is_ended\nwhat_is_smuggled_is_never_served\n"


def test_names_that_stand_for_something_pass() -> None:
    table = (
        "| promise | decided in | shown by |\n|---|---|---|\n"
        "| One | `gone.rs` | `tls`: `a_head_that_drips_is_ended`, `what_is_smuggled_…`; `scripts/house.py` |\n"
    )
    assert list(unproven("T", table, MODULES, TESTS)) == []
    assert list(unproven("T", "//! | One | [`sandbox`] |\n", MODULES, TESTS)) == []


def test_names_that_stand_for_nothing_are_told() -> None:
    for name in ["sand", "a_head_that_drips", "smuggled_…", "nobody_…", "scripts/no.py"]:
        found = list(unproven("T", f"| One | `tls`: `{name}` |\n", MODULES, TESTS))
        assert found == [f"T: there is no test {name}"], name


def test_places_are_files_of_the_checkout() -> None:
    row = "| One | What | `scripts/house.py`, `gateway/src/` | `tls` |\n"
    assert list(misplaced("T", row)) == []
    found = list(misplaced("T", row.replace("house.py", "mouse.py")))
    assert found == ["T: there is no file scripts/mouse.py"], found


def test_every_command_of_the_makefile_is_told_and_no_other() -> None:
    makefile = "help: ## this list\nlint-rust:\nsoak: setup ## long\n"
    told = "| `make help` | x |\n| `make soak HOURS=n` | y |\n"
    assert list(untold(makefile, told)) == []
    assert list(untold(makefile, told.replace("help", "held"))) == [
        "README.md: the table of commands has no `make help`",
        "README.md: there is no `make held`",
    ]


def test_an_alert_without_a_section_of_the_runbook_is_a_fault() -> None:
    rules = "    rules:\n      - alert: ParDown\n        expr: up == 0\n      - alert: ParSlow\n"
    told = "# Runbook\n\n### ParDown\n\nLook.\n\n### ParSlow\n\nWait.\n"
    assert list(unanswered(rules, told)) == []
    assert list(unanswered(rules, told.replace("### ParSlow", "ParSlow"))) == [
        "docs/runbook.md: no section for the alert ParSlow"
    ]
