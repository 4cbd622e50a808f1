"""A server that answers as OpenAI and Anthropic do, and says of every answer what it has cost."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CHAT_USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 3},
}
RESPONSE_USAGE = {
    "input_tokens": 21,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 26,
}
MESSAGE_USAGE = {"input_tokens": 31, "output_tokens": 4, "cache_read_input_tokens": 6}


def chat(asked: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": "hello"}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": asked["model"],
        "choices": [choice],
        "usage": CHAT_USAGE,
    }


def chat_events(asked: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    base = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": asked["model"]}
    for word in ("hel", "lo"):
        yield "", {**base, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
    if (asked.get("stream_options") or {}).get("include_usage"):
        yield "", {**base, "choices": [], "usage": CHAT_USAGE}
    yield "", "[DONE]"


def response(asked: dict[str, Any]) -> dict[str, Any]:
    text = {"type": "output_text", "text": "hello", "annotations": []}
    message = {"id": "m-1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    return {
        "id": "r-1",
        "object": "response",
        "created_at": 1,
        "model": asked["model"],
        "status": "completed",
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": RESPONSE_USAGE,
    }


def response_events(asked: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    whole = response(asked)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    yield "response.created", {"type": "response.created", "sequence_number": 0, "response": begun}
    delta = {"type": "response.output_text.delta", "item_id": "m-1", "output_index": 0, "content_index": 0}
    yield delta["type"], {**delta, "sequence_number": 1, "delta": "hello", "logprobs": []}
    yield "response.completed", {"type": "response.completed", "sequence_number": 2, "response": whole}


def embeddings(asked: dict[str, Any]) -> dict[str, Any]:
    one = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    return {"object": "list", "model": asked["model"], "data": [one], "usage": usage}


def message(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg-1",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": MESSAGE_USAGE,
    }


def message_events(asked: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    begun = {
        **message(asked),
        "content": [],
        "stop_reason": None,
        "usage": {**MESSAGE_USAGE, "output_tokens": 1},
    }
    yield "message_start", {"type": "message_start", "message": begun}
    block = {"type": "text", "text": ""}
    yield "content_block_start", {"type": "content_block_start", "index": 0, "content_block": block}
    for word in ("hel", "lo"):
        delta = {"type": "text_delta", "text": word}
        yield "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
    yield "content_block_stop", {"type": "content_block_stop", "index": 0}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    yield "message_delta", {"type": "message_delta", "delta": end, "usage": {"output_tokens": 4}}
    yield "message_stop", {"type": "message_stop"}


WHOLE = {
    "/v1/chat/completions": chat,
    "/v1/responses": response,
    "/v1/embeddings": embeddings,
    "/v1/messages": message,
}
STREAMED = {
    "/v1/chat/completions": chat_events,
    "/v1/responses": response_events,
    "/v1/messages": message_events,
}


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path = self.path.partition("?")[0]
        if asked["model"] == "refused":
            error = {"type": "invalid_request_error", "message": "no such model"}
            self._send(400, "application/json", json.dumps({"type": "error", "error": error}).encode())
        elif asked.get("stream"):
            events = [
                (f"event: {name}\n" if name else "")
                + f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n"
                for name, data in STREAMED[path](asked)
            ]
            self._send(200, "text/event-stream", "".join(events).encode())
        else:
            self._send(200, "application/json", json.dumps(WHOLE[path](asked)).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A test says itself what went wrong."""


@contextmanager
def models() -> Iterator[str]:
    """Its address, until the end of the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answering) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
