"""One call of the executor, from its request to its answer.

Enters: work to be done in a space, and where events go if somebody listens. Leaves: the answer, with what was printed
and shown. Displays and failures are shaped here, once for all agents of the adapter.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
import traceback
from typing import Any, Callable, NamedTuple

from pixell_runtime.adapters.python_executor import display
from pixell_runtime.adapters.python_executor.capture import capture
from pixell_runtime.adapters.python_executor.interrupt import Interruptible
from pixell_runtime.adapters.python_executor.run import Failure
from pixell_runtime.adapters.python_executor.space import Space

#: Bytes of each stream in an answer. The begin is kept: what goes wrong first explains the rest.
MAX_OUTPUT = 1 << 20

Said = dict[str, Any]
Work = Callable[[Space], Said]


class Wire(NamedTuple):
    """How a call reaches its caller while it runs. `tell` takes events and gives False if nobody is there any more;
    None if all is told at the end."""

    tell: Callable[[Said], bool] | None
    is_abandoned: Callable[[], bool]


class _Kept:
    """One stream of a call, bounded."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._left = MAX_OUTPUT
        self._lost = 0

    def add(self, text: str) -> None:
        fits = text[: max(0, self._left)]
        self._left -= len(fits)
        self._lost += len(text) - len(fits)
        if fits:
            self._parts.append(fits)

    def text(self) -> str:
        said = "".join(self._parts)
        if self._lost:
            said += f"\n[{self._lost} more characters were left out]\n"
        return said


class _Ears:
    """What hears output and displays of one call."""

    def __init__(self, wire: Wire, running: Interruptible) -> None:
        self._wire = wire
        self._running = running
        self._gone = False
        # Output comes from the reader's thread, displays from the code's.
        self._telling = threading.Lock()
        self.output = {"stdout": _Kept(), "stderr": _Kept()}
        self.displays: list[Said] = []

    def hear(self, name: str, text: str) -> None:
        """Output, mostly on the reader's thread."""
        if self._wire.tell is None:
            self.output[name].add(text)
        else:
            self._tell({"type": name, "text": text})

    def see(self, shown: Said) -> None:
        """A display, on the code's thread."""
        if self._wire.tell is None:
            self.displays.append(shown)
        else:
            self._tell({"type": "display", "display": shown})

    def look(self) -> None:
        """Ends code whose caller has left."""
        if self._gone or self._wire.is_abandoned():
            self._running.interrupt()

    def _tell(self, event: Said) -> None:
        with self._telling:
            if not self._gone and self._wire.tell is not None and not self._wire.tell(event):
                self._gone = True


def perform(work: Work, space: Space, wire: Wire) -> Said:
    """Does the work with its output caught. Raises only what `work` raises."""
    process = os.getpid()
    running = Interruptible()
    ears = _Ears(wire, running)
    caught = capture()
    clock = _Clock()
    caught.begin(ears.hear, ears.look)
    display.begin(ears.see)
    try:
        try:
            with running:
                said = work(space)
        except KeyboardInterrupt:
            # Between two lines of ours; code itself has its own place to be interrupted.
            said = failed(Failure("KeyboardInterrupt", "the caller has left", None, ""))
    except BaseException:
        if os.getpid() != process:
            _leave_fork(1)
        raise
    finally:
        if os.getpid() == process:
            display.end()
            caught.end()
    if os.getpid() != process:
        # Code has forked, and its child has come to the end of the code: it is nobody's call.
        _leave_fork(0 if said["status"] == "success" else 1, said)
    said["metrics"] = clock.metrics()
    if wire.tell is None:
        said["stdout"] = ears.output["stdout"].text()
        said["stderr"] = ears.output["stderr"].text() + said.pop("trace", "")
        said["displays"] = ears.displays
    else:
        said.pop("trace", None)
    return said


def failed(failure: Failure) -> Said:
    """The answer for code that has failed. `trace` goes to the end of stderr."""
    return {
        "status": "error",
        "message": failure.message,
        "error": failure._asdict(),
        "trace": "\n" + (failure.traceback or f"{failure.type}: {failure.message}\n"),
    }


def _leave_fork(code: int, said: Said | None = None) -> None:
    try:
        if said is not None:
            sys.stderr.write(said.get("trace", ""))
        else:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


class _Clock:
    """What a call costs."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._used = time.process_time()

    def metrics(self) -> Said:
        """In the members that clients know."""
        took = time.perf_counter() - self._begun
        used = time.process_time() - self._used
        return {
            "execution_time_ms": round(took * 1e3, 3),
            "memory_used_bytes": _resident(),
            "cpu_percent": round(100 * used / took, 1) if took else 0.0,
        }


def _resident() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        # Where there is no /proc: the most that it ever had.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
