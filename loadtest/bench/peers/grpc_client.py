"""Unary calls one after the other; prints the microseconds of each as JSON. Arguments: address, path, calls, metadata."""

from __future__ import annotations

import json
import sys
import time

import grpc


def main() -> None:
    """Warm up, then measure."""
    address, path, calls, *names = sys.argv[1:]
    metadata = tuple(tuple(name.split("=", 1)) for name in names)
    with grpc.insecure_channel(address) as channel:
        say = channel.unary_unary(path)
        for _ in range(200):
            say(b"hello", metadata=metadata, wait_for_ready=True)
        times = []
        for _ in range(int(calls)):
            begun = time.perf_counter_ns()
            if say(b"hello", metadata=metadata) != b"hello":
                raise SystemExit("not what was said")
            times.append((time.perf_counter_ns() - begun) / 1000)
    print(json.dumps(times))


main()
