"""Executed code: what it returns, prints, shows and leaves; and what it may do without harm to others."""

from __future__ import annotations

import functools
import json
import signal
from pathlib import Path
from typing import Any, Callable

import executor
import pytest
from executor import AGENTS, run_in, session
from gateway import Gateway, WorkerEnd, alive

from pixell_runtime.credit import FIRST
from pixell_runtime.frames import STREAM, Kind

Start = Callable[..., Gateway]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def worker(gateway: Start) -> WorkerEnd:
    return gateway("", *AGENTS).worker()


@pytest.fixture
def run(worker: WorkerEnd) -> Run:
    """Executes code in the session `s`."""
    return functools.partial(run_in, worker)


def test_an_answer_has_both_documented_shapes(run: Run) -> None:
    said = run("import math\nprint('hello')\nx = 2\nnames = ['a', {'b': 1.5}]\nx * 21")
    assert said["status"] == "success"
    assert said["stdout"] == "hello\n"
    assert said["stderr"] == ""
    assert said["result"] == 42
    assert said["results"]["x"] == 2
    assert said["results"]["names"] == ["a", {"b": 1.5}]
    assert "math" in said["results"]["math"]
    assert said["session_id"] == "s"
    assert said["metrics"]["execution_time_ms"] > 0
    assert said["metrics"]["memory_used_bytes"] > 0
    assert "display" not in said["results"]


def test_the_state_of_a_session_is_its_own_and_stays(run: Run) -> None:
    run("x = 1\ndef double(n):\n    return 2 * n")
    assert run("double(x)")["result"] == 2
    assert run("x", ident="other")["error"]["type"] == "NameError"
    assert run("x += 1\nx")["result"] == 2


def test_code_without_a_session_leaves_nothing_behind(run: Run) -> None:
    change = "import math, os\nmath.pi = 3\nos.environ['LEFT'] = 'x'\nleft = 1"
    assert run(change, ident=None)["status"] == "success"
    said = run("import math, os\n(math.pi > 3, 'LEFT' in os.environ, 'left' in globals())", ident=None)
    assert said["result"] == [True, False, False]
    assert said["session_id"] is None


def test_a_session_that_is_only_a_name_keeps_nothing(worker: WorkerEnd) -> None:
    named = {"session": {"id": "s"}}
    said = worker.ask({"code": "import math\nmath.pi = 3\nx = 1"}, meta=named)
    assert said["session_id"] is None
    said = worker.ask({"code": "import math\n('x' in globals(), math.pi > 3)"}, meta=named)
    assert said["result"] == [False, True]


def test_a_result_may_be_assigned(run: Run) -> None:
    assert run("result = {'answer': 42}")["result"] == {"answer": 42}
    assert run("other = 1")["result"] is None


def test_an_error_tells_its_line_and_shows_the_code(run: Run) -> None:
    said = run("def divide(n):\n    return 1 / n\n\nprint('before')\ndivide(0)\n")
    assert said["status"] == "error"
    assert said["message"] == "division by zero"
    assert said["stdout"] == "before\n"
    assert said["error"]["type"] == "ZeroDivisionError"
    assert said["error"]["line"] == 2
    for line in ("Traceback", "line 5, in <module>", "return 1 / n", "ZeroDivisionError: division by zero"):
        assert line in said["error"]["traceback"], line
        assert line in said["stderr"], line
    assert "pixell_runtime" not in said["stderr"]


def test_functions_of_earlier_codes_show_their_lines(run: Run) -> None:
    run("def fail():\n    raise KeyError('from the first')")
    said = run("x = 1\nfail()")
    assert said["error"]["line"] == 2
    assert "raise KeyError('from the first')" in said["error"]["traceback"]


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("x = (", 1),
        ("if True:\nprint(1)", 2),
        ("return 1", 1),
        ("x = 1\n\0", None),
        ("a\udcff = 1", None),
        ("(" * 5000, None),
    ],
)
def test_what_is_no_python_is_a_syntax_error(run: Run, code: str, line: int | None) -> None:
    said = run(code)
    assert said["status"] == "error"
    assert said["message"].startswith("Syntax error: ")
    if line is not None:
        assert said["error"]["line"] == line
        assert "SyntaxError" in said["stderr"] or "IndentationError" in said["stderr"]
    assert run("1 + 1")["result"] == 2


@pytest.mark.parametrize(
    ("value", "path"), [([], ""), ({}, "/code"), ({"code": 1}, "/code"), ({"action": "rm"}, "/action")]
)
def test_a_request_that_is_none_is_refused_and_says_why(worker: WorkerEnd, value: Any, path: str) -> None:
    worker.call(value, meta=session("s"))
    said = worker.error()
    assert said["kind"] == "input"
    assert said["errors"][0]["path"] == path


def test_values_without_json_become_text(run: Run) -> None:
    said = run(
        "import datetime\nnan = float('nan')\nday = datetime.date(2024, 1, 2)\nloop = []\nloop.append(loop)\n"
        "class Bad:\n    def __str__(self): raise ValueError\n    __repr__ = __str__\n"
        "bad = Bad()\nbig = 10 ** 5000\nkeys = {(1, 2): 'x', 3: Bad()}\nnothing = None\nlone = '\\udcff'"
    )
    results = said["results"]
    assert results["nan"] == "nan"
    assert results["day"] == "2024-01-02"
    assert isinstance(results["loop"], str)
    assert "Bad" in results["bad"]
    assert results["big"].startswith("<int of ")
    assert results["keys"]["(1, 2)"] == "x"
    assert results["nothing"] is None
    assert results["lone"] == "?"
    assert run("day")["result"] == "2024-01-02"
    assert run("bad")["status"] == "success"


def test_large_values_are_shortened_and_large_output_is_cut(run: Run) -> None:
    said = run("many = list(range(1_000_000))\nprint('x' * 3_000_000)\nmany")
    assert len(said["result"]) < 1000
    assert len(said["results"]["many"]) < 1000
    assert len(said["stdout"]) < 1_100_000
    assert "more characters were left out" in said["stdout"]


def test_output_of_children_and_of_the_descriptors_is_caught(run: Run) -> None:
    said = run(
        "import os, subprocess, sys\nprint('one')\nsubprocess.run(['echo', 'two'])\nos.write(1, b'three\\n')\n"
        "print('four', file=sys.__stdout__, flush=True)\nprint('five', file=sys.stderr)\nos.write(2, 'sechs ß'.encode())"
    )
    assert said["stdout"] == "one\ntwo\nthree\nfour\n"
    assert said["stderr"] == "five\nsechs ß"


def test_the_next_call_has_its_output_whatever_code_has_done_to_it(run: Run) -> None:
    for harm in (
        "import io, sys\nsys.stdout = io.StringIO()",
        "import sys\nsys.stdout.close()",
        "import sys\nsys.stdout = None",
        "import os\nos.close(1)\nos.close(2)",
        "import os\nos.dup2(os.open('/dev/null', os.O_WRONLY), 1)",
        "import sys\ndel sys.stdout",
        "import sys\nclass Bad:\n    def flush(self): raise OSError\nsys.stdout = Bad()",
    ):
        assert run(harm)["status"] == "success", harm
        assert run("print('still here')")["stdout"] == "still here\n", harm


def test_code_that_ends_itself_has_ended(run: Run) -> None:
    assert run("print('x')\nimport sys\nsys.exit()")["status"] == "success"
    said = run("raise SystemExit(3)")
    assert (said["status"], said["error"]["type"], said["message"]) == ("error", "SystemExit", "3")
    assert run("exit('no')")["message"] == "no"
    assert run("raise KeyboardInterrupt")["error"]["type"] == "KeyboardInterrupt"


def test_a_child_that_code_forks_is_nobodys_call(run: Run) -> None:
    said = run(
        "import os\npid = os.fork()\nif pid:\n    os.waitpid(pid, 0)\nprint('parent' if pid else 'child')"
    )
    assert sorted(said["stdout"].split()) == ["child", "parent"]
    said = run("import os\nif os.fork() == 0:\n    raise ValueError('in the child')\nos.wait()[1]")
    assert "in the child" in said["stderr"]
    assert said["result"] != 0
    assert run("1")["result"] == 1


def test_threads_and_children_that_outlive_their_call_write_to_the_log(worker: WorkerEnd, run: Run) -> None:
    said = run(
        "import subprocess, threading\ngo = threading.Event()\n"
        "def late():\n    go.wait()\n    print('late thread')\n"
        "thread = threading.Thread(target=late)\nthread.start()\n"
        "child = subprocess.Popen(['sh', '-c', 'read line; echo late child'], stdin=subprocess.PIPE)\nprint('now')"
    )
    assert said["stdout"] == "now\n"
    assert run("threading.Timer(0.2, go.set).start()")["stdout"] == ""
    worker.wait_for_output("late thread")
    run("threading.Timer(0.2, child.communicate, [b'x\\n']).start()")
    worker.wait_for_output("late child")


def test_code_that_ends_the_process_ends_it(worker: WorkerEnd) -> None:
    worker.call({"code": "import os\nos._exit(3)"}, meta=session("s"))
    assert worker.status() == 3


def test_a_fork_that_dies_takes_its_worker_along(worker: WorkerEnd) -> None:
    worker.call({"code": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)"})
    assert worker.status() == -signal.SIGSEGV


def test_processes_that_code_without_a_session_leaves_behind_end_with_its_call(run: Run) -> None:
    said = run(
        "import os, time\nreading, writing = os.pipe()\n"
        "if os.fork() == 0:\n    os.setsid()\n    pid = os.fork()\n"
        "    if pid:\n        os.write(writing, str(pid).encode())\n        os._exit(0)\n    time.sleep(600)\n"
        "int(os.read(reading, 20))",
        ident=None,
    )
    assert said["status"] == "success"
    assert not alive(said["result"])


def test_code_without_a_session_calls_no_other_agents(run: Run) -> None:
    said = run("from pixell_runtime import runtime\nruntime.call('other')", ident=None)
    assert said["error"]["type"].endswith("RuntimeUnavailable")


def test_nobody_types_an_input(run: Run) -> None:
    assert run("input('name? ')")["error"]["type"] == "EOFError"


def test_what_code_defines_can_be_pickled_and_read_again(run: Run) -> None:
    run("import dataclasses, pickle\n@dataclasses.dataclass\nclass Point:\n    x: int = 1")
    assert run("pickle.loads(pickle.dumps(Point(7))).x")["result"] == 7


@pytest.mark.parametrize("ident", ["s", None])
def test_code_whose_caller_has_left_is_interrupted(worker: WorkerEnd, run: Run, ident: str | None) -> None:
    meta = session(ident)
    call = worker.call({"code": "kept = 1\nimport time\ntime.sleep(600)"}, meta=meta)
    assert worker.silent_now()
    worker.aside(Kind.CANCEL, call)
    worker.frame()
    if ident:
        assert run("kept", ident=ident)["result"] == 1


def _event(frame: Any) -> dict[str, Any]:
    assert frame[0] == Kind.ITEM, frame
    event: dict[str, Any] = json.loads(frame[6])
    return event


@pytest.mark.parametrize("ident", ["s", None])
def test_output_is_told_while_it_is_printed(worker: WorkerEnd, tmp_path: Path, ident: str | None) -> None:
    gate = tmp_path / "gate"
    code = (
        f"import os, time\nprint('one', end='')\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.002)\n"
        "display('shown')\nos.write(2, b'two')\n6 * 7"
    )
    worker.call({"code": code}, export=executor.STREAM, meta=session(ident), flags=STREAM)
    assert _event(worker.frame()) == {"type": "stdout", "text": "one"}
    gate.touch()
    assert _event(worker.frame()) == {"type": "display", "display": {"kind": "text", "text": "shown"}}
    assert _event(worker.frame()) == {"type": "stderr", "text": "two"}
    last = _event(worker.frame())
    assert (last["type"], last["status"], last["result"]) == ("result", "success", 42)
    assert last["session_id"] == ident
    assert not {"stdout", "stderr", "displays", "trace"} & set(last)
    assert worker.frame()[0] == Kind.END


def test_who_takes_a_stream_as_a_whole_gets_its_events(worker: WorkerEnd) -> None:
    events = worker.ask({"code": "print(1, end='')\n1 / 0"}, export=executor.STREAM, meta=session("s"))
    assert events[0] == {"type": "stdout", "text": "1"}
    assert events[-1]["error"]["line"] == 2


@pytest.mark.parametrize("ident", ["s", None])
def test_a_slow_caller_stops_the_code_and_one_that_leaves_ends_it(
    worker: WorkerEnd, run: Run, ident: str | None
) -> None:
    code = "lines = 0\nwhile True:\n    print('x' * 1000)\n    lines += 1"
    call = worker.call({"code": code}, export=executor.STREAM, meta=session(ident), flags=STREAM)
    sent = 0
    while sent < FIRST:
        sent += len(worker.frame()[6])
    assert sent < FIRST + 2 * 65_536
    worker.aside(Kind.CANCEL, call)
    while (frame := worker.frame())[0] == Kind.ITEM:
        sent += len(frame[6])
    assert frame[0] == Kind.CANCELLED
    assert run("1 + 1", ident=ident)["result"] == 2
    if ident:
        # The pipe takes a megabyte, the reader and the caller's credit some more.
        assert run("lines", ident=ident)["result"] < 3_000


def test_what_it_can_do_is_told_and_nothing_of_other_sessions(worker: WorkerEnd) -> None:
    worker.ask({"code": "1"}, meta=session("secret"))
    info = worker.ask({"action": "get_info"}, meta=session("s"))
    assert info["info"]["name"] == "direct-python-executor"
    assert info["info"]["python_version"].startswith("3.")
    able = worker.ask({"action": "list_capabilities"}, meta=session("s"))["capabilities"]
    assert able["sessions"] == {"active": 1, "session_ids": ["s"]}
