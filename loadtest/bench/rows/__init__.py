"""The rows of the bench, in the order in which they run."""

from __future__ import annotations

from ..plan import Row
from .bursts import bursts
from .calls import calls
from .client import client
from .cold import cold
from .dashboard import dashboard
from .echo import echo
from .fair import fair
from .frames import frames
from .grpc import grpc
from .guarded import guarded
from .handlers import handlers
from .kills import kills
from .metrics import metrics
from .mixed import mixed
from .neighbour import neighbour
from .observed import observed
from .payloads import payloads
from .rest import rest
from .sandbox import sandbox
from .sessions import sessions
from .starts import starts
from .streams import streams
from .swap import swap
from .traces import traces
from .ui import ui
from .waiting import waiting

# Rows in which the peers of the command line are measured.
COMPARING = {"echo", "handlers", "payloads", "waiting", "cold", "swap"}

ROWS: dict[str, Row] = {
    "echo": echo,
    "handlers": handlers,
    "mixed": mixed,
    "neighbour": neighbour,
    "bursts": bursts,
    "starts": starts,
    "payloads": payloads,
    "waiting": waiting,
    "frames": frames,
    "cold": cold,
    "swap": swap,
    "guarded": guarded,
    "fair": fair,
    "sandbox": sandbox,
    "sessions": sessions,
    "rest": rest,
    "grpc": grpc,
    "ui": ui,
    "calls": calls,
    "streams": streams,
    "client": client,
    "metrics": metrics,
    "dashboard": dashboard,
    "traces": traces,
    "observed": observed,
    "kills": kills,
}
