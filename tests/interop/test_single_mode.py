"""Packages as authors make them today, each in a container of its own: every declared surface answers."""

from __future__ import annotations

import json
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from conftest import TOOLS, build, free_ports, serving

COMBINATIONS = (("rest",), ("a2a",), ("ui",), ("rest", "a2a", "ui"))


def get(port: int, path: str) -> tuple[int, str]:
    """Status and text."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def answer(port: int, path: str) -> Any:
    """The JSON of a request that succeeds."""
    status, text = get(port, path)
    assert status == 200, text
    return json.loads(text)


@pytest.mark.parametrize("surfaces", COMBINATIONS, ids="-".join)
@pytest.mark.parametrize("tool", TOOLS)
def test_a_package_as_it_comes_from_the_tool_boots_with_its_surfaces(
    tool: str, surfaces: tuple[str, ...], tmp_path: Path
) -> None:
    archive = build(tool, surfaces, tmp_path)
    rest, a2a, ui = free_ports(3)
    variables = {
        "HOST": "127.0.0.1",
        "AGENT_APP_ID": "from-the-tool",
        "DEPLOYMENT_ID": "d-1",
        "PACKAGE_URL": str(archive),
        "REST_PORT": str(rest),
        "A2A_PORT": str(a2a),
        "UI_PORT": str(ui),
    }
    # Sockets lie below it, whose paths may not be long.
    with tempfile.TemporaryDirectory(prefix="par-") as data, serving(Path(data), **variables):
        health = answer(rest, "/health")
        wanted = {"rest": True, "a2a": "a2a" in surfaces, "ui": "ui" in surfaces}
        assert health["ok"] and health["surfaces"] == wanted, health
        meta = answer(rest, "/agents/from-the-tool/meta")
        assert meta["surfaces"] == {name: name in surfaces for name in wanted}, meta
        status, text = get(rest, "/agents/from-the-tool/api/hello")
        assert status == (200 if "rest" in surfaces else 404), text
        status, text = get(rest, "/agents/from-the-tool/ui/")
        assert status == (200 if "ui" in surfaces else 404), text
        if "ui" in surfaces:
            assert get(ui, "/") == (200, text)
        if "a2a" in surfaces:
            assert answer(rest, "/a2a/health")["ok"] is True
