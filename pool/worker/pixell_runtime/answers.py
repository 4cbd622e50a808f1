"""How calls end.

Enters: what a handler returned or raised. Leaves: an `Answer`, the fields of the frame that ends the call.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Callable, NamedTuple

from pixell_runtime import failures
from pixell_runtime.binding import InputRefused
from pixell_runtime.frames import CANCELLED, ERROR, MAX_BODY, OCTETS, RESULT
from pixell_runtime.places import locate
from pixell_runtime.results import encode, type_name
from pixell_runtime.streams import ItemRefused, Sink, StreamCancelled, drain, drain_async
from pixell_runtime.told import Told

_OCTETS_TYPE = "application/octet-stream"


class Answer(NamedTuple):
    """The end of a call, without its id and times."""

    kind: int
    flags: int
    payload: bytes
    content_type: str | None = None


CANCELLED_ANSWER = Answer(CANCELLED, 0, b"")
DEADLINE_ANSWER = Answer(
    ERROR, 0, failures.payload("deadline", "TimeoutError", "the call did not end before its deadline")
)

_strict = json.JSONDecoder(parse_constant=lambda name: _not_a_number(name))

#: Reads one JSON value from a text at a position: `value, end = scan(text, 0)`. The C scanner itself, without
#: the layers that look for whitespace and encodings; what it does not like goes to `read_input`.
scan: Callable[[str, int], tuple[Any, int]] = _strict.scan_once  # type: ignore[attr-defined]


def read_input(payload: bytes) -> Any:
    """The input of a call, for payloads that `scan` could not read to the end. Empty is `{}`."""
    if not payload:
        return {}
    try:
        return _strict.decode(payload.decode())
    except (ValueError, RecursionError) as error:
        raise InputRefused(f"the input is not JSON: {error}") from error


def returned(value: Any, sink: Callable[[], Sink]) -> Answer:
    """The answer for what a handler returned. `sink` is where the items of a generator go."""
    kind = type(value)
    if kind is bytes or isinstance(value, (bytes, bytearray, memoryview)):
        return _limit(Answer(RESULT, OCTETS, bytes(value), _OCTETS_TYPE))
    if inspect.isgenerator(value) or isinstance(value, Told):
        return exhausted(sink(), value)
    try:
        body = "".join(encode(value, 0)).encode()
    except Exception as error:
        fault = locate(value, error)
        return refused(type(error), fault.place, fault.message)
    return bounded(body)


def bounded(body: bytes) -> Answer:
    """The answer for a result that is JSON already."""
    return _limit(Answer(RESULT, 0, body))


def exhausted(sink: Sink, items: Iterator[Any] | Told) -> Answer:
    """The answer for a generator, or for what tells its items by itself."""
    try:
        drain(sink, items)
    except (StreamCancelled, ItemRefused) as error:
        return _unfinished(error)
    return Answer(*sink.ending())


async def exhausted_async(
    sink: Sink, items: AsyncIterator[Any], pace: Callable[[Sink], Awaitable[None]]
) -> Answer:
    """The answer for an async generator. `pace` is awaited before every item."""
    try:
        await drain_async(sink, items, pace)
    except (StreamCancelled, ItemRefused) as error:
        return _unfinished(error)
    return Answer(*sink.ending())


def refused(cause: type, place: str, message: str) -> Answer:
    """The answer for a result that cannot be JSON."""
    said = failures.payload("result", type_name(cause), message, place=failures.clip(place, 1024))
    return Answer(ERROR, 0, said)


def raised(error: BaseException) -> Answer:
    """The answer for what a handler raised, or for an input that does not bind."""
    if isinstance(error, InputRefused):
        said = failures.payload("input", "InputRefused", str(error), errors=error.errors)
        return Answer(ERROR, 0, said)
    return Answer(ERROR, 0, failures.of_agent(error))


def metadata(usage: dict[str, dict[str, Any]], content_type: str | None) -> bytes:
    """The metadata of an answer."""
    said: dict[str, Any] = {}
    if usage:
        said["usage"] = list(usage.values())
    if content_type is not None:
        said["content_type"] = content_type
    return json.dumps(said, separators=(",", ":")).encode() if said else b""


def _unfinished(error: StreamCancelled | ItemRefused) -> Answer:
    if isinstance(error, ItemRefused):
        return refused(error.cause, error.place, str(error))
    return CANCELLED_ANSWER


def _limit(answer: Answer) -> Answer:
    if len(answer.payload) > MAX_BODY:
        return refused(ValueError, "", f"the result has {len(answer.payload)} bytes, more than {MAX_BODY}")
    return answer


def _not_a_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
