"""Files on their way to agents and back, against a server that follows a script."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import Line, answering, scripted

import pixell_runtime
from pixell_runtime import client as par


def test_files_go_as_parts_and_the_rest_as_their_input(tmp_path: Path) -> None:
    path = tmp_path / 'q"1.csv'
    path.write_bytes(b"a,b\n" * 200_000)
    with scripted(tmp_path, answering((200, b"1"), (200, b"2"))) as server:
        client = pixell_runtime.connect(server.path)
        uploads = [par.Upload(b"one", "1.bin"), par.Upload(path)]
        assert client.call("a", {"n": 1}) == 1
        assert client.call("a", table=par.Upload(path), many=uploads, n=5) == 2
        client.close()
    _, headers, body = server.heads[1]
    boundary = headers["content-type"].partition("boundary=")[2]
    begin, first, *others, end = body.split(f"--{boundary}".encode())
    assert begin == b"" and end == b"--\r\n"
    assert (
        first
        == b'\r\nContent-Disposition: form-data; name="input"\r\nContent-Type: application/json\r\n\r\n{"n":5}\r\n'
    )
    assert b'name="table"; filename="q%221.csv"\r\nContent-Type: text/csv\r\n\r\na,b\n' in others[0]
    assert [len(part) > 800_000 for part in others] == [True, False, True]
    assert (
        b'name="many"; filename="1.bin"\r\nContent-Type: application/octet-stream\r\n\r\none\r\n' in others[1]
    )


def test_what_is_no_json_is_a_download(tmp_path: Path) -> None:
    def act(line: Line) -> None:
        for _ in range(2):
            line.request()
            disposition = "Content-Disposition: attachment; filename*=UTF-8''..%2Fz%C3%BC.txt"
            line.answer(200, b"hello", disposition, content_type="text/plain; charset=utf-8")

    with scripted(tmp_path, act) as server:
        client = pixell_runtime.connect(server.path)
        download = client.call("a")
        assert (download.name, download.size, download.content_type) == (
            "zü.txt",
            5,
            "text/plain; charset=utf-8",
        )
        assert download.read() == b"hello"
        assert client.call("a").save(tmp_path / "out") == 5 and (tmp_path / "out").read_bytes() == b"hello"
        client.close()
    assert server.connections == 1


def test_a_file_that_cannot_be_read_is_no_failure_of_the_runtime(tmp_path: Path) -> None:
    def half(line: Line) -> None:
        line.request()

    short = tmp_path / "short"
    short.write_bytes(b"x" * 1000)
    with scripted(tmp_path, half, answering((200, b"1"))) as server:
        client = pixell_runtime.connect(server.path)
        with pytest.raises(FileNotFoundError):
            client.call("a", file=par.Upload(tmp_path / "none"))
        with short.open("rb") as opened:
            assert client.call("a", file=par.Upload(opened, content_type="text/plain")) == 1
            assert not opened.closed, "whoever lends a file gets it back"
        client.close()
