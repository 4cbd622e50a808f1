"""JSON-RPC requests of agents' clients, and their answers.

Enters: a body. Leaves: the handler's result or failure as a JSON-RPC object, or the states of a task as
events.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import json
import traceback
import uuid
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from pixell_runtime.failures import message_of
from pixell_runtime.handlers import is_async
from pixell_runtime.surfaces.actions import Actions, Function, expressible

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
NO_SUCH_METHOD = -32601
HANDLER_FAILED = -32000

#: Methods whose parameters are a message that names the skill itself.
_MESSAGES = ("message/send", "message/stream", "tasks/send", "tasks/sendSubscribe")
_STREAMS = ("message/stream", "tasks/sendSubscribe")

#: Who answers if nobody has the skill.
_FALLBACKS = ("chat", "default")


class Failure(Exception):
    """A request that gets a JSON-RPC error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    def answer(self, ident: Any) -> dict[str, Any]:
        """The error as the answer to a request."""
        return {"jsonrpc": "2.0", "error": {"code": self.code, "message": str(self)}, "id": ident}


class Request(NamedTuple):
    """What is asked."""

    ident: Any
    skill: str
    parameters: Any
    #: Whether its method promises a stream.
    streams: bool


class Rpc:
    """Actions that are called by JSON-RPC."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions

    def skills(self) -> dict[str, str]:
        """Names and descriptions."""
        every = {**self._actions.streaming, **self._actions.plain}
        return {name: inspect.getdoc(function) or name for name, function in every.items()}

    async def answer(self, request: Request) -> dict[str, Any]:
        """The whole answer."""
        try:
            function = self._find(request.skill, self._actions.plain, self._actions.streaming)
            result = await _call(function, request.parameters)
            if inspect.isasyncgen(result):
                result = [item async for item in result]
            elif inspect.isgenerator(result):
                result = list(result)
        except Failure as failure:
            return failure.answer(request.ident)
        except Exception as error:
            traceback.print_exc()
            return Failure(HANDLER_FAILED, message_of(error)).answer(request.ident)
        return {"jsonrpc": "2.0", "result": expressible(result), "id": request.ident}

    async def items(self, request: Request) -> AsyncIterator[dict[str, Any]]:
        """What the skill says, one by one. A handler that does not stream says one thing."""
        function = self._find(request.skill, self._actions.streaming, self._actions.plain)
        result = await _call(function, request.parameters)
        if inspect.isasyncgen(result):
            try:
                async for item in result:
                    yield _item(item)
            finally:
                await result.aclose()
        elif inspect.isgenerator(result):
            for item in result:
                yield _item(item)
        else:
            yield {"event": "content", "data": {"text": _as_text(result)}}
            yield {"event": "complete", "data": expressible(result)}

    def _find(self, skill: str, first: dict[str, Function], second: dict[str, Function]) -> Function:
        for name in (skill, *_FALLBACKS):
            for handlers in (first, second):
                if name in handlers:
                    return handlers[name]
        raise Failure(NO_SUCH_METHOD, f"Method not found: {skill}")


def read(body: bytes) -> Request:
    """The request in a body."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Failure(PARSE_ERROR, f"Parse error: {error}") from error
    method = said.get("method") if isinstance(said, dict) else None
    if not isinstance(method, str):
        raise Failure(INVALID_REQUEST, "a request is an object with a method")
    parameters = said.get("params")
    if parameters is None:
        parameters = {}
    if method in _MESSAGES:
        skill, parameters = _of_message(parameters)
    elif isinstance(parameters, dict):
        skill = parameters.get("skill") or method.rpartition("/")[2]
        parameters = parameters.get("params", parameters)
    else:
        skill = method.rpartition("/")[2]
    return Request(said.get("id"), str(skill), parameters, method in _STREAMS)


async def events_of(rpc: Rpc, request: Request) -> AsyncIterator[dict[str, Any]]:
    """The states of a task, of which the last is final."""
    task = str(request.ident if request.ident is not None else uuid.uuid4())

    def event(status: dict[str, Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "method": "tasks/status", "params": {"taskId": task, "status": status}}

    try:
        async for item in rpc.items(request):
            yield event(_status(item))
    except Failure as failure:
        yield event({"state": "failed", "error": {"code": failure.code, "message": str(failure)}})
    except Exception as error:
        traceback.print_exc()
        yield event({"state": "failed", "error": {"code": HANDLER_FAILED, "message": message_of(error)}})
    else:
        yield event({"state": "completed", "final": True})


def _of_message(parameters: Any) -> tuple[str, Any]:
    message = parameters.get("message") if isinstance(parameters, dict) else None
    message = message if isinstance(message, dict) else {}
    metadata = message.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    wanted = metadata.get("params")
    wanted = dict(wanted) if isinstance(wanted, dict) else {}
    parts = message.get("parts")
    for part in parts if isinstance(parts, list) else []:
        # The older protocol says `type`, the newer one `kind`.
        if isinstance(part, dict) and "text" in (part.get("type"), part.get("kind")):
            wanted.setdefault("message", part.get("text", ""))
            break
    return metadata.get("skill") or "chat", wanted


async def _call(function: Function, parameters: Any) -> Any:
    """A plain function runs on a thread, with the context of the request."""
    if is_async(function):
        result = function(parameters)
    else:
        context = contextvars.copy_context()
        call = functools.partial(context.run, function, parameters)
        result = await asyncio.get_running_loop().run_in_executor(None, call)
    return await result if inspect.isawaitable(result) else result


def _item(item: Any) -> dict[str, Any]:
    return item if isinstance(item, dict) else {"event": "content", "data": {"text": _as_text(item)}}


def _status(item: dict[str, Any]) -> dict[str, Any]:
    kind = item.get("event") or item.get("type") or "content"
    data = expressible(item.get("data"))
    if kind in ("complete", "done"):
        return {"state": "completed", "metadata": data}
    if kind == "error":
        return {"state": "failed", "error": {"code": HANDLER_FAILED, "message": _text_in(data)}}
    message = {"role": "agent", "parts": [{"type": "text", "text": _text_in(data)}]}
    status: dict[str, Any] = {"state": "working", "message": message}
    if kind == "thinking":
        status["metadata"] = {"thinking": True}
    elif kind != "content":
        status["metadata"] = {"event": kind, "data": data}
    return status


def _text_in(data: Any) -> str:
    """The text of an event's data, under one of the names in use."""
    if isinstance(data, dict):
        for name in ("text", "content", "message", "error", "delta"):
            if isinstance(data.get(name), str):
                return str(data[name])
    return _as_text(data)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return (
        value if isinstance(value, str) else json.dumps(expressible(value), ensure_ascii=False, default=str)
    )
