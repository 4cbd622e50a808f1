"""What agents may import: `from pixell_runtime import File, runtime, usage, context`; and what programs outside of the
host may: `pixell_runtime.connect()`.

Enters: nothing. Leaves: the names below, of which those of `client` are imported when one of them is asked for: workers
do not need it. Everything else in this package is par's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixell_runtime import context, errors, runtime, usage
from pixell_runtime.file import File
from pixell_runtime.files import ReceivedFile

if TYPE_CHECKING:
    from pixell_runtime.client import Client, Download, Upload, connect

__all__ = [
    "Client",
    "Download",
    "File",
    "ReceivedFile",
    "Upload",
    "connect",
    "context",
    "errors",
    "runtime",
    "usage",
]

#: Names that are the client's.
_CLIENT = ("Client", "Download", "Upload", "connect")


def __getattr__(name: str) -> Any:
    if name in _CLIENT:
        from pixell_runtime import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
