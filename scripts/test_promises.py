"""A promise whose test is gone is told."""

from __future__ import annotations

from house import unproven

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
