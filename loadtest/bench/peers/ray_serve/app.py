"""Ray Serve on one machine with two replicas, without its dashboard."""

from __future__ import annotations

import sys
from typing import Any

import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=2, max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.5})
class Echo:
    """Body in, the same out."""

    async def __call__(self, request: Request) -> Any:
        """One call; batching is off."""
        return await request.json()


if __name__ == "__main__":
    store = 100 << 20
    ray.init(include_dashboard=False, num_cpus=2, object_store_memory=store, _node_ip_address="127.0.0.1")
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Echo.bind(), route_prefix="/echo", blocking=True)
