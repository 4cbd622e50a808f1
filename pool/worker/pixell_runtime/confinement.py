"""The innermost layers of the sandbox, which only a process can put on itself.

Enters: what `par` wants of this generation. Leaves: a template that starts no programs, workers that reach
neither their template nor each other. Without Landlock or ctypes nothing is entered, and `par` is told.
"""

from __future__ import annotations

import fcntl
import os
import struct
from typing import Any

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
        programs = bool(self._template or self._worker)
        self._calls = _calls() if programs or self._layer is not None else None
        if programs and self._calls is None:
            raise RuntimeError("permissions.subprocess: false needs an interpreter with ctypes")

    @property
    def apart(self) -> bool:
        """Whether every worker gets a domain of its own."""
        return self._calls is not None and self._layer is not None

    def enter_template(self) -> None:
        """Before the first line of the package runs."""
        if self._calls is not None and self._template:
            self._calls.refuse(self._template)

    def enter_worker(self) -> None:
        """In the only thread of a fresh fork, before anything else."""
        if self._calls is None:
            return
        if self._layer is not None:
            self._calls.enter(self._layer)
            os.close(self._layer)
        if self._worker:
            self._calls.refuse(self._worker)


class _Calls:
    """Two system calls that the standard library does not have."""

    def __init__(self, ctypes: Any) -> None:
        self._ctypes = ctypes
        self._library = ctypes.CDLL(None, use_errno=True)

    def enter(self, layer: int) -> None:
        """Adds a Landlock ruleset to this thread and what it starts, for good."""
        self._check(self._library.syscall(_LANDLOCK_RESTRICT_SELF, layer, 0))

    def refuse(self, program: bytes) -> None:
        """Adds a seccomp program to this thread and what it starts, for good."""
        long = self._ctypes.c_ulong
        instructions = self._ctypes.create_string_buffer(program, len(program))
        # Their number, and where they are.
        header = struct.pack("@HP", len(program) // _INSTRUCTION, self._ctypes.addressof(instructions))
        filtering = long(_SECCOMP_MODE_FILTER)
        self._check(self._library.prctl(_PR_SET_SECCOMP, filtering, header, long(0), long(0)))

    def _check(self, result: int) -> None:
        if result != 0:
            number = self._ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def _calls() -> _Calls | None:
    """None if the interpreter was built without ctypes. A millisecond, so only where it is needed."""
    try:
        import ctypes
    except ImportError:
        return None
    return _Calls(ctypes)
