"""LitServe with two workers."""

from __future__ import annotations

import sys
from typing import Any

import litserve


class Echo(litserve.LitAPI):
    """Body in, the same out."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def predict(self, request: Any) -> Any:
        """One call; batching is off."""
        return request


if __name__ == "__main__":
    server = litserve.LitServer(Echo(api_path="/echo"), accelerator="cpu", workers_per_device=2)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
