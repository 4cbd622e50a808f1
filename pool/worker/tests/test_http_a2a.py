"""Handlers by action, over HTTP: the card, JSON-RPC, events."""

from __future__ import annotations

import json

import pytest

SOURCE = '''
import asyncio

left = []

async def chat(parameters):
    """Talks."""
    return {"chat": parameters}

async def fail(parameters):
    raise ValueError("on purpose")

def plain(parameters):
    return "plain " + parameters.get("message", "")

async def count(parameters):
    for number in range(3):
        yield {"event": "content", "data": {"text": str(number)}}
    yield {"type": "thinking", "data": {"text": "hm"}}
    yield {"event": "complete", "data": {"sum": 3}}

async def breaks(parameters):
    yield {"event": "content", "data": "one"}
    raise ValueError("halfway")

async def forever(parameters):
    try:
        while True:
            yield "more"
            await asyncio.sleep(0.01)
    finally:
        left.append(1)

async def gone(parameters):
    return left

def service():
    return {
        "custom_handlers": {"chat": chat, "fail": fail, "plain": plain, "gone": gone},
        "streaming_handlers": {"count": count, "breaks": breaks, "forever": forever},
    }
'''


@pytest.fixture(scope="module", params=["rest", "a2a"])
def agent(shared, request):
    """Reached by either key: what the function returns decides."""
    started = shared(SOURCE, **{request.param: "main:service"})
    said = started.surfaces()
    assert said["rest"] == {"kind": "handlers"}
    assert said["a2a"] is None or said["a2a"]["actions"] == ["chat", "fail", "plain", "gone"]
    return started


def message(skill, parameters=None, text=None, method="message/send"):
    parts = [] if text is None else [{"type": "text", "text": text}]
    metadata = {"skill": skill, "params": parameters or {}}
    params = {"message": {"role": "user", "parts": parts, "metadata": metadata}}
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


def events(answer):
    """The states that were told."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = answer.body.decode().split("\n\n")
    assert lines.pop() == ""
    said = [json.loads(line[len("data: ") :]) for line in lines]
    assert {one["method"] for one in said} == {"tasks/status"}
    return [one["params"]["status"] for one in said]


@pytest.mark.parametrize("path", ["/.well-known/agent.json", "/a2a/.well-known/agent.json"])
def test_the_card_names_the_skills_and_the_address(agent, path):
    card = agent.get(path, host="par.example", x_forwarded_proto="https", x_forwarded_prefix="/agents/a")
    assert (card["name"], card["version"], card["url"]) == ("test", "1.0.0", "https://par.example/agents/a/")
    assert card["capabilities"] == {"streaming": True, "pushNotifications": False}
    skills = {one["id"]: one["description"] for one in card["skills"]}
    assert skills["chat"] == "Talks." and "count" in skills


@pytest.mark.parametrize("path", ["/", "/a2a"])
def test_a_message_is_answered_by_its_skill(agent, path):
    assert agent.rpc(message("chat", {"a": 1}, "hello"), path) == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {"chat": {"a": 1, "message": "hello"}},
    }
    assert agent.rpc(message("plain", text="text"), path)["result"] == "plain text"
    assert agent.rpc(message("plain", {"message": "own"}, "text"), path)["result"] == "plain own"


def test_other_methods_name_the_skill_themselves(agent):
    def asked(method, params):
        return agent.rpc({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})["result"]

    assert asked("agent/chat", {"a": 1}) == {"chat": {"a": 1}}
    assert asked("anything", {"skill": "plain", "params": {"message": "m"}}) == "plain m"
    assert asked("no/such/skill", {"b": 2}) == {"chat": {"b": 2}}


def test_failures_are_answers(agent):
    assert agent.rpc(message("fail"))["error"] == {"code": -32000, "message": "on purpose"}
    assert agent.http("POST", "/", "{").json()["error"]["code"] == -32700
    assert agent.http("POST", "/", "[]").json()["error"]["code"] == -32600
    assert "on purpose" in agent.errors()


def test_plain_functions_do_not_stop_each_other(primary):
    source = (
        "import threading\ngate = threading.Barrier(2)\n"
        "def meet(parameters):\n    return gate.wait(10)\n"
        "def service():\n    return {'meet': meet}\n"
    )
    agent = primary(source, rest="main:service")
    agent.surfaces()
    body = json.dumps(message("meet")).encode()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    both = [agent.connection(), agent.connection()]
    for connection in both:
        connection.sendall(head + body)
    answers = [connection.makefile("rb").read().rpartition(b"\r\n\r\n")[2] for connection in both]
    assert sorted(json.loads(answer)["result"] for answer in answers) == [0, 1]


def test_a_skill_that_nobody_has_is_no_method(primary):
    source = "async def only(parameters):\n    return 1\ndef service():\n    return {'only': only}\n"
    agent = primary(source, rest="main:service")
    agent.surfaces()
    assert agent.rpc(message("other"))["error"]["code"] == -32601


def test_a_stream_tells_the_states_of_a_task(agent):
    answer = agent.http("POST", "/stream", json.dumps(message("count")))
    said = events(answer)
    assert [one["message"]["parts"][0]["text"] for one in said[:4]] == ["0", "1", "2", "hm"]
    assert said[3]["metadata"] == {"thinking": True}
    assert said[4:] == [{"state": "completed", "metadata": {"sum": 3}}, {"state": "completed", "final": True}]


def test_a_method_may_ask_for_the_stream_too(agent):
    body = json.dumps(message("count", method="message/stream"))
    assert len(events(agent.http("POST", "/", body, accept="text/event-stream"))) == 6
    assert len(agent.rpc(message("count", method="message/stream"))["result"]) == 5


def test_a_handler_that_does_not_stream_says_one_thing(agent):
    said = events(agent.http("POST", "/a2a/stream", json.dumps(message("plain", text="t"))))
    assert said[0]["message"]["parts"][0]["text"] == "plain t"
    assert said[1:] == [{"state": "completed", "metadata": "plain t"}, {"state": "completed", "final": True}]


def test_a_stream_that_breaks_says_so(agent):
    said = events(agent.http("POST", "/stream", json.dumps(message("breaks"))))
    assert said[-1] == {"state": "failed", "error": {"code": -32000, "message": "halfway"}}


def test_a_client_that_leaves_ends_the_stream(agent):
    connection = agent.connection()
    body = json.dumps(message("forever")).encode()
    connection.sendall(
        b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    connection.recv(1)
    connection.close()
    for _ in range(1000):
        if agent.rpc(message("gone"))["result"] == [1]:
            break
    else:
        pytest.fail("the handler does not know")


def test_other_paths_and_methods_are_refused(agent):
    assert agent.get("/health") == {"ok": True, "status": "healthy"}
    assert agent.http("GET", "/nothing").status == 404
    refused = agent.http("GET", "/")
    assert refused.status == 405 and refused.headers["allow"] == "POST"
    assert agent.http("POST", "/health").status == 405
    assert agent.http("HEAD", "/health").status == 200
