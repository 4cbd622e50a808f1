"""The client for threads, against a server that follows a script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from scripted import Line, answering, scripted

import pixell_runtime
from pixell_runtime import client as par

NDJSON = "application/x-ndjson"


def problem(code: str, status: int, **more: object) -> bytes:
    return json.dumps({"code": code, "status": status, "detail": "why", "request_id": "r-1", **more}).encode()


def test_calls_share_one_connection_and_say_what_they_were_told(tmp_path: Path) -> None:
    with scripted(tmp_path, answering((200, b'{"n":1}'), (200, b"null"))) as server:
        client = pixell_runtime.connect(server.path, timeout=30)
        assert client.call("a@1/b", x=1, input=2) == {"n": 1}
        named = client.options(traceparent="00-0-0-01", request_id="mine")
        assert named.call("b", [1, 2]) is None
        client.close()
    (first, headers, body), (second, told, other) = server.heads
    assert first == "POST /agents/a%401%2Fb/invoke HTTP/1.1" and body == b'{"x":1,"input":2}'
    assert second == "POST /agents/b/invoke HTTP/1.1" and other == b"[1,2]"
    assert 29_000 < int(headers["x-par-timeout-ms"]) <= 30_000
    assert (told["traceparent"], told["x-request-id"]) == ("00-0-0-01", "mine")
    assert "authorization" not in headers and server.connections == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "bad_json", par.BadRequest),
        (401, "unauthenticated", par.Unauthenticated),
        (403, "forbidden", par.Forbidden),
        (404, "agent_not_found", par.NotFound),
        (409, "conflict", par.Conflict),
        (410, "session_lost", par.SessionEnded),
        (413, "too_large", par.BadRequest),
        (422, "input_invalid", par.InputInvalid),
        (429, "rate_limited", par.RateLimited),
        (500, "agent_error", par.AgentFailed),
        (500, "internal", par.InternalError),
        (502, "worker_crashed", par.WorkerCrashed),
        (503, "agent_disabled", par.Unavailable),
        (504, "deadline_exceeded", par.DeadlineExceeded),
    ],
)
def test_every_family_of_codes_has_its_class(
    tmp_path: Path, status: int, code: str, kind: type[par.CallError]
) -> None:
    errors = [{"path": "/x", "message": "no", "schema_path": "/type"}]
    body = problem(code, status, errors=errors, error={"type": "ValueError"})
    with scripted(tmp_path, answering((status, body))) as server, pytest.raises(par.CallError) as caught:
        pixell_runtime.connect(server.path).call("a")
    error = caught.value
    assert type(error) is kind and (error.code, error.status) == (code, status)
    assert (error.detail, error.request_id, error.errors) == ("why", "r-1", errors)
    assert error.error == {"type": "ValueError"} and str(error) == f"{code}: why"
    assert isinstance(error, pixell_runtime.errors.CallFailed), "as agents know it"


def test_what_is_no_problem_document_is_told_as_it_is(tmp_path: Path) -> None:
    html = answering((502, b"<html>"))
    told = pytest.raises(par.WorkerCrashed, match="status 502: <html>")
    with scripted(tmp_path, html) as server, told:
        pixell_runtime.connect(server.path).call("a")


def test_a_call_that_has_not_begun_is_tried_again_when_the_runtime_says(tmp_path: Path) -> None:
    def busy(line: Line) -> None:
        for _ in range(2):
            line.request()
            line.answer(503, problem("queue_full", 503), "Retry-After: 0")
        line.request()
        line.answer(200, b"7")

    with scripted(tmp_path, busy) as server:
        assert pixell_runtime.connect(server.path).call("a") == 7
    assert len(server.heads) == 3


def test_tries_are_bounded_and_end_with_what_was_said(tmp_path: Path) -> None:
    def busy(line: Line) -> None:
        while line.request()[0]:
            line.answer(503, problem("not_ready", 503), "Retry-After: 0")

    with scripted(tmp_path, busy) as server:
        client = pixell_runtime.connect(server.path)
        with pytest.raises(par.Unavailable) as caught:
            client.call("a")
        assert caught.value.retry_after == 0 and len(server.heads) == 3
        client.close()


@pytest.mark.parametrize(
    ("status", "code", "after"),
    [
        (503, "agent_disabled", "0"),
        (503, "queue_full", "60"),
        (429, "rate_limited", "0"),
        (502, "worker_crashed", "0"),
    ],
)
def test_what_another_try_does_not_better_is_not_tried_again(
    tmp_path: Path, status: int, code: str, after: str
) -> None:
    def act(line: Line) -> None:
        line.request()
        line.answer(status, problem(code, status), f"Retry-After: {after}")

    with scripted(tmp_path, act) as server, pytest.raises(par.CallError) as caught:
        pixell_runtime.connect(server.path).call("a")
    assert caught.value.code == code and len(server.heads) == 1


def test_a_call_that_may_have_run_is_never_sent_again(tmp_path: Path) -> None:
    def dies(line: Line) -> None:
        line.request()
        line.answer(200, b"1")
        line.request()

    with scripted(tmp_path, dies, answering((200, b"2"))) as server:
        client = pixell_runtime.connect(server.path)
        assert client.call("a") == 1
        with pytest.raises(par.ConnectionLost):
            client.call("a")
        assert len(server.heads) == 2 and client.call("a") == 2
        client.close()


def test_a_kept_connection_that_has_ended_is_replaced_before_anything_is_sent(tmp_path: Path) -> None:
    ended = threading.Event()

    def once(line: Line) -> None:
        line.request()
        line.answer(200, b"1")
        line.connection.close()
        ended.set()

    with scripted(tmp_path, once, answering((200, b"2"))) as server:
        client = pixell_runtime.connect(server.path)
        assert client.call("a") == 1
        assert ended.wait(10)
        assert client.call("a") == 2
        client.close()


def test_a_connection_that_ends_before_it_has_the_request_costs_nothing(tmp_path: Path) -> None:
    def refuses(line: Line) -> None:
        line.connection.recv(1000)

    large = "x" * (8 << 20)
    with scripted(tmp_path, refuses, answering((200, b"2"))) as server:
        assert pixell_runtime.connect(server.path).call("a", text=large) == 2
    assert len(server.heads) == 1


def test_whoever_refuses_a_body_before_its_end_is_heard(tmp_path: Path) -> None:
    def refuses(line: Line) -> None:
        line.connection.recv(1000)
        line.answer(413, problem("too_large", 413), "Connection: close")

    with scripted(tmp_path, refuses) as server, pytest.raises(par.BadRequest, match="too_large"):
        pixell_runtime.connect(server.path).call("a", text="x" * (8 << 20))


def test_where_nobody_answers_it_is_tried_again_while_something_is_restarted(tmp_path: Path) -> None:
    path = tmp_path / "scripted.sock"
    client = pixell_runtime.connect(path)
    with pytest.raises(par.Unreachable, match=str(path)):
        client.call("a")
    results: list[object] = []
    waiting = threading.Thread(target=lambda: results.append(client.call("a")))
    waiting.start()
    with scripted(tmp_path, answering((200, b"1"))):
        waiting.join()
    assert results == [1]
    client.close()


def test_a_call_without_an_answer_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(par.clock, "GRACE", 0.1)

    def silent(line: Line) -> None:
        line.request()
        assert line.left(), "the connection ends with the call"

    with scripted(tmp_path, silent) as server:
        begun = time.monotonic()
        with pytest.raises(par.DeadlineExceeded) as caught:
            pixell_runtime.connect(server.path, timeout=0.2).call("a")
        assert 0.2 <= time.monotonic() - begun < 5 and caught.value.code == "deadline_exceeded"


def test_items_come_as_they_are_made_and_the_connection_is_kept(tmp_path: Path) -> None:
    said, go = threading.Event(), threading.Event()

    def act(line: Line) -> None:
        line.request()
        line.say(f"HTTP/1.1 200 OK\r\nContent-Type: {NDJSON}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        line.say(b'8\r\n{"n":1}\n\r\n4\r\n"tw')
        said.set()
        assert go.wait(10)
        line.say(b'o\r\n2\r\n"\n\r\n0\r\nTrailer: x\r\n\r\n')
        line.request()
        line.answer(200, b"3")

    with scripted(tmp_path, act) as server:
        client = pixell_runtime.connect(server.path)
        stream = client.stream("a", n=2)
        assert next(stream) == {"n": 1}
        go.set()
        assert list(stream) == ["two"] and list(stream) == []
        assert client.call("a") == 3
        client.close()
    assert server.heads[0][1]["accept"] == NDJSON and server.connections == 1


def test_a_stream_fails_by_its_last_line_and_only_by_it(tmp_path: Path) -> None:
    lines = [b'{"$error":1}', b'{"$error":{"x":1}}', b'{"$error":' + problem("agent_error", 500) + b"}"]
    with scripted(
        tmp_path, lambda line: (line.request(), line.answer(200, b"\n".join(lines), content_type=NDJSON))
    ) as server:
        stream = pixell_runtime.connect(server.path).stream("a")
        assert [next(stream), next(stream)] == [{"$error": 1}, {"$error": {"x": 1}}]
        with pytest.raises(par.AgentFailed):
            next(stream)


def test_a_stream_that_breaks_off_is_no_end(tmp_path: Path) -> None:
    def breaks(line: Line) -> None:
        line.request()
        line.say(
            f"HTTP/1.1 200 OK\r\nContent-Type: {NDJSON}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1\n\r\n".encode()
        )

    with scripted(tmp_path, breaks) as server:
        stream = pixell_runtime.connect(server.path).stream("a")
        assert next(stream) == 1
        with pytest.raises(par.ConnectionLost):
            next(stream)


@pytest.mark.parametrize("how", ["close", "with", "forget"])
def test_a_stream_that_is_not_read_to_its_end_ends_the_call(tmp_path: Path, how: str) -> None:
    left = threading.Event()

    def endless(line: Line) -> None:
        line.request()
        line.say(
            f"HTTP/1.1 200 OK\r\nContent-Type: {NDJSON}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1\n\r\n".encode()
        )
        assert line.left()
        left.set()

    with scripted(tmp_path, endless) as server:
        stream = pixell_runtime.connect(server.path).stream("a")
        assert next(stream) == 1
        if how == "close":
            stream.close()
        elif how == "with":
            with stream:
                pass
        else:
            del stream
        assert left.wait(5)


def test_a_session_names_itself_in_every_call_and_ends_with_its_block(tmp_path: Path) -> None:
    with scripted(
        tmp_path, answering((200, b"1"), (200, b"2"), (404, problem("session_not_found", 404)), (200, b"3"))
    ) as server:
        client = pixell_runtime.connect(server.path)
        with client.session() as session:
            assert [session.call("a"), session.call("a")] == [1, 2]
        with client.session("given") as given:
            assert given.call("a") == 3
        client.close()
    ids = [headers.get("x-par-session") for _, headers, _ in server.heads]
    assert ids == [session.id, session.id, None, "given"]
    assert server.heads[2][0] == f"DELETE /runtime/sessions/{session.id} HTTP/1.1"


def test_a_token_is_asked_for_before_every_call(tmp_path: Path) -> None:
    tokens = iter(["one", "two"])
    with scripted(tmp_path, answering((200, b"1"), (200, b"2"))) as server:
        client = pixell_runtime.connect(server.path, token=lambda: next(tokens))
        assert [client.call("a"), client.call("a")] == [1, 2]
        client.close()
    assert [headers["authorization"] for _, headers, _ in server.heads] == ["Bearer one", "Bearer two"]


def test_what_could_begin_another_line_is_not_sent(tmp_path: Path) -> None:
    client = pixell_runtime.connect(tmp_path / "none", token="x\r\ny: z")
    for call in (
        lambda: client.call("a"),
        lambda: client.session("a\nb").call("a"),
        lambda: client.options(traceparent="\x00").call("a"),
        lambda: client.call("a", f=par.Upload(b"", content_type="a\r\nb")),
    ):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(ValueError):
        client.call("a", x=float("nan"))


def test_many_threads_take_turns_on_few_connections(tmp_path: Path) -> None:
    def echo(line: Line) -> None:
        while (request := line.request())[0]:
            line.answer(200, request[2])

    with scripted(tmp_path, echo, echo) as server:
        client = pixell_runtime.connect(server.path, connections=2)
        wrong: list[object] = []

        def calls(number: int) -> None:
            for _ in range(50):
                answer = client.call("a", n=number)
                if answer != {"n": number}:
                    wrong.append(answer)

        threads = [threading.Thread(target=calls, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.close()
    assert wrong == [] and len(server.heads) == 400


def test_a_forked_child_takes_connections_of_its_own(tmp_path: Path) -> None:
    with scripted(tmp_path, answering((200, b"1"), (200, b"3")), answering((200, b"2"))) as server:
        client = pixell_runtime.connect(server.path)
        assert client.call("a") == 1
        child = os.fork()
        if child == 0:
            os._exit(0 if client.call("a") == 2 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.call("a") == 3
        client.close()


def test_workers_do_not_import_the_client() -> None:
    code = "import sys, pixell_runtime.worker; print('pixell_runtime.client' in sys.modules, 'ssl' in sys.modules)"
    # Modules are found from the folder a child starts in; nobody is told where the suite itself was started.
    beside = Path(pixell_runtime.__file__).parent.parent
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=beside, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout.split()) == (0, ["False", "False"]), ran.stderr
