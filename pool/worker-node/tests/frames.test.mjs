// The frames of `proto/frames/vectors.json`, which the Rust and the Python side pass too.

import assert from "node:assert/strict";
import fs from "node:fs";
import test from "node:test";

import { Decoder, FrameError, Kind, MAIN_KINDS, encode } from "../frames.mjs";

const VECTORS = JSON.parse(fs.readFileSync(new URL("../../../proto/frames/vectors.json", import.meta.url), "utf8"));

function frameOf({ kind, flags, call, a, b, meta, payload_hex }) {
  return { kind, flags, call, a, b, meta: Buffer.from(meta), payload: Buffer.from(payload_hex, "hex") };
}

function decode(bytes, step = Math.max(1, bytes.length)) {
  const decoder = new Decoder();
  const frames = [];
  for (let at = 0; at < bytes.length; at += step) decoder.feed(bytes.subarray(at, at + step), (frame) => frames.push(frame));
  return frames;
}

/** Ids beyond 2^53 are cut when the file is read as JSON; their frames still have them. */
function exact(vector) {
  const bytes = Buffer.from(vector.frame_hex, "hex");
  return Number.isSafeInteger(vector.call) ? vector : { ...vector, call: bytes.readBigUInt64LE(8) };
}

for (const vector of VECTORS.frames.map(exact)) {
  test(`a vector holds on this side: ${vector.name}`, () => {
    const bytes = Buffer.from(vector.frame_hex, "hex");
    assert.deepEqual(encode(frameOf(vector)), bytes);
    assert.deepEqual(decode(bytes), [frameOf(vector)]);
  });
}

for (const vector of VECTORS.refused) {
  test(`what is no frame is refused: ${vector.name}`, () => {
    assert.throws(() => decode(Buffer.from(vector.frame_hex, "hex")), FrameError);
  });
}

test("frames that arrive byte by byte are whole, also when they are long", () => {
  const frames = VECTORS.frames.map((vector) => frameOf(exact(vector)));
  const long = { ...frames[0], payload: Buffer.alloc(300_000, 7) };
  const bytes = Buffer.concat([...frames, long].map(encode));
  for (const step of [1, 7, 24, 65_536]) assert.deepEqual(decode(bytes, step), [...frames, long]);
});

test("a frame of the other socket is refused", () => {
  const decoder = new Decoder(MAIN_KINDS);
  assert.throws(() => decoder.feed(encode({ kind: Kind.STOP }), assert.fail), FrameError);
});
