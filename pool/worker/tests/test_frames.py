"""The frames of `proto/frames/vectors.json`, which the Rust side passes too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixell_runtime.frames import (
    HEADER_LEN,
    MAIN_KINDS,
    MAX_BODY,
    Decoder,
    Frame,
    FrameError,
    Kind,
    encode,
)

VECTORS = json.loads(
    (Path(__file__).parent / "../../../proto/frames/vectors.json").read_text(encoding="utf-8")
)


def decode(data: bytes, piece: int | None = None) -> list[Frame]:
    decoder = Decoder()
    frames: list[Frame] = []
    step = piece or max(1, len(data))
    for at in range(0, len(data), step):
        decoder.feed(data[at : at + step], 7, frames.append)
    return frames


def named(vectors: list[dict]) -> list:
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


def frame_of(vector: dict) -> Frame:
    return (
        vector["kind"],
        vector["flags"],
        vector["call"],
        vector["a"],
        vector["b"],
        vector["meta"].encode(),
        bytes.fromhex(vector["payload_hex"]),
        7,
    )


@pytest.mark.parametrize("vector", named(VECTORS["frames"]))
def test_vectors_hold_on_this_side(vector):
    data = bytes.fromhex(vector["frame_hex"])
    kind, flags, call, a, b, meta, payload, _ = frame_of(vector)
    assert encode(kind, flags, call, a, b, meta, payload) == data
    assert decode(data) == [frame_of(vector)]


@pytest.mark.parametrize("vector", named(VECTORS["refused"]))
def test_broken_frames_are_refused(vector):
    with pytest.raises(FrameError):
        decode(bytes.fromhex(vector["frame_hex"]))


@pytest.mark.parametrize("piece", [1, 2, 23, 24, 25, 100])
def test_frames_may_arrive_in_any_pieces(piece):
    data = b"".join(bytes.fromhex(vector["frame_hex"]) for vector in VECTORS["frames"])
    assert decode(data, piece) == [frame_of(vector) for vector in VECTORS["frames"]]


def test_a_header_is_24_bytes_and_its_limit_is_refused_before_the_body_comes():
    assert HEADER_LEN == 24
    header = encode(Kind.CALL)
    assert decode(MAX_BODY.to_bytes(4, "little") + header[4:]) == []
    with pytest.raises(FrameError):
        decode((MAX_BODY + 1).to_bytes(4, "little") + header[4:])


def test_a_kind_of_another_socket_is_refused():
    with pytest.raises(FrameError):
        Decoder(MAIN_KINDS).feed(encode(Kind.STOP), 0, print)
