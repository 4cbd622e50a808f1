"""Generated servicers: what adds them to a server, and how the one for actions is called without gRPC.

Enters: an object of the package. Leaves: its registration, or a function that calls its `Invoke`.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Generator, Mapping
from types import SimpleNamespace
from typing import Any, Callable, NamedTuple

from pixell_runtime.failures import message_of
from pixell_runtime.results import encode

#: The service of actions, in every version of its definition, and its servicer. The gateway speaks that
#: service itself, so no server of the package has to.
AGENT_SERVICE = "pixell.agent.AgentService"
_AGENT_SERVICER = "AgentServiceServicer"


class Registration(NamedTuple):
    """A servicer, and the generated function that adds it to a server."""

    servicer: Any
    add: Callable[[Any, Any], None]


class Aborted(Exception):
    """What `context.abort()` raises: the code and the details, as the servicer gave them."""

    def __init__(self, code: Any, details: str) -> None:
        super().__init__(details or str(code))


def takes_every_action(value: Any) -> bool:
    """Whether it is a servicer for actions, by its base class or by its methods."""
    if inspect.isclass(value):
        return False
    if any(kind.__name__ == _AGENT_SERVICER for kind in type(value).__mro__):
        return True
    return all(callable(getattr(value, method, None)) for method in ("Health", "Invoke"))


def registration_of(value: Any) -> Registration | None:
    """How to add a generated servicer to a server; None if it is none."""
    if inspect.isclass(value):
        return None
    for kind in type(value).__mro__:
        if kind.__name__.endswith("Servicer"):
            add = getattr(sys.modules.get(kind.__module__), f"add_{kind.__name__}_to_server", None)
            if callable(add):
                return Registration(value, add)
    return None


def caller_of(servicer: Any) -> Callable[[dict[str, Any]], Any]:
    """A handler that passes every action to `Invoke`."""
    request_type = _request_type(servicer)

    async def invoke(value: dict[str, Any]) -> dict[str, Any]:
        request = _request(request_type, value)
        context = _Context()
        try:
            answer = servicer.Invoke(request, context)
            if inspect.isawaitable(answer):
                answer = await answer
        except Aborted as error:
            return {"success": False, "result": "", "error": message_of(error)}
        if context.failed is not None:
            return {"success": False, "result": "", "error": context.failed}
        return _answer(answer)

    return invoke


def _request_type(servicer: Any) -> Any:
    """The generated class of requests, which stands in a module that the servicer's module has imported."""
    for kind in type(servicer).__mro__:
        module = sys.modules.get(kind.__module__)
        for value in (module, *vars(module).values()) if module is not None else ():
            found = getattr(value, "ActionRequest", None) if inspect.ismodule(value) else None
            if found is not None:
                return found
    return None


def _request(kind: Any, value: dict[str, Any]) -> Any:
    parameters = value.get("parameters") or {}
    request_id = str(value.get("request_id") or "")
    action = str(value.get("action") or "")
    if kind is None:
        return SimpleNamespace(action=action, parameters=parameters, request_id=request_id)
    # The generated map knows text only.
    texts = {str(name): one if isinstance(one, str) else _as_json(one) for name, one in parameters.items()}
    return kind(action=action, parameters=texts, request_id=request_id)


def _answer(answer: Any) -> dict[str, Any]:
    if isinstance(answer, Mapping):
        answer = SimpleNamespace(**answer)
    error = getattr(answer, "error", None) or ""
    success = getattr(answer, "success", None)
    return {
        "success": not error if success is None else bool(success),
        "result": getattr(answer, "result", answer if success is None else ""),
        "error": str(error),
    }


def _as_json(value: Any) -> str:
    try:
        return "".join(encode(value, 0))
    except Exception:
        return json.dumps(str(value))


class _Done:
    """Of methods that are awaited in one kind of server and not in the other."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


class _Context:
    """As much of a gRPC context as a call without gRPC has."""

    def __init__(self) -> None:
        #: The details of a failure that was set instead of raised.
        self.failed: str | None = None
        self._code: Any = None
        self._details = ""

    def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> Any:
        raise Aborted(code, details)

    def abort_with_status(self, status: Any) -> Any:
        raise Aborted(status.code, status.details)

    def set_code(self, code: Any) -> None:
        self._code = code
        self._note()

    def set_details(self, details: str) -> None:
        self._details = details
        self._note()

    def code(self) -> Any:
        return self._code

    def details(self) -> str:
        return self._details

    def send_initial_metadata(self, metadata: Any) -> _Done:
        return _Done()

    def set_trailing_metadata(self, metadata: Any) -> None:
        return None

    def trailing_metadata(self) -> tuple[()]:
        return ()

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def peer(self) -> str:
        return "unix:"

    def peer_identities(self) -> None:
        return None

    def peer_identity_key(self) -> None:
        return None

    def auth_context(self) -> dict[str, Any]:
        return {}

    def time_remaining(self) -> None:
        return None

    def is_active(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return False

    def done(self) -> bool:
        return False

    def add_callback(self, callback: Any) -> bool:
        return True

    def add_done_callback(self, callback: Any) -> None:
        return None

    def disable_next_message_compression(self) -> None:
        return None

    def set_compression(self, compression: Any) -> None:
        return None

    def _note(self) -> None:
        name = getattr(self._code, "name", self._code)
        if name not in (None, "OK", 0):
            self.failed = self._details or str(name)
