"""A loader for texts, written from `FRAMES.md` alone: a handler `file:name` answers with the text of the file."""

import json
import os
import pathlib
import struct
import sys
import threading

HEADER = struct.Struct("<IHBBQII")
MAIN, SIDE, JOURNAL, INIT = 3, 4, 5, 6
CALL, READY, RESULT = 1, 64, 65


def receive(descriptor):
    def whole(size):
        data = b""
        while len(data) < size:
            piece = os.read(descriptor, size - len(data))
            if not piece:
                os._exit(0)
            data += piece
        return data

    size, meta, kind, _, call, a, _ = HEADER.unpack(whole(HEADER.size))
    return kind, call, a, whole(size)[meta:]


def send(kind, call, payload):
    body = json.dumps(payload).encode()
    os.write(MAIN, HEADER.pack(len(body), 0, kind, 0, call, 0, 0) + body)


def listen():
    while True:
        receive(SIDE)


with open(INIT) as file:
    init = json.load(file)
if "--silent" in sys.argv:
    threading.Event().wait()
if "--garbage" in sys.argv:
    os.write(MAIN, b"x" * 64)
threading.Thread(target=listen, daemon=True).start()
facts = [{"id": export["id"], "lane": "sync", "streams": False} for export in init["exports"]]
send(READY, 0, {"exports": facts})
while True:
    _, call, number, given = receive(MAIN)
    os.pwrite(JOURNAL, struct.pack("<Q", call), 0)
    export = init["exports"][number]
    text = pathlib.Path(init["root"], export["module"]).read_text()
    if json.loads(given) == "exit":
        sys.exit(5)
    send(RESULT, call, {export["attribute"]: text, "input": json.loads(given)})
