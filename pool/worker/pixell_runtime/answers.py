"""How calls end.

Enters: what a handler returned or raised. Leaves: an `Answer`, the fields of the frame that ends the call.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Callable, NamedTuple, cast

from pixell_runtime import failures
from pixell_runtime.binding import InputRefused
from pixell_runtime.file import OCTETS_TYPE, About, Outgoing, is_file, outgoing
from pixell_runtime.frames import CANCELLED, ERROR, MAX_BODY, OCTETS, RESULT
from pixell_runtime.places import locate
from pixell_runtime.results import encode, type_name
from pixell_runtime.streams import ItemRefused, Sink, StreamCancelled, drain, drain_async, stepwise
from pixell_runtime.told import Told


class Answer(NamedTuple):
    """The end of a call, without its id and times."""

    kind: int
    flags: int
    payload: bytes
    #: What is said of bytes.
    about: About | None = None


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


def returned(value: Any, sink: Callable[[About | None], Sink]) -> Answer:
    """The answer for what a handler returned. `sink` is where the items of a generator go, or the pieces of a
    file."""
    kind = type(value)
    if kind is bytes or isinstance(value, (bytes, bytearray, memoryview)):
        return _limit(Answer(RESULT, OCTETS, bytes(value), {"content_type": OCTETS_TYPE}))
    if inspect.isgenerator(value) or isinstance(value, Told):
        return exhausted(sink(None), value)
    if is_file(value):
        file = outgoing(value)
        return _small(file) or exhausted(sink(file.about), cast("Iterator[bytes]", file.pieces))
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


async def sent(
    file: Outgoing, sink: Callable[[About | None], Sink], pace: Callable[[Sink], Awaitable[None]]
) -> Answer:
    """The answer for a file whose bytes may come asynchronously."""
    small = _small(file)
    if small is not None:
        return small
    pieces = file.pieces
    if isinstance(pieces, Iterator):
        pieces = stepwise(pieces)
    return await exhausted_async(sink(file.about), pieces, pace)


def _small(file: Outgoing) -> Answer | None:
    """What is here already needs no pieces."""
    return None if file.whole is None else _limit(Answer(RESULT, OCTETS, file.whole, file.about))


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


def metadata(usage: dict[str, dict[str, Any]], about: About | None, peak_rss_kb: int = 0) -> bytes:
    """The metadata of an answer."""
    said: dict[str, Any] = {} if about is None else dict(about)
    if usage:
        said["usage"] = list(usage.values())
    if peak_rss_kb:
        said["peak_rss_kb"] = peak_rss_kb
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
