import os
import threading
import time

TICKS = 0


def tick():
    global TICKS
    while True:
        TICKS += 1
        time.sleep(0.01)


THREAD = threading.Thread(target=tick, name="ticker", daemon=True)
THREAD.start()


def alive(input):
    before = TICKS
    time.sleep(0.1)
    return {"pid": os.getpid(), "ticking": TICKS > before}
