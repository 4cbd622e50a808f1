"""What `/invoke` calls. It runs in workers; the surfaces have a process of their own."""

import os


def handler(input):
    return {"message": os.environ.get("GREETING"), "received": input}
