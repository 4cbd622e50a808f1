"""A load that looks like a quiet afternoon: a few calls a second, some that stream, some that fail, some sessions."""

from __future__ import annotations

import json
import math
import random
import sys
import threading
import time
import urllib.error
import urllib.request

# Calls a second at the calmest; three times as many at the busiest, and a wave has three minutes.
CALM = 15.0
WAVE = 180.0
PATIENCE = 60

# Agent, input, session: weight.
CALLS: list[tuple[float, str, object, bool]] = [
    (60, "echo", {"message": "how are you?"}, False),
    (20, "hello", {}, False),
    (8, "chat", {"text": "and then?"}, True),
    (6, "sleep", {"seconds": 0.3}, False),
    (4, "count", {"to": 20, "pause": 0.05}, False),
    (2, "raises", {}, False),
    (0.05, "segfaults", {}, False),
]


def call(base: str, agent: str, data: object, in_session: bool) -> None:
    """Make one call; that some fail is part of it."""
    request = urllib.request.Request(
        f"{base}/agents/{agent}/invoke", json.dumps(data).encode(), method="POST"
    )
    request.add_header("content-type", "application/json")
    if in_session:
        request.add_header("x-par-session", f"guest-{random.randrange(12)}")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        time.sleep(1)


def wait(base: str) -> None:
    """Wait until it serves."""
    begun = time.monotonic()
    while time.monotonic() < begun + PATIENCE:
        try:
            urllib.request.urlopen(f"{base}/health", timeout=2).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"{base} does not answer")


def main() -> None:
    """Call for as long as nobody ends it."""
    base = sys.argv[1]
    wait(base)
    print("load:       a few calls a second; Ctrl-C ends all of it", flush=True)
    weights = [weight for weight, *_ in CALLS]
    while True:
        rate = CALM * (2 + math.sin(time.monotonic() * 2 * math.pi / WAVE))
        [(_, agent, data, in_session)] = random.choices(CALLS, weights)
        threading.Thread(target=call, args=(base, agent, data, in_session), daemon=True).start()
        time.sleep(random.expovariate(rate))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
