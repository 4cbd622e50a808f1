"""The rows of the bench, in the order in which they run."""

from __future__ import annotations

from ..plan import Row
from .bursts import bursts
from .echo import echo
from .handlers import handlers
from .mixed import mixed
from .neighbour import neighbour
from .starts import starts

ROWS: dict[str, Row] = {
    "echo": echo,
    "handlers": handlers,
    "mixed": mixed,
    "neighbour": neighbour,
    "bursts": bursts,
    "starts": starts,
}
