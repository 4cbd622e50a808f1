"""From what a REST entry is or returns to one ASGI application.

Enters: the entry's target. Leaves: an application, and a word for what it was made from. What comes back
decides, not the key in the manifest:

| target | application |
|---|---|
| an application | itself |
| a function with a parameter for an application | a FastAPI application that it was called with |
| a function without | made from what it returns, by this table |
| an `APIRouter` | a FastAPI application that includes it |
| an object with `build()` or `app` | made from what that is |
| handlers by action | JSON-RPC and events over HTTP |
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

from pixell_runtime.context import Identity
from pixell_runtime.results import type_name
from pixell_runtime.surfaces import asgi
from pixell_runtime.surfaces.actions import read_actions
from pixell_runtime.surfaces.declared import Declared
from pixell_runtime.surfaces.http_a2a import HttpA2a

#: Functions may return functions; more than this is a loop.
_MAX_STEPS = 4

#: Parameters that take an application even if they have a default.
_MOUNT_PARAMETERS = ("app", "router", "application")

_EXPECTED = "expected an ASGI application, an APIRouter, an object with build() or app, or handlers by action"


class Entered(NamedTuple):
    """An application, and what it was made from."""

    application: asgi.Application
    #: "mount", "application", "router" or "handlers".
    kind: str


async def enter(declared: Declared) -> Entered:
    """The application behind a declared surface. Raises what the package's code raises."""
    value, told = declared.target, declared.entry
    for _ in range(_MAX_STEPS):
        entered = make(value, declared.application)
        if entered is not None:
            return entered
        if not callable(value):
            break
        mounted = _mount_parameter(value)
        if mounted is not None:
            return await _mount(value, mounted)
        told = f"{told}()"
        value = await _settled(value(**port_of(value)))
    raise TypeError(f"{told} is {_described(value)}: {_EXPECTED}")


def make(value: Any, promised: bool = False) -> Entered | None:
    """The application that this is, or is the material of; None if it is neither."""
    if asgi.is_router(value):
        app = _fastapi()
        app.include_router(value)
        return Entered(app, "router")
    if asgi.is_application(value, promised):
        if asgi.is_fastapi(value):
            # The gateway tells each request's prefix; one that was guessed would stand in its way.
            value.root_path = ""
        return Entered(value, "application")
    if _builds(value):
        return make(value.build(), True)
    if _holds(value):
        return make(value.app)
    actions = read_actions(value)
    if actions is not None:
        return Entered(HttpA2a(actions), "handlers")
    return None


def is_material(value: Any) -> bool:
    """Whether `make` makes something of it, without making it."""
    return (
        asgi.is_router(value)
        or asgi.is_application(value)
        or _builds(value)
        or _holds(value)
        or read_actions(value) is not None
    )


def _builds(value: Any) -> bool:
    return not inspect.isclass(value) and callable(getattr(value, "build", None))


def _holds(value: Any) -> bool:
    """Whether it is a server of some framework, around its application."""
    return not inspect.isclass(value) and asgi.is_application(getattr(value, "app", None))


async def _mount(function: Any, parameter: inspect.Parameter) -> Entered:
    app = _fastapi()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        result = await _settled(function(**{parameter.name: app}))
    else:
        result = await _settled(function(app))
    if result is not None and result is not app and (asgi.is_router(result) or asgi.is_application(result)):
        if asgi.is_router(result):
            app.include_router(result)
        else:
            # Around ours as a rule: a middleware that it was wrapped in.
            return Entered(result, "mount")
    return Entered(app, "mount")


def _mount_parameter(function: Any) -> inspect.Parameter | None:
    """The parameter that takes an application; None for a function that makes one."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    for one in parameters:
        if one.name in _MOUNT_PARAMETERS and one.kind is not inspect.Parameter.VAR_KEYWORD:
            return one
    empty = inspect.Parameter.empty
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [one for one in parameters if one.kind in plain and one.default is empty]
    if len(needed) == 1 and needed[0].name != "port":
        return needed[0]
    return None


def port_of(function: Any) -> dict[str, int]:
    """Some functions want a port, for nothing that matters here: nobody listens on one."""
    try:
        port = inspect.signature(function).parameters.get("port")
    except (TypeError, ValueError):
        return {}
    return {"port": 0} if port is not None and port.default is inspect.Parameter.empty else {}


async def _settled(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


def _fastapi() -> Any:
    try:
        from fastapi import FastAPI
    except ImportError as error:
        raise ImportError(f"this REST entry needs FastAPI, which cannot be imported: {error}") from error
    name, _, version = Identity.package.partition("@")
    return FastAPI(title=name, version=version or "0")


def _described(value: Any) -> str:
    return "None" if value is None else f"a {type_name(type(value))}"
