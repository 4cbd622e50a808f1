"""The REST surface: real FastAPI on real uvicorn, over connections that come through the door."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from gateway import PATIENCE, alive
from primaries import WebSocket

from pixell_runtime.frames import Kind


@pytest.fixture(scope="module", params=["new", "old"])
def web(shared, request):
    """The example package with every kind of endpoint, on current and on old packages."""
    started = shared(agent="surfaces", rest="web:mount", packages=request.param)
    assert started.surfaces()["rest"] == {"kind": "mount"}
    return started


@pytest.fixture(params=["new", "old"])
def mortal(primary, request):
    """The same, for one test to end."""
    started = primary(agent="surfaces", rest="web:mount", packages=request.param)
    started.surfaces()
    return started


def test_a_request_is_answered(web):
    assert web.get("/api/ping") == {"pong": True, "pid": web.pid}


def test_the_application_has_started_before_the_first_request(web):
    assert web.get("/api/lifespan") == {"started": [web.pid], "mounted": True}


def test_answers_carry_a_date_and_no_server(web):
    headers = web.http("GET", "/api/ping").headers
    assert headers["date"].endswith("GMT") and headers["server"] is None


def test_repeated_names_arrive_and_leave_repeated(web):
    answer = web.http("POST", "/api/request?q=1&q=2", "body", x_one="a")
    said = answer.json()
    assert said["query"] == [["q", "1"], ["q", "2"]] and said["body"] == "body"
    assert ["x-one", "a"] in said["headers"]
    assert answer.headers.get_all("set-cookie") == ["a=1; Path=/", "b=2; Path=/"]


def test_every_method_is_answered(web):
    for method in ("GET", "OPTIONS", "PUT", "PATCH", "DELETE"):
        assert web.http(method, "/api/request").json()["method"] == method
    assert web.http("HEAD", "/api/request").body == b""


def test_a_connection_serves_one_request_after_the_other(web):
    connection = web.connection()
    reader = connection.makefile("rb")
    for _ in range(3):
        connection.sendall(b"GET /api/hello HTTP/1.1\r\nHost: a\r\n\r\n")
        assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
        while reader.readline() != b"\r\n":
            pass
        assert json.loads(reader.read(len(b'{"hello":"world"}'))) == {"hello": "world"}


def test_bodies_stream_both_ways(web):
    connection = web.connection()
    connection.sendall(b"POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    reader = connection.makefile("rb")
    connection.sendall(b"3\r\none\r\n")
    while reader.readline() != b"\r\n":
        pass
    # The first part comes back before the second is sent.
    assert reader.readline() == b"3\r\n" and reader.readline() == b"one\r\n"
    connection.sendall(b"3\r\ntwo\r\n0\r\n\r\n")
    assert reader.readline() == b"3\r\n" and reader.readline() == b"two\r\n"
    assert reader.readline() == b"0\r\n"


def test_events_come_one_by_one(web):
    connection = web.connection()
    connection.sendall(b"GET /api/events?count=3&seconds=0.2 HTTP/1.1\r\nHost: a\r\n\r\n")
    reader = connection.makefile("rb")
    times = []
    while len(times) < 3:
        if reader.readline().startswith(b"data:"):
            times.append(time.monotonic())
    assert times[2] - times[0] > 0.3


def test_websockets_speak_both_ways(web):
    socket = WebSocket(web.connection(), "/api/ws", sec_websocket_protocol="chat")
    assert socket.status == 101 and socket.headers["sec-websocket-protocol"] == "chat"
    socket.send("hello")
    assert socket.receive() == (1, b"hello")
    socket.send("close")
    kind, reason = socket.receive()
    assert kind == 8 and reason[2:] == b"as you wish"


@pytest.mark.parametrize("path", ["/api/slow?name=slow", "/api/endless?name=endless"])
def test_a_client_that_leaves_is_noticed(web, path):
    connection = web.connection()
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    if "endless" in path:
        connection.recv(1)
    else:
        web.get("/api/ping")
    connection.close()
    deadline = time.monotonic() + 10
    while path.rpartition("=")[2] not in web.get("/api/aborted"):
        assert time.monotonic() < deadline, "the application does not know"
        time.sleep(0.01)


def test_addresses_are_those_that_the_caller_has_seen(web):
    said = web.get(
        "/api/where",
        x_forwarded_prefix="/agents/web",
        x_forwarded_proto="https",
        x_forwarded_host="par.example",
        x_forwarded_for="203.0.113.7",
    )
    address = "https://par.example/agents/web/api/where"
    assert said["url_for"] == address and said["url"] == address
    assert said["base_url"] == "https://par.example/agents/web/" and said["scheme"] == "https"
    assert web.get("/api/request", x_forwarded_for="203.0.113.7")["client"] == "203.0.113.7"


def test_a_prefix_is_taken_once(web):
    prefix = {"x_forwarded_prefix": "/agents/web%401.0"}
    assert web.http("GET", "/api/ping", **prefix).status == 200
    assert web.http("GET", "/agents/web%401.0/api/ping", **prefix).status == 404
    assert web.http("GET", "/agents/web@1.0/api/ping", **prefix).status == 404
    assert web.http("GET", "/api/ping").status == 200


def test_websockets_below_a_prefix(web):
    socket = WebSocket(web.connection(), "/api/ws", x_forwarded_prefix="/agents/web")
    assert socket.status == 101


@pytest.mark.parametrize(("told", "scheme"), [("http", "ws"), ("https", "wss"), ("gopher", "ws")])
def test_websockets_are_told_their_address(shared, told, scheme):
    source = (
        "async def app(scope, receive, send):\n"
        "    if scope['type'] != 'websocket':\n        return\n"
        "    await receive()\n    await send({'type': 'websocket.accept'})\n"
        "    said = ' '.join([scope['scheme'], scope['root_path'], scope['path'], scope['client'][0]])\n"
        "    await send({'type': 'websocket.send', 'text': said})\n"
    )
    started = shared(source, rest="main:app", application=True)
    started.surfaces()
    headers = {"x_forwarded_proto": told, "x_forwarded_prefix": "/p", "x_forwarded_for": "1.1.1.1, 2.2.2.2"}
    socket = WebSocket(started.connection(), "/x", **headers)
    assert socket.receive() == (1, f"{scheme} /p /p/x 2.2.2.2".encode())


def test_documentation_is_found_below_a_prefix(web):
    page = web.http("GET", "/docs", x_forwarded_prefix="/agents/web")
    assert page.status == 200 and b"/agents/web/openapi.json" in page.body


def test_a_handler_that_raises_costs_its_own_request(web):
    assert web.http("GET", "/api/raises").status == 500
    assert web.get("/api/ping")["pong"]
    assert "this endpoint fails on purpose" in web.errors()


def test_stop_shuts_the_application_down(mortal):
    idle = mortal.connection()
    mortal.get("/api/ping")
    mortal.aside(Kind.STOP)
    assert mortal.status() == 0
    assert "the application was shut down" in mortal.output() and idle.recv(1) == b""


@pytest.mark.parametrize("packages", ["new", "old"])
def test_stop_closes_what_is_idle_before_the_application_ends(primary, packages, tmp_path):
    gate = tmp_path / "gate"
    source = (
        "import asyncio, os\nfrom contextlib import asynccontextmanager\n"
        "from fastapi import FastAPI, WebSocket\n"
        "@asynccontextmanager\nasync def live(app):\n    yield\n"
        f"    while not os.path.exists({str(gate)!r}):\n        await asyncio.sleep(0.01)\n"
        "app = FastAPI()\napp.router.lifespan_context = live\n"
        "@app.websocket('/ws')\nasync def ws(socket: WebSocket):\n"
        "    await socket.accept()\n    await socket.receive()\n"
    )
    started = primary(source, rest="main:app", application=True, packages=packages)
    started.surfaces()
    idle, socket = started.connection(), WebSocket(started.connection(), "/ws")
    idle.sendall(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
    idle.recv(65_536)
    started.aside(Kind.STOP)
    while idle.recv(65_536):
        pass
    said = socket.rest()
    # The old one ends the connection without a word.
    assert said == b"" if packages == "old" else said[0] & 15 == 8
    gate.touch()
    assert started.status() == 0


def test_a_process_that_a_handler_leaves_behind_does_not_hold_the_door(primary):
    source = (
        "import os, time\nfrom fastapi import FastAPI\napp = FastAPI()\n"
        "@app.get('/')\ndef root():\n    pid = os.fork()\n    if pid == 0:\n"
        "        time.sleep(60)\n        os._exit(0)\n    return pid\n"
    )
    started = primary(source, rest="main:app", application=True)
    started.surfaces()
    child = started.get("/")
    try:
        os.kill(started.pid, signal.SIGKILL)
        started.door.settimeout(PATIENCE)
        assert started.door.recv(1) == b"" and alive(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_stop_lets_a_request_end(mortal):
    connection = mortal.connection()
    connection.sendall(b"GET /api/slow?seconds=0.5 HTTP/1.1\r\nHost: a\r\nX-Mark: 1\r\n\r\n")
    mortal.get("/api/ping")
    mortal.aside(Kind.STOP)
    assert connection.makefile("rb").read().endswith(b'{"slept":0.5}')
    assert mortal.status() == 0


def test_the_end_of_par_ends_it_at_once(mortal):
    WebSocket(mortal.connection(), "/api/ws")
    mortal.main.shutdown(2)
    assert mortal.status() == 0
    assert "shut down" not in mortal.output()


def test_the_end_of_the_door_ends_it(mortal):
    mortal.door.close()
    assert mortal.status() == 0


def test_a_crash_is_seen_as_one(mortal):
    connection = mortal.connection()
    connection.sendall(b"GET /api/exits HTTP/1.1\r\nHost: a\r\n\r\n")
    assert mortal.status() == 3 and connection.recv(1) == b""


def test_a_lifespan_that_fails_later_ends_the_process(primary):
    source = (
        "import asyncio\nasked = asyncio.Event()\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'lifespan':\n"
        "        await receive()\n"
        "        await send({'type': 'lifespan.startup.complete'})\n"
        "        await asked.wait()\n"
        "        raise OSError('the pool is gone')\n"
        "    asked.set()\n"
    )
    started = primary(source, rest="main:app", application=True)
    assert started.surfaces()["rest"] == {"kind": "application"}
    started.connection().sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert started.status() == 70 and "the pool is gone" in started.errors()


def test_requests_see_what_the_lifespan_has_prepared(primary):
    source = (
        "from contextlib import asynccontextmanager\nfrom fastapi import FastAPI, Request\n"
        "@asynccontextmanager\nasync def live(app):\n    yield {'pool': 'open'}\n"
        "app = FastAPI(lifespan=live)\n"
        "@app.get('/')\ndef root(request: Request):\n    return request.state.pool\n"
    )
    started = primary(source, rest="main:app", application=True)
    started.surfaces()
    assert started.get("/") == "open"


def test_the_package_decides_alone_what_is_logged(primary):
    source = (
        "import logging\nlogging.basicConfig(level=logging.DEBUG, format='own %(message)s')\n"
        "from fastapi import FastAPI\napp = FastAPI()\n"
        "@app.get('/')\nasync def root(fail: bool = False):\n"
        "    logging.info('asked')\n    return 1 // (not fail)\n"
    )
    started = primary(source, rest="main:app", application=True)
    started.surfaces()
    started.get("/")
    started.http("GET", "/?fail=true")
    started.aside(Kind.STOP)
    assert started.status() == 0
    own = [line[4:] for line in started.errors().splitlines() if line.startswith("own ")]
    said = [line for line in own if "asyncio" not in line and "selector" not in line]
    assert said == ["asked", "asked", "Exception in ASGI application"] and started.output() == ""


def test_a_package_without_preloading_is_served_too(primary):
    started = primary(agent="surfaces", rest="web:mount", preload=False)
    assert started.surfaces()["rest"] == {"kind": "mount"}
    assert started.get("/api/ping")["pong"]


def test_modules_are_imported_once_by_the_template(primary):
    source = (
        "import os\nimported = os.getpid()\nfrom fastapi import FastAPI\napp = FastAPI()\n"
        "@app.get('/')\ndef root():\n    return [imported, os.getpid()]\n"
    )
    started = primary(source, rest="main:app", application=True)
    started.surfaces()
    assert started.get("/") == [started.gateway.process.pid, started.pid]


def test_on_worker_start_runs_in_the_primary(primary):
    source = (
        "from fastapi import FastAPI\napp = FastAPI()\nstarted = []\n"
        "async def on_worker_start():\n    started.append(1)\n"
        "@app.get('/')\ndef root():\n    return started\n"
    )
    started = primary(source, rest="main:app", application=True)
    started.surfaces()
    assert started.get("/") == [1]
