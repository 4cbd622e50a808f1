"""One bare RSGI function on granian: the least that granian can do for a request."""

from __future__ import annotations

import json
from typing import Any

HEADERS = [("content-type", "application/json")]


async def app(scope: Any, protocol: Any) -> None:
    """Body in, the same out."""
    value = json.loads(await protocol())
    protocol.response_bytes(200, HEADERS, json.dumps(value).encode())
