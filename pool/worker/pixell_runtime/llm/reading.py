"""What an answer of a provider says it has cost. Pure: JSON in, counts out.

| answer | where |
|---|---|
| openai: chat completion, its chunks, completion, embeddings | `usage` with `prompt_tokens`, `completion_tokens` |
| openai: response; events of its stream | `usage` with `input_tokens`, `output_tokens`; the same in `response` |
| anthropic: message; `message_start`; `message_delta` | `usage`; the same in `message`; `usage` |

What is not said is not guessed: an answer without usage counts nothing.
"""

from __future__ import annotations

from typing import Any

#: Names of a count, in the order in which they are looked for.
INPUT = ("input_tokens", "prompt_tokens")
OUTPUT = ("output_tokens", "completion_tokens")

#: Further counts that are told: our name, and where it stands.
DETAILS = (
    ("cached_input_tokens", ("prompt_tokens_details", "cached_tokens")),
    ("cached_input_tokens", ("input_tokens_details", "cached_tokens")),
    ("reasoning_tokens", ("completion_tokens_details", "reasoning_tokens")),
    ("reasoning_tokens", ("output_tokens_details", "reasoning_tokens")),
    ("cache_read_input_tokens", ("cache_read_input_tokens",)),
    ("cache_creation_input_tokens", ("cache_creation_input_tokens",)),
)

#: Members in which events carry the whole answer.
WRAPPERS = ("data", "response", "message")

#: Name of a model that an answer does not tell.
UNKNOWN = "unknown"


def said(data: Any) -> tuple[str | None, dict[str, int]]:
    """The model, if it is told, and what is counted, of one answer or one event of a stream."""
    if not isinstance(data, dict):
        return None, {}
    for name in WRAPPERS:
        inner = data.get(name)
        if isinstance(inner, dict) and not isinstance(data.get("usage"), dict):
            model, counts = said(inner)
            if model is not None or counts:
                return model, counts
    model = data.get("model")
    usage = data.get("usage")
    return model if isinstance(model, str) and model else None, _counts(usage) if isinstance(
        usage, dict
    ) else {}


def _counts(usage: dict[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, places in (("input_tokens", INPUT), ("output_tokens", OUTPUT)):
        for place in places:
            amount = _number(usage.get(place))
            if amount is not None:
                counts[name] = amount
                break
    for name, path in DETAILS:
        found: Any = usage
        for step in path:
            found = found.get(step) if isinstance(found, dict) else None
        amount = _number(found)
        if amount:
            counts[name] = amount
    return counts


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
