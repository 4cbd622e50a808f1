"""Where a client connects to, what it believes there, and how it reads what comes."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest

import pixell_runtime
from pixell_runtime import client as par
from pixell_runtime.client import place as places
from pixell_runtime.client.answer import Answer, Garbled
from pixell_runtime.client.place import Place, check_peer, place


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("/run/par.sock", Place(path="/run/par.sock")),
        (Path("/run/par.sock"), Place(path="/run/par.sock")),
        ("unix:/run/par.sock", Place(path="/run/par.sock")),
        ("unix:///run/par.sock", Place(path="/run/par.sock")),
        ("https://par.example", Place(host="par.example", port=443, tls=True)),
        ("https://par.example:8443/base/", Place(host="par.example", port=8443, tls=True, prefix="/base")),
        ("http://127.0.0.1:8000", Place(host="127.0.0.1", port=8000)),
        ("http://[::1]:8000/", Place(host="::1", port=8000)),
        ("http://localhost", Place(host="localhost", port=80)),
    ],
)
def test_paths_and_addresses_are_told_apart(given: str, wanted: Place) -> None:
    assert place(given) == wanted


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("http://par.example", "https://"),
        ("http://10.0.0.1:8000", "https://"),
        ("ftp://par.example", "neither"),
        ("https://", "no host"),
        ("https://user:secret@par.example", "token="),
        ("https://par.example?x=1", "query"),
        ("", "empty"),
        ("unix:", "empty"),
    ],
)
def test_what_is_no_place_is_refused(given: str, what: str) -> None:
    with pytest.raises(ValueError, match=what) as caught:
        pixell_runtime.connect(given)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"PAR_SOCKET": "/s", "PAR_DATA_DIR": "/d"}, "/s"),
        ({"PAR_DATA_DIR": "/d", "HOME": "/h"}, "/d/par.sock"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/par/par.sock"),
        ({"XDG_STATE_HOME": "x", "HOME": "/h"}, "/h/.local/state/par/par.sock"),
        ({}, "/var/lib/par/par.sock"),
    ],
)
def test_without_a_place_it_is_where_par_makes_its_socket(environment: dict[str, str], wanted: str) -> None:
    assert place(None, environment).path == wanted


def test_authorities_are_written_as_others_do() -> None:
    for given, wanted in [
        ("https://h", "h"),
        ("https://h:444", "h:444"),
        ("http://[::1]:80", "[::1]"),
        ("http://[::1]:81", "[::1]:81"),
        ("/s", "localhost"),
    ]:
        assert place(given).authority == wanted


class Socket:
    """A socket whose peer is somebody."""

    def __init__(self, user: int, group: int) -> None:
        self._told = struct.pack("iII", 1, user, group)

    def getsockopt(self, *_: int) -> bytes:
        return self._told


def test_only_ourselves_and_root_may_listen_at_the_local_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 100)
    for user, group, may in [
        (1000, 100, True),
        (0, 0, True),
        (0, 5, True),
        (1000, 0, False),
        (1001, 100, False),
    ]:
        peer: socket.socket = Socket(user, group)  # type: ignore[assignment]
        if may:
            check_peer(peer, "/s")
        else:
            with pytest.raises(par.PeerRefused, match=str(user)):
                check_peer(peer, "/s")


def test_a_socket_of_somebody_else_is_told_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        monkeypatch.setattr(places, "_CREDENTIALS", struct.Struct("iIi"))
        # The peer is this process, whose user is not root for the sake of this test.
        monkeypatch.setattr(places.struct, "Struct", struct.Struct)

        class Other:
            size = 12

            def unpack(self, _: bytes) -> tuple[int, int, int]:
                return 1, 4712, 0

        monkeypatch.setattr(places, "_CREDENTIALS", Other())
        with pytest.raises(par.PeerRefused):
            pixell_runtime.connect(path).call("a", secret="s")
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(100) == b"", "not a byte was sent"


def feed(*pieces: bytes) -> tuple[int, bytes]:
    answer = Answer()
    body = b"".join(answer.feed(piece) for piece in pieces)
    assert answer.head is not None and answer.done
    return answer.head.status, body


WHOLE = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", (200, b"hello")),
    (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", (200, b"")),
    (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:1\r\n\r\nx", (200, b"x")),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nT: x\r\n\r\n",
        (200, b"hello!"),
    ),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", (200, b"")),
]


@pytest.mark.parametrize(("raw", "wanted"), WHOLE)
def test_an_answer_is_the_same_however_it_is_cut(raw: bytes, wanted: tuple[int, bytes]) -> None:
    assert feed(raw) == wanted
    assert feed(*(raw[at : at + 1] for at in range(len(raw)))) == wanted
    for at in range(1, len(raw)):
        assert feed(raw[:at], raw[at:]) == wanted


def test_without_a_length_the_body_ends_with_the_connection() -> None:
    answer = Answer()
    assert answer.feed(b"HTTP/1.0 200 OK\r\n\r\nhel") + answer.feed(b"lo") + answer.feed(b"") == b"hello"
    assert answer.done and answer.head is not None and not answer.head.keeps


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 1\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2_000,
    ],
)
def test_what_is_no_answer_is_never_taken_for_one(raw: bytes) -> None:
    answer = Answer()
    with pytest.raises(Garbled):
        answer.feed(raw)
        answer.feed(b"")
