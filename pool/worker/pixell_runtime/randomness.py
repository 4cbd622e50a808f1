"""Random numbers of a fork: those of numpy would be the same as in every other one.

Python's own generator seeds itself in every fork.
"""

from __future__ import annotations

import sys
import traceback

_refused = False


def reseed() -> None:
    """Seeds numpy's generator anew, if it has been imported. It touches 130 pages, for which a fresh fork needs half a
    millisecond."""
    global _refused
    module = sys.modules.get("numpy.random")
    if module is None or _refused:
        return
    try:
        module.seed()
    except BaseException:
        # A package may have put something else in its place. Told once: it is asked for at every fork.
        _refused = True
        traceback.print_exc()
