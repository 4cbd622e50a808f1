// Numbers as people read them.
import assert from "node:assert/strict";
import test from "node:test";

import { amount, bytes, duration, percent, whole } from "../format.mjs";

const plain = (text) => text.replaceAll("\u2009", " ");

test("amounts have three digits and a unit", () => {
  for (const [value, text] of [[null, "–"], [NaN, "–"], [0, "0"], [7, "7"], [0.123, "0.12"], [12.34, "12.3"], [9999, "9999"], [12345, "12.3k"], [2.5e6, "2.50M"]]) {
    assert.equal(amount(value), text);
  }
  assert.equal(plain(whole(1234567)), "1 234 567");
});

test("times, bytes and shares are told in the unit that fits", () => {
  for (const [value, text] of [[null, "–"], [0, "0"], [0.000_25, "250 µs"], [0.0123, "12.3 ms"], [1.5, "1.50 s"], [150, "2 min"], [9000, "2 h"], [200_000, "2 d"]]) {
    assert.equal(plain(duration(value)), text);
  }
  assert.deepEqual([100, 2048, 5 << 20, 3 * 2 ** 30].map((value) => plain(bytes(value))), ["100 B", "2 KiB", "5 MiB", "3 GiB"]);
  assert.equal(plain(percent(0.1234)), "12.3 %");
});
