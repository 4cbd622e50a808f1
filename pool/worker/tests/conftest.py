"""Fixtures: `gateway(source, *attributes)` starts a generation and ends it after the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from environments import environment
from gateway import Gateway, export
from primaries import PrimaryEnd

#: Example packages of this checkout.
AGENTS = Path(__file__).parents[3] / "tests" / "agents"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    yield from _gateways(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., PrimaryEnd]]:
    """As `primary`, for tests of one module that do not end what they share."""
    for gateways in _gateways(tmp_path_factory.mktemp("shared")):
        yield _primaries(gateways)


def _gateways(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    started: list[Gateway] = []

    def start(source: str, *exports: Any, **options: Any) -> Gateway:
        wanted = [export(one) if isinstance(one, str) else one for one in exports]
        folder = tmp_path / f"package-{len(started)}"
        folder.mkdir()
        started.append(Gateway(folder, source, wanted, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def primary(gateway: Callable[..., Gateway]) -> Callable[..., PrimaryEnd]:
    """`primary(source, rest="main:mount", a2a=…)` starts a generation with surfaces, and its primary."""
    return _primaries(gateway)


def _primaries(gateway: Callable[..., Gateway]) -> Callable[..., PrimaryEnd]:
    def start(
        source: str = "",
        *,
        rest: str | None = None,
        a2a: str | None = None,
        application: bool = False,
        packages: str | None = "new",
        agent: str | None = None,
        **options: Any,
    ) -> PrimaryEnd:
        path = options.pop("path", []) + ([] if agent is None else [str(AGENTS / agent)])
        if packages is not None:
            path.append(environment(packages).site)
            options.setdefault("python", environment(packages).python)
        surfaces = {"rest": named(rest, application), "a2a": named(a2a, application)}
        running = gateway(source, surfaces=surfaces, path=path, **options)
        running.ready()
        return PrimaryEnd(running)

    return start


def named(entry: str | None, application: bool = False) -> dict[str, Any] | None:
    """An entry as in `init`."""
    if entry is None:
        return None
    module, _, attribute = entry.partition(":")
    return {"module": module, "attribute": attribute, "application": application}
