// A page that is left open: what it keeps has an end, and gaps are gaps.
import assert from "node:assert/strict";
import test from "node:test";

import { POINTS, Series } from "../series.mjs";

test("a day of points is no more than ten minutes of them", () => {
  const series = new Series();
  for (let at = 1; at <= 86_400; at += 1) series.push({ at, rate: at });
  assert.equal(series.points.length, POINTS);
  assert.equal(series.last().rate, 86_400);
  assert.equal(series.times()[0], 86_400 - POINTS + 1);
});

test("a pause is a gap, and what was told twice is kept once", () => {
  const series = new Series();
  for (const at of [1, 2, 2, 1, 100, 101]) series.push({ at, rate: 1 });
  assert.deepEqual(series.times(), [1, 2, 3, 100, 101]);
  assert.deepEqual(series.values((point) => point.rate), [1, 1, null, 1, 1]);
});
