"""Agents that others call."""

import time

from pixell_runtime import usage


def double(*, number):
    return {"double": 2 * number}


def secret():
    return "known to agents of this host only"


def raises():
    raise KeyError("raised by the one that was called")


def count(*, to, size=0):
    try:
        for number in range(to):
            yield {"number": number, "text": "x" * size}
    finally:
        print("counting ended", flush=True)


def who(value, context):
    caller = context.caller and context.caller["subject"]
    told = {"caller": caller, "request": context.request_id, "trace": context.traceparent}
    return {**told, "remaining": context.remaining, "agent": context.agent_id}


def sleep(*, seconds):
    print("sleep began", flush=True)
    time.sleep(seconds)
    return "slept"


def octets():
    return b"\0\1\2"


def spends():
    usage.record(model="small", input_tokens=100, output_tokens=20)
    return "spent"
