"""The entries of a package's surfaces, imported.

Enters: `init.surfaces`. Leaves: one `Declared` for each surface, or a `LoadError` that names the surface.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from typing import Any, NamedTuple

from pixell_runtime.handlers import LoadError


class Declared(NamedTuple):
    """One surface as the manifest names it."""

    #: "rest" or "a2a"; what messages call it.
    name: str
    module: str
    #: What the entry leads to: a function as a rule, but also whatever else stands there.
    target: Any
    #: Whether the manifest says that it is an ASGI application. A hint: what it turns out to be decides.
    application: bool
    #: The entry as written, for messages.
    entry: str


def load(surfaces: dict[str, Any] | None) -> list[Declared]:
    """Imports the entry of every declared surface."""
    wanted = surfaces or {}
    return [_load(name, wanted[name]) for name in ("rest", "a2a") if wanted.get(name)]


def prepare(declared: list[Declared]) -> None:
    """Imports what a primary will need, so that one that replaces another is ready sooner."""
    if not declared:
        return
    importlib.import_module("pixell_runtime.surfaces.primary")
    if any(one.name == "rest" for one in declared):
        # Whether it is there and works is for the primary to say, with a reason.
        with contextlib.suppress(Exception):
            importlib.import_module("uvicorn")


def _load(name: str, entry: dict[str, Any]) -> Declared:
    try:
        module = importlib.import_module(entry["module"])
    except BaseException as error:  # modules may also call sys.exit()
        raise LoadError("import", name, error) from error
    try:
        target = functools.reduce(getattr, entry["attribute"].split("."), module)
    except BaseException as error:
        raise LoadError("handler", name, error) from error
    text = f"{entry['module']}:{entry['attribute']}"
    return Declared(name, entry["module"], target, bool(entry.get("application")), text)
