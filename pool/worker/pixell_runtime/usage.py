"""What a call has consumed, told by the agent itself.

Enters: `record(model=…, input_tokens=…, output_tokens=…)`, as often as needed. Leaves: one sum per model in
the metadata of the call's answer.
"""

from __future__ import annotations

from typing import Any

from pixell_runtime.context import CALL, SLOT

#: Metadata of a frame is at most 64 KiB; this many models of this length always fit.
MAX_MODELS = 64
MAX_MODEL_NAME = 200
MAX_COUNTS = 16

#: Where models beyond the limit are summed up, so that no token is lost.
OTHER = "other"


def record(*, model: str, input_tokens: int = 0, output_tokens: int = 0, **counts: int) -> None:
    """Adds to what the running call has used. Outside of a call nobody can be charged: nothing happens."""
    call = CALL.get()
    if call is not None:
        sums = call.usage
    elif SLOT.frame is not None:
        sums = SLOT.usage
    else:
        return
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


def entries(sums: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The sums as they travel in `usage`."""
    return list(sums.values())
