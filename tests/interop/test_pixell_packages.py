"""Packages as authors make them today: by `pixell init` and `pixell build`, of both generations of the tool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import TOOLS, Par, binary, build, run

SURFACES: tuple[tuple[str, ...], ...] = (
    (),
    ("rest",),
    ("a2a",),
    ("ui",),
    ("rest", "a2a"),
    ("rest", "ui"),
    ("a2a", "ui"),
    ("rest", "a2a", "ui"),
)
# `pixell init` without a wish makes all of them.
ALL = {"rest", "a2a", "ui"}


@pytest.mark.parametrize("surfaces", SURFACES, ids=lambda surfaces: "-".join(surfaces) or "default")
@pytest.mark.parametrize("tool", TOOLS)
def test_a_package_as_it_comes_from_the_tool_answers(
    tool: str, surfaces: tuple[str, ...], par: Par, tmp_path: Path
) -> None:
    archive = build(tool, surfaces, tmp_path)

    told: dict[str, Any] = json.loads(run(binary(), "inspect", archive, "--json"))
    declared = {surface for surface, entry in told["surfaces"].items() if entry}
    assert declared == (set(surfaces) or ALL), told

    loaded = par.load(archive)
    assert loaded["agents"] == [f"{loaded['package_id']}/default"]
    expected = {"message": "Hello from handler", "received": {"question": "?"}}
    assert par.invoke(loaded["package_id"], {"question": "?"}) == expected
    name = loaded["package_id"].split("@")[0]
    assert par.invoke(name, {"question": "?"}) == expected

    status, enveloped = par.request("POST", f"/runtime/agents/{name}/invoke", {"input": {"question": "?"}})
    assert (status, enveloped["output"]) == (200, expected), enveloped
    status, agent = par.request("GET", f"/agents/{name}")
    assert (status, agent["status"]) == (200, "ready"), agent


def test_packages_of_one_template_live_side_by_side(par: Par, tmp_path: Path) -> None:
    for tool in TOOLS:
        par.load(build(tool, ("rest", "a2a", "ui"), tmp_path))
    status, told = par.request("GET", "/runtime/packages")
    assert (status, told["failed"]) == (200, [])
    assert len(told["packages"]) >= len(TOOLS)
    for package in told["packages"]:
        # All have a module `src.main` with a function `handler`; each answers from its own.
        assert par.invoke(package["id"], package["id"])["received"] == package["id"]
