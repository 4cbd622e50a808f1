"""Start of a template process: `python -I …/pixell_runtime/__main__.py`.

Enters: the control socket as descriptor 0. Leaves: the template's loop, which ends with the process.
"""

from __future__ import annotations

import gc
import os
import sys

# First of all: objects made by the imports below must not be moved by a collection before they are frozen.
gc.disable()

# Control gets a high number so that code which closes "everything from 3 to 64" does not meet it.
CONTROL_DESCRIPTOR_FROM = 200


def take_control() -> int:
    """Moves descriptor 0 away and leaves /dev/null there, so that agents which read stdin see its end."""
    import fcntl

    control = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, CONTROL_DESCRIPTOR_FROM)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return control


if __name__ == "__main__":
    # At the end of the path: this folder is for agents that import `pixell_runtime`, it must shadow nothing.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from pixell_runtime.template import Template

    Template(take_control()).run()
