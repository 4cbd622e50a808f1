"""A template: imports, fork safety, workers and their ends."""

from __future__ import annotations

import os
import random
import signal

import pytest
from environments import environment
from gateway import ECHO, export, wait_until_dead

from pixell_runtime.frames import Kind


def test_ready_tells_what_was_imported(gateway):
    source = ECHO + "async def items(n):\n    yield n\n"
    running = gateway(source, "run", "items")
    ready = running.ready()
    assert ready["exports"] == [
        {"id": "run", "lane": "sync", "streams": False},
        {"id": "items", "lane": "async", "streams": True},
    ]
    assert ready["fork"] == {"safe": True, "reason": None}
    assert ready["pid"] == running.process.pid and ready["import_seconds"] >= 0


def test_a_worker_introduces_itself(gateway):
    running = gateway(ECHO, "run")
    template = running.ready()
    worker = running.fork()
    said = worker.ready()
    assert said["pid"] == worker.pid and said["exports"] == template["exports"]


@pytest.mark.parametrize(
    ("source", "phase", "type_", "word"),
    [
        ("import no_such_module\n", "import", "ModuleNotFoundError", "no_such_module"),
        ("import sys\nsys.exit(3)\n", "import", "SystemExit", "3"),
        ("def run(:\n", "import", "SyntaxError", "invalid"),
        ("x = 1\n", "handler", "AttributeError", "run"),
        ("run = 5\n", "handler", "TypeError", "callable"),
        ("class run:\n    def __init__(self):\n        raise OSError('no')\n", "handler", "OSError", "no"),
    ],
)
def test_what_cannot_be_imported_fails_with_its_phase(gateway, source, phase, type_, word):
    running = gateway(source, "run")
    failed = running.expect("failed")["failed"]
    assert (failed["phase"], failed["export"], failed["type"]) == (phase, "run", type_)
    assert word in failed["message"] and "handlers.py" not in failed["traceback"]
    assert running.process.wait(10) == 1


def test_imports_happen_once_and_workers_share_them(gateway):
    running = gateway("import os\npid = os.getpid()\ndef run():\n    return [pid, os.getpid()]\n", "run")
    running.ready()
    workers = [running.fork() for _ in range(3)]
    for worker in workers:
        worker.ready()
        assert worker.ask({}) == [running.process.pid, worker.pid]


def test_without_preload_every_worker_imports_for_itself(gateway):
    source = (
        "import os\nprint('imported', flush=True)\npid = os.getpid()\n"
        "def run():\n    return [pid, os.environ.get('OMP_NUM_THREADS')]\n"
    )
    running = gateway(source, "run", preload=False)
    ready = running.ready()
    assert ready["exports"] == []
    worker = running.fork()
    assert worker.ready()["exports"] == [{"id": "run", "lane": "sync", "streams": False}]
    assert worker.ask({}) == [worker.pid, None]
    assert running.template_output() == "" and worker.output() == "imported\n"


def test_without_preload_a_worker_that_cannot_import_says_so(gateway):
    running = gateway("raise ValueError('no')\n", "run", preload=False)
    running.ready()
    worker = running.fork()
    frame = worker.frame()
    assert frame[0] == Kind.FAILED and b'"phase": "import"' in frame[6] and b"ValueError" in frame[6]
    assert worker.status() == 1


def test_a_thread_started_at_import_makes_forks_unsafe(gateway):
    source = ECHO + (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    fork = gateway(source, "run").ready()["fork"]
    assert fork["safe"] is False and fork["reason"].startswith("thread ")


def test_a_connection_opened_at_import_makes_forks_unsafe(gateway):
    source = ECHO + (
        "import socket\nserver = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(server.getsockname())\n"
    )
    fork = gateway(source, "run").ready()["fork"]
    assert fork["safe"] is False and "connected socket to 127.0.0.1:" in fork["reason"]


def test_a_listening_socket_does_not(gateway):
    source = ECHO + "import socket\nserver = socket.create_server(('127.0.0.1', 0))\n"
    assert gateway(source, "run").ready()["fork"]["safe"] is True


def test_on_worker_start_runs_once_in_every_worker(gateway):
    source = (
        "import os\nstarted = []\ndef on_worker_start():\n    started.append(os.getpid())\n"
        "def run():\n    return started\ndef other():\n    return started\n"
    )
    running = gateway(source, "run", "other")
    running.ready()
    for _ in range(2):
        worker = running.fork()
        worker.ready()
        assert worker.ask({}) == [worker.pid]


def test_an_on_worker_start_that_fails_fails_the_worker(gateway):
    running = gateway(ECHO + "def on_worker_start():\n    raise RuntimeError('no licence')\n", "run")
    running.ready()
    worker = running.fork()
    frame = worker.frame()
    assert frame[0] == Kind.FAILED and b"no licence" in frame[6]
    assert worker.status() == 1


def test_workers_do_not_share_their_random_numbers(gateway):
    source = "import random\nrandom.seed(1)\ndef run():\n    return random.random()\n"
    running = gateway(source, "run")
    running.ready()
    seen = {random.Random(1).random()}
    for _ in range(3):
        worker = running.fork()
        worker.ready()
        seen.add(worker.ask({}))
    assert len(seen) == 4


def test_workers_do_not_share_the_random_numbers_of_numpy(gateway):
    data = environment("data")
    source = "import numpy\nnumpy.random.seed(1)\ndef run():\n    return numpy.random.random_sample()\n"
    running = gateway(source, "run", python=data.python, path=[data.site])
    running.ready()
    seen = {0.417022004702574}  # the first number after this seed
    for _ in range(3):
        worker = running.fork()
        worker.ready()
        seen.add(worker.ask({}))
    assert len(seen) == 4


def test_a_package_that_breaks_the_seed_of_numpy_is_told_and_served(gateway):
    source = ECHO + (
        "import sys, types\nfake = sys.modules['numpy.random'] = types.ModuleType('numpy.random')\n"
        "def seed():\n    raise SystemExit('no seed')\nfake.seed = seed\n"
    )
    running = gateway(source, "run")
    running.ready()
    for _ in range(3):
        worker = running.fork()
        worker.ready()
        assert worker.ask({"a": 1}) == {"a": 1}
    assert running.template_output().count("SystemExit: no seed") == 1


def test_collections_are_off_in_the_template_and_on_in_its_workers(gateway):
    source = (
        "import gc\nat_import = gc.isenabled()\n"
        "def run():\n    return [at_import, gc.isenabled(), gc.get_freeze_count() > 0]\n"
    )
    assert gateway(source, "run").worker().ask({}) == [False, True, True]


def test_stdin_is_empty_and_the_control_socket_is_not_inherited(gateway):
    source = (
        "import os, sys\ndef run():\n    return [sys.stdin.read(), sorted(\n"
        "        os.readlink(f'/proc/self/fd/{d}')[:6] for d in os.listdir('/proc/self/fd') if int(d) > 2\n"
        "        and os.path.exists(f'/proc/self/fd/{d}'))]\n"
    )
    stdin, held = gateway(source, "run").worker().ask({})
    assert stdin == "" and held.count("socket") == 2, held


def test_ends_are_reported_with_their_raw_status(gateway):
    running = gateway("import os\ndef run(v):\n    os._exit(v)\n", "run")
    running.ready()
    workers = [running.fork() for _ in range(3)]
    for worker in workers:
        worker.ready()
    workers[0].call(7)
    assert workers[0].status() == 7
    os.kill(workers[1].pid, signal.SIGKILL)
    assert workers[1].status() == -signal.SIGKILL
    os.kill(workers[2].pid, signal.SIGTERM)
    assert workers[2].status() == -signal.SIGTERM


def test_processes_of_the_package_are_left_to_the_package(gateway):
    source = (
        "import subprocess\nchild = subprocess.Popen(['true'])\n"
        "def run():\n    return subprocess.run(['sh', '-c', 'exit 3']).returncode\n"
    )
    running = gateway(source, "run")
    worker = running.worker()
    assert worker.ask({}) == 3
    worker.aside(Kind.STOP)
    assert worker.status() == 0
    assert not running.said


def test_a_terminated_template_takes_its_workers_along(gateway):
    running = gateway(ECHO, "run")
    worker = running.worker()
    running.process.terminate()
    wait_until_dead(worker.pid)


def test_output_of_imports_is_written_once(gateway):
    running = gateway("import sys\nsys.stdout.write('half')\ndef run():\n    return 1\n", "run")
    worker = running.worker()
    worker.aside(Kind.STOP)
    assert worker.status() == 0
    assert running.template_output() == "half" and worker.output() == ""


def test_exit_handlers_of_the_template_do_not_run_in_workers(gateway):
    source = (
        "import atexit\natexit.register(print, 'template')\n"
        "def on_worker_start():\n    atexit.register(print, 'worker')\n" + ECHO
    )
    worker = gateway(source, "run").worker()
    worker.aside(Kind.STOP)
    assert worker.status() == 0
    assert worker.output() == "worker\n"


def test_the_packages_module_shadows_nothing_of_ours(gateway):
    source = "import frames\ndef run():\n    return 1\n"
    running = gateway(source, "run")
    assert running.expect("failed")["failed"]["type"] == "ModuleNotFoundError"


def test_modules_are_found_by_dotted_names(gateway, tmp_path):
    running = gateway(ECHO, export("path.join", module="os"))
    worker = running.worker()
    worker.call({})
    assert worker.error()["kind"] == "agent"


@pytest.mark.parametrize("message", [{"fork": 1}, {"primary": 1}, {"spoon": 1}])
def test_a_template_that_does_not_understand_ends_and_says_why(gateway, message):
    running = gateway(ECHO, "run")
    running.ready()
    running.send(message)
    assert running.process.wait(10) != 0
    assert f"{next(iter(message))} with 0 descriptors is not expected" in running.template_output()
