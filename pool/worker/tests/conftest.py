"""Fixtures: `gateway(source, *attributes)` starts a generation and ends it after the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from gateway import Gateway, export


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
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
