"""How workers end, wanted or not."""

from __future__ import annotations

import json
import os
import signal

from gateway import ECHO, GATE, wait_until_dead

from pixell_runtime.frames import Kind


def test_a_crash_leaves_finished_answers_in_the_journal(gateway):
    # The second call of "run" is known to be short, so its answer waits for the next one, which dies.
    source = "import os\ndef run(v):\n    if v == 'die':\n        os._exit(9)\n    return v\n"
    worker = gateway(source, "run").worker()
    for _ in range(20):
        worker.ask(0)
    sent = worker.calls(["a", "b", "die", "c"])
    assert worker.status() == 9
    written = []
    while not worker.silent():
        written.append(worker.frame()[2])
    started, frames = worker.journal_image()
    assert started == sent[2]
    assert {frame[2] for frame in frames} | set(written) == set(sent[:2])
    assert all(json.loads(frame[6]) in ("a", "b") for frame in frames)


def test_a_signal_is_reported_with_a_stack(gateway):
    source = "import os, signal\ndef run(v):\n    os.kill(os.getpid(), signal.SIGSEGV)\n    return v\n"
    worker = gateway(source, "run").worker()
    call = worker.call({})
    assert worker.status() == -signal.SIGSEGV
    assert worker.journal_image()[0] == call
    assert "in run" in worker.errors()


def test_par_can_ask_a_stuck_worker_for_its_stacks(gateway, tmp_path):
    worker = gateway(GATE, "run").worker()
    worker.call({"gate": str(tmp_path / "never")})
    worker.wait_for_output("waiting")
    os.kill(worker.pid, signal.SIGUSR2)
    # It is written piece by piece; the name of the function ends its line.
    assert 'main.py", line' in worker.wait_for_errors(" in run\n")
    worker.side.close()
    assert worker.status() == 0


def test_sys_exit_in_a_handler_ends_the_worker_with_its_code(gateway):
    worker = gateway("import sys\ndef run(v):\n    if v: sys.exit(v)\n    return v\n", "run").worker()
    sent = worker.calls([0, 0, 3])
    assert [worker.frame()[2], worker.frame()[2]] == sent[:2], "finished answers are written before"
    assert worker.status() == 3 and worker.silent()


def test_keyboard_interrupt_in_a_handler_is_an_agent_error(gateway):
    worker = gateway("def run(v):\n    raise KeyboardInterrupt\n", "run").worker()
    worker.call({})
    assert worker.error()["type"] == "KeyboardInterrupt"


def test_a_child_forked_by_a_handler_answers_nothing(gateway):
    source = (
        "import os\n"
        "def run(v):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        if v == 'raise': raise ValueError\n"
        "        return 'child'\n"
        "    os.waitpid(pid, 0)\n"
        "    return 'parent'\n"
    )
    worker = gateway(source, "run").worker()
    for value in ("return", "raise", "return"):
        assert worker.ask(value) == "parent"
    worker.aside(Kind.STOP)
    assert worker.status() == 0 and worker.silent()


def test_a_handler_that_closes_our_socket_ends_its_worker(gateway):
    source = "import os\ndef run(v):\n    os.closerange(3, 1024)\n    return v\n"
    worker = gateway(source, "run").worker()
    worker.call({})
    assert worker.status() == 70


def test_workers_do_not_outlive_par(gateway):
    running = gateway(ECHO, "run")
    worker = running.worker()
    running.control.close()
    wait_until_dead(worker.pid)
    wait_until_dead(running.process.pid)
