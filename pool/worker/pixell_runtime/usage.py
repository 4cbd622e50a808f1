"""What a call has consumed, told by the agent itself.

Enters: `record(model=…, input_tokens=…, output_tokens=…)`, as often as needed. Leaves: one sum per model in
the metadata of the call's answer; and meanwhile the sums so far, so that they outlive this process.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from pixell_runtime.context import CALL, SLOT, Call, Slot
from pixell_runtime.frames import MAX_META, USED

if TYPE_CHECKING:
    from pixell_runtime.channel import Channel

#: Metadata of a frame is at most 64 KiB; this many models of this length always fit.
MAX_MODELS = 64
MAX_MODEL_NAME = 200
MAX_COUNTS = 16

#: Where models beyond the limit are summed up, so that no token is lost.
OTHER = "other"

#: How far apart sums of one call are told, in nanoseconds: who reports in a loop should not pay for a frame each time.
APART = 10_000_000

_channel: Channel | None = None


def bind(channel: Channel) -> None:
    """Where sums are told."""
    global _channel
    _channel = channel


def record(*, model: str, input_tokens: int = 0, output_tokens: int = 0, **counts: int) -> None:
    """Adds to what the running call has used. Outside of a call nobody can be charged: nothing happens."""
    call: Call | Slot = CALL.get() or SLOT
    frame = call.frame
    if frame is None:
        return
    sums = call.usage
    if len(counts) > MAX_COUNTS:
        raise ValueError(f"at most {MAX_COUNTS} further counts, not {len(counts)}")
    for name, amount in (("input_tokens", input_tokens), ("output_tokens", output_tokens), *counts.items()):
        if not isinstance(amount, int) or amount < 0:
            raise ValueError(f"{name} must be a whole number and not negative, not {amount!r}")
    name = str(model)[:MAX_MODEL_NAME]
    if name not in sums and len(sums) >= MAX_MODELS:
        name = OTHER
    entry = sums.get(name)
    if entry is None:
        entry = sums[name] = {"model": name, "input_tokens": 0, "output_tokens": 0}
    entry["input_tokens"] += input_tokens
    entry["output_tokens"] += output_tokens
    for key, amount in counts.items():
        if key in entry or len(entry) < 3 + MAX_COUNTS:
            entry[key[:MAX_MODEL_NAME]] = entry.get(key[:MAX_MODEL_NAME], 0) + amount
    _tell(call, frame[2])


def entries(sums: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The sums as they travel in `usage`."""
    return list(sums.values())


def _tell(call: Call | Slot, ident: int) -> None:
    """Puts the sums where they survive this process: into the journal."""
    # In a process that a handler has forked nothing of the worker may go on.
    if _channel is None or _channel.forked:
        return
    now = time.monotonic_ns()
    told, last = call.reported
    if told == ident and now - last < APART:
        return
    call.reported = (ident, now)
    meta = json.dumps({"usage": entries(call.usage)}, separators=(",", ":")).encode()
    if len(meta) <= MAX_META:
        _channel.add(USED, 0, ident, 0, meta, b"")
