"""mosec: a Rust front and two Python workers; JSON is what its `Worker` speaks by default."""

from __future__ import annotations

from typing import Any

import work
from mosec import Runtime, Server, Worker


class Echo(Worker):
    """Body in, the same out."""

    def forward(self, data: Any) -> Any:
        """One call; batching is off."""
        return data


class Cpu(Worker):
    """A handler of the service time that the body names."""

    def forward(self, data: Any) -> Any:
        """One call; batching is off."""
        work.cpu(data["us"])
        return {"ok": True}


if __name__ == "__main__":
    server = Server()
    server.register_runtime({"/echo": [Runtime(worker=Echo, num=2)], "/cpu": [Runtime(worker=Cpu, num=2)]})
    server.run()
