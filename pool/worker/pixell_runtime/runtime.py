"""Calls from an agent to other agents of the host.

Enters: the other agent's id and its input as keywords. Leaves: `RuntimeUnavailable`, because the host does
not serve such calls in this version. The frames for them (`INVOKE`, `REPLY`) are reserved.
"""

from __future__ import annotations

from typing import Any

from pixell_runtime.errors import RuntimeUnavailable

_REASON = "calls between agents are not offered by this version of the runtime"


def call(agent_id: str, /, **arguments: Any) -> Any:
    """Calls another agent and waits for its result."""
    raise RuntimeUnavailable(f"{_REASON} (wanted: {agent_id})")


async def acall(agent_id: str, /, **arguments: Any) -> Any:
    """Calls another agent from async code."""
    raise RuntimeUnavailable(f"{_REASON} (wanted: {agent_id})")
