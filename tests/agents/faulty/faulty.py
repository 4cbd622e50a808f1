import ctypes
import os
import sys
import time

LEAKED = []


def fine(input):
    return input


def raises(input):
    raise ValueError("the handler's own message")


async def araises(input):
    raise ValueError("the coroutine's own message")


def unserialisable(input):
    return {"outer": [1, {"inner": object()}]}


def nan(input):
    return {"outer": [1.0, float("nan")]}


def exits(input):
    sys.exit(3)


def os_exits(input):
    os._exit(7)


def segfaults(input):
    ctypes.string_at(0)


def allocates(input):
    """Takes memory until somebody stops it; two gigabytes at most, so that a missing limit harms nobody."""
    blocks = []
    for _ in range(128):
        blocks.append(b"\xff" * (16 << 20))
        time.sleep(0.02)
    return len(blocks)


def hangs(input):
    while True:
        pass


def garbage(input):
    """Writes to every descriptor that it can find, the runtime's own included."""
    for descriptor in range(1, 256):
        try:
            os.write(descriptor, b"\x00\xfe garbage \xff" * 64)
        except OSError:
            pass
    time.sleep(0.2)
    return "written"


def prints(input):
    print("a line on stdout")
    print("a line on stderr", file=sys.stderr)
    sys.stdout.flush()
    return "printed"


def leaks(*, mb=8):
    LEAKED.append(b"\xff" * (mb << 20))
    return len(LEAKED)
