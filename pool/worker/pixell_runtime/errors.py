"""Errors that agents can meet when they use this package.

Enters: nothing. Leaves: exception classes.
"""

from __future__ import annotations


class PixellError(Exception):
    """Base of all errors that `pixell_runtime` raises into agents."""


class RuntimeUnavailable(PixellError):
    """The host does not serve what was asked for."""
