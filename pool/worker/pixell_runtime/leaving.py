"""How a worker ends by itself.

Enters: an exit code, or a `SystemExit` that a handler has raised. Leaves: the process, after every finished
answer has been written.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn

from pixell_runtime.channel import Channel


def leave(channel: Channel, code: int) -> NoReturn:
    """Writes what is finished and ends the process. Exit handlers run only after a regular end."""
    if not channel.forked:
        channel.flush()
        if code == 0:
            # Those of the template were removed after the fork; these were registered in this worker.
            atexit._run_exitfuncs()
    flush_output()
    os._exit(code)


def leave_by(channel: Channel, error: SystemExit) -> NoReturn:
    """What `sys.exit()` in a handler means: the process ends, and the running call gets no answer."""
    code = error.code
    if code is None:
        leave(channel, 0)
    if isinstance(code, int):
        leave(channel, code & 0xFF)
    print(code, file=sys.stderr)
    leave(channel, 1)


def flush_output() -> None:
    """Lines without an end would be lost with the process."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            # Replaced or closed by the agent: there is nothing of ours in it.
            continue
