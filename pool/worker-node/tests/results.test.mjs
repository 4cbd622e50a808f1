import assert from "node:assert/strict";
import test from "node:test";

import { ResultRefused, isOctets, octets, toJson } from "../results.mjs";

function refusal(value, prefix) {
  try {
    toJson(value, prefix);
  } catch (error) {
    assert.ok(error instanceof ResultRefused, String(error));
    return error;
  }
  return assert.fail("it was not refused");
}

test("what JSON knows is written as it is", () => {
  for (const value of [null, true, 1.5, "ü", [1, [null]], { a: { b: [] } }]) {
    assert.deepEqual(JSON.parse(toJson(value)), value);
  }
  assert.equal(toJson(undefined), "null");
  assert.equal(toJson(new Date(0)), '"1970-01-01T00:00:00.000Z"');
});

test("collections are not taken for empty objects", () => {
  const value = { map: new Map([["a", new Set([1, 2])]]), floats: new Float64Array([0.5]), empty: {} };
  assert.deepEqual(JSON.parse(toJson(value)), { map: { a: [1, 2] }, floats: [0.5], empty: {} });
});

test("what is no JSON is refused with its place", () => {
  const cycle = { list: [{}] };
  cycle.list[0].again = cycle;
  assert.equal(refusal({ a: [0, { "b/c": NaN }] }).place, "/a/1/b~1c");
  assert.equal(refusal([Infinity], "/7").place, "/7/0");
  assert.equal(refusal({ count: 1n }).place, "/count");
  assert.equal(refusal(cycle).place, "/list/0/again");
  assert.match(refusal(1n).message, /BigInt/);
});

test("bytes are bytes", () => {
  assert.ok(isOctets(Buffer.from("x")) && isOctets(new ArrayBuffer(2)) && !isOctets("x"));
  assert.equal(octets(new ArrayBuffer(2)).length, 2);
});
