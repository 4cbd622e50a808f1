"""What a caller wants of the executor.

Enters: the input of a call. Leaves: a `Request`, or `InputRefused`, which names the member that is wrong.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pixell_runtime.binding import InputRefused

#: What can be asked for besides the execution of code.
ACTIONS = ("execute", "get_info", "list_capabilities")


class Request(NamedTuple):
    """`action` is one of `ACTIONS`; `code` is Python, empty if there is nothing to execute."""

    action: str
    code: str


def read(value: Any) -> Request:
    """A request of the agents that execute code."""
    members = members_of(value)
    action = members.get("action", "execute")
    if action not in ACTIONS:
        raise wrong("/action", f"must be one of {', '.join(ACTIONS)}")
    if action != "execute":
        return Request(action, "")
    if "code" not in members:
        raise wrong("/code", "is missing")
    return Request(action, code_of(members))


def members_of(value: Any) -> dict[str, Any]:
    """The input as an object."""
    if not isinstance(value, dict):
        raise wrong("", 'the input must be an object like {"code": "print(1)"}')
    return value


def code_of(members: dict[str, Any]) -> str:
    """The code of a request that may have some."""
    code = members.get("code", "")
    if not isinstance(code, str):
        raise wrong("/code", "must be text")
    return code


def wrong(path: str, message: str) -> InputRefused:
    """A refusal that points to a member of the input."""
    text = f"{path[1:]}: {message}" if path else message
    return InputRefused(text, [{"path": path, "message": message}])
