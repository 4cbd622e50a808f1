"""What agents may import: `from pixell_runtime import runtime, usage, context`.

Enters: nothing. Leaves: the four modules below. Everything else in this package is par's own.
"""

from __future__ import annotations

from pixell_runtime import context, errors, runtime, usage

__all__ = ["context", "errors", "runtime", "usage"]
