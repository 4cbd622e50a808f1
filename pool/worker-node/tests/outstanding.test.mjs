import assert from "node:assert/strict";
import test from "node:test";

import { Claims } from "../claims.mjs";
import { Outstanding } from "../outstanding.mjs";

test("a call is started or given back, never both", () => {
  const claims = new Claims();
  const outstanding = new Outstanding(claims);
  const [first, second] = [1, 2].map((call) => outstanding.add(call, 0));
  assert.ok(claims.start(first));
  assert.deepEqual(outstanding.takeBackAll(), [2]);
  assert.ok(!claims.start(second), "it was given back");
  assert.ok(!outstanding.takeBack(1), "it runs");
});

test("a call that runs for ever keeps its cell while millions come and go", () => {
  const claims = new Claims();
  const outstanding = new Outstanding(claims);
  const long = outstanding.add(1, 0);
  claims.start(long);
  for (let call = 2; call < 200_000; call++) {
    const cell = outstanding.add(call, 0);
    assert.notEqual(cell, long);
    claims.start(cell);
    claims.end(cell);
  }
  assert.ok(claims.runs(long));
  assert.ok(outstanding.size < 8, `${outstanding.size} are kept`);
});

test("more calls than there are cells are refused", () => {
  const outstanding = new Outstanding(new Claims());
  assert.throws(() => {
    for (let call = 1; call < 70_000; call++) outstanding.add(call, 0);
  }, RangeError);
});

test("a call is stuck when it runs on after its deadline without its caller", () => {
  const claims = new Claims();
  const outstanding = new Outstanding(claims);
  claims.start(outstanding.add(1, 100));
  assert.ok(!outstanding.isStuck(200), "its caller is there");
  assert.ok(outstanding.leave(1));
  assert.ok(!outstanding.isStuck(99));
  assert.ok(outstanding.isStuck(100));
});

test("who holds the claim of a call that was given back does not start the next one in its cell", () => {
  const claims = new Claims();
  const outstanding = new Outstanding(claims);
  const stale = outstanding.add(1, 0);
  assert.deepEqual(outstanding.takeBackAll(), [1]);
  const next = outstanding.add(2, 0);
  assert.equal(claims.cell(next), claims.cell(stale), "cells are used again");
  assert.ok(!claims.start(stale));
  assert.ok(claims.start(next));
});
