"""The rows of the bench, in the order in which they run."""

from __future__ import annotations

from ..plan import Row
from .boot import boot
from .cold import cold
from .in_a_row import in_a_row
from .many import many
from .publication import publication
from .replacement import replacement
from .under_load import under_load

ROWS: dict[str, Row] = {
    "under_load": under_load,
    "publication": publication,
    "replacement": replacement,
    "cold": cold,
    "boot": boot,
    "many": many,
    "in_a_row": in_a_row,
}
