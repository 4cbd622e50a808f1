"""The innermost layers of the sandbox, which only a process can put on itself.

Enters: what `par` wants of this generation. Leaves: a template that starts no programs, workers that reach
neither their template nor each other. Without Landlock or ctypes nothing is entered, and `par` is told.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from typing import Any, Callable

#: As for the control socket: code that closes "everything from 3 to 64" does not meet it.
_DESCRIPTOR_FROM = 200

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
#: The same on every processor.
_LANDLOCK_RESTRICT_SELF = 446
#: Bytes of one instruction of a filter.
_INSTRUCTION = 8


class Confinement:
    """What is left to do inside. `wanted` is None if the sandbox is off."""

    def __init__(self, wanted: dict[str, Any] | None, descriptors: list[int]) -> None:
        wanted = wanted or {}
        self._template = bytes.fromhex(wanted.get("template") or "")
        self._worker = bytes.fromhex(wanted.get("worker") or "")
        self._layer: int | None = None
        for descriptor in descriptors:
            self._layer = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _DESCRIPTOR_FROM)
            os.close(descriptor)
        self._enter = None if self._layer is None else _entering()
        self._refuse = _refusing() if self._template or self._worker else None

    @property
    def apart(self) -> bool:
        """Whether every worker gets a domain of its own."""
        return self._enter is not None

    def enter_template(self) -> None:
        """Before the first line of the package runs."""
        if self._refuse is not None and self._template:
            self._refuse(self._template)

    def enter_worker(self, own: int | None = None) -> None:
        """In the only thread of a fresh fork, before anything else. `own`: a layer for this worker alone, in the
        place of that of all."""
        layer = self._layer if own is None else own
        if self._enter is not None and layer is not None:
            self._enter(layer)
        for held in (self._layer, own):
            if held is not None:
                os.close(held)
        if self._refuse is not None and self._worker:
            self._refuse(self._worker)


def move_to(temporary: str) -> None:
    """From here on temporary files of this process are there, also for code that has asked before where they are."""
    os.environ["TMPDIR"] = os.environ["HOME"] = temporary
    module = sys.modules.get("tempfile")
    if module is not None:
        vars(module)["tempdir"] = temporary


def _entering() -> Callable[[int], None] | None:
    """Adds a Landlock ruleset to the calling thread and what it starts, for good; None without ctypes. Its
    compiled half is enough for whole numbers, and loads in half the time: every template waits for it."""
    try:
        import _ctypes
    except ImportError:
        return None
    syscall = _ctypes.dlsym(_ctypes.dlopen(None, 0), "syscall")  # type: ignore[arg-type,unused-ignore]

    def enter(layer: int) -> None:
        if _ctypes.call_function(syscall, (_LANDLOCK_RESTRICT_SELF, layer, 0)) != 0:
            raise OSError("a worker could not enter its Landlock domain")

    return enter


def _refusing() -> Callable[[bytes], None]:
    """Adds a seccomp program to the calling thread and what it starts, for good."""
    try:
        import ctypes
    except ImportError as error:
        raise RuntimeError("permissions.subprocess: false needs an interpreter with ctypes") from error
    library = ctypes.CDLL(None, use_errno=True)
    long = ctypes.c_ulong

    def refuse(program: bytes) -> None:
        instructions = ctypes.create_string_buffer(program, len(program))
        # Their number, and where they are.
        header = struct.pack("@HP", len(program) // _INSTRUCTION, ctypes.addressof(instructions))
        filtering = long(_SECCOMP_MODE_FILTER)
        if library.prctl(_PR_SET_SECCOMP, filtering, header, long(0), long(0)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return refuse
