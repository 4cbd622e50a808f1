"""Files that come with a call and files that are results, in every way in which a worker runs handlers."""

from __future__ import annotations

import json

import pytest
from gateway import Kind, beside, export

from pixell_runtime.credit import FIRST
from pixell_runtime.frames import FILES, OCTETS, PIECES

PLAIN = """
import os, pathlib, tempfile
from pixell_runtime import File

def describe(doc, pics, title="none"):
    return {
        "title": title,
        "doc": [doc.field, doc.name, doc.content_type, doc.size, doc.path, doc.read(2).decode(), doc.read().decode()],
        "pics": [pic.name + ":" + b"".join(pic).decode() for pic in pics],
        "open": open(doc).read(),
        "again": [doc.seek(1), doc.read().decode()],
    }

def give(what):
    kind, size = what["kind"], what["size"]
    data = bytes(i % 251 for i in range(size))
    if kind == "bytes":
        return bytearray(data)
    if kind == "data":
        return File(data=data, name="é.bin", disposition="inline")
    if kind == "chunks":
        return File(chunks=(data[i:i + 1000] for i in range(0, size, 1000)), content_type="text/csv")
    path = pathlib.Path(tempfile.mkdtemp()) / "table.csv"
    path.write_bytes(data)
    if kind == "path":
        return path
    if kind == "packed":
        return File(path, name="table.csv.gz")
    os.truncate(path, size)
    file = File(path)
    return file

def wrong(what):
    if what == "directory":
        return pathlib.Path("/")
    if what == "pipe":
        path = os.path.join(tempfile.mkdtemp(), "pipe")
        os.mkfifo(path)
        return File(path)
    if what == "text":
        return File(chunks=["text"])
    if what == "raises":
        def chunks():
            yield b"x"
            raise ValueError("in the middle")
        return File(chunks=chunks())
    return File("/not/there.pdf")

def back(value):
    return File(value["doc"]) if value["alone"] else value["doc"] if value["bare"] else value
"""
ASYNC = (
    (
        PLAIN.replace("def describe", "async def describe")
        .replace("doc.read(2)", "(await doc.aread(2))")
        .replace('b"".join(pic)', 'b"".join([piece async for piece in pic])')
        .replace("def give", "async def give")
        .replace("(data[i:i + 1000] for i in range(0, size, 1000))", "achunks(data)")
        .replace("def wrong", "async def wrong")
        .replace("def back", "async def back")
    )
    + """
async def achunks(data):
    for i in range(0, len(data), 1000):
        yield data[i:i + 1000]
"""
)
# A plain handler whose file comes asynchronously.
MIXED = ASYNC.replace("async def give", "def give")
ATTRIBUTES = ("describe", "give", "wrong", "back")
DESCRIBE, GIVE, WRONG, BACK = range(len(ATTRIBUTES))


@pytest.fixture(params=["plain", "async", "threads", "mixed"])
def worker(request, gateway):
    threads = 2 if request.param == "threads" else 1
    source = {"async": ASYNC, "mixed": MIXED}.get(request.param, PLAIN)
    return gateway(source, *(export(name, threads=threads) for name in ATTRIBUTES)).worker()


def about(name, size):
    return {"name": name, "content_type": "text/plain", "size": size}


def meta(directory, *members):
    return {"files": {"directory": str(directory), "members": members}}


def content(size):
    return bytes(i % 251 for i in range(size))


def test_files_stand_where_the_input_describes_them(worker, tmp_path):
    for name, text in (("0.txt", "hello"), ("1", "one"), ("2", "")):
        (tmp_path / name).write_text(text)
    value = {"doc": about("d.txt", 5), "pics": [about("a", 3), about("b", 0)], "title": "t"}
    where = meta(tmp_path, ["doc", ["0.txt"]], ["pics", ["1", "2"]])
    assert worker.ask(value, export=DESCRIBE, flags=FILES | PIECES, meta=where) == {
        "title": "t",
        "doc": ["doc", "d.txt", "text/plain", 5, str(tmp_path / "0.txt"), "he", "llo"],
        "pics": ["a:one", "b:"],
        "open": "hello",
        "again": [1, "ello"],
    }


def received(worker, call):
    """The pieces of a file, with what was said of it."""
    said, pieces = None, []
    while True:
        frame = worker.frame()
        if frame[0] == Kind.END:
            return said, pieces
        assert (frame[0], frame[1], frame[2]) == (Kind.ITEM, OCTETS, call), frame
        if pieces:
            assert frame[5] == b""
        else:
            said = json.loads(frame[5])
        pieces.append(frame[6])
        worker.aside(Kind.CREDIT, call, len(frame[6]))


def test_a_large_file_comes_in_pieces_under_its_name(worker):
    size = FIRST * 2 + 5
    call = worker.call({"kind": "path", "size": size}, export=GIVE, flags=PIECES)
    said, pieces = received(worker, call)
    assert said == {"content_type": "text/csv", "name": "table.csv", "length": size}
    assert b"".join(pieces) == content(size)
    assert len(pieces) > 4
    call = worker.call({"kind": "chunks", "size": 2500}, export=GIVE, flags=PIECES)
    said, pieces = received(worker, call)
    assert said == {"content_type": "text/csv"}
    assert [len(piece) for piece in pieces] == [1000, 1000, 500]


@pytest.mark.parametrize("flags", [0, PIECES])
def test_a_small_file_is_one_frame(worker, flags):
    for kind, said in (
        ("bytes", {"content_type": "application/octet-stream"}),
        (
            "data",
            {
                "content_type": "application/octet-stream",
                "name": "é.bin",
                "disposition": "inline",
                "length": 300,
            },
        ),
        ("path", {"content_type": "text/csv", "name": "table.csv", "length": 300}),
        ("packed", {"content_type": "application/gzip", "name": "table.csv.gz", "length": 300}),
    ):
        worker.call({"kind": kind, "size": 300}, export=GIVE, flags=flags)
        frame = worker.frame()
        assert (frame[0], frame[1], beside(frame), frame[6]) == (
            Kind.RESULT,
            OCTETS,
            said,
            content(300),
        )


def test_who_takes_no_pieces_gets_a_file_as_a_whole(worker):
    for kind in ("path", "chunks"):
        worker.call({"kind": kind, "size": FIRST * 2}, export=GIVE)
        frame = worker.frame()
        assert (frame[0], frame[1], frame[6]) == (Kind.RESULT, OCTETS, content(FIRST * 2))
        assert json.loads(frame[5])["content_type"] == "text/csv"


def test_a_file_that_waits_for_credit_ends_when_its_caller_leaves(worker):
    call = worker.call({"kind": "path", "size": FIRST * 4}, export=GIVE, flags=PIECES)
    for _ in range(4):
        assert worker.frame()[0] == Kind.ITEM
    worker.settle()
    worker.aside(Kind.CANCEL, call)
    frame = worker.frame()
    assert (frame[0], frame[2]) == (Kind.CANCELLED, call)


def test_what_cannot_be_sent_is_named(worker):
    for what, kind, text in (
        ("missing", "FileNotFoundError", "/not/there.pdf"),
        ("directory", "ValueError", "/ is not a regular file"),
        ("pipe", "ValueError", "/pipe is not a regular file"),
    ):
        worker.call(what, export=WRONG, flags=PIECES)
        fault = worker.error()
        assert (fault["kind"], fault["type"]) == ("agent", kind)
        assert text in fault["message"]
    worker.call("text", export=WRONG, flags=PIECES)
    assert worker.error()["kind"] == "result"
    worker.call("raises", export=WRONG, flags=PIECES)
    assert worker.frame()[6] == b"x"
    assert worker.error()["message"] == "in the middle"


def test_a_received_file_can_be_the_result(worker, tmp_path):
    (tmp_path / "0").write_text("hello")
    where = meta(tmp_path, ["doc", ["0"]])
    value = {"doc": about("né.txt", 5), "alone": False, "bare": False}
    assert worker.ask(value, export=BACK, flags=FILES, meta=where) == value, "in JSON it is described"
    bare = {**value, "bare": True}
    assert worker.ask(bare, export=BACK, flags=FILES, meta=where) == value["doc"]
    worker.call({**value, "alone": True}, export=BACK, flags=FILES, meta=where)
    frame = worker.frame()
    assert frame[6] == b"hello"
    assert beside(frame) == {"content_type": "text/plain", "name": "né.txt", "length": 5}
