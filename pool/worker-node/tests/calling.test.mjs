// What handlers ask of the host: calls of other agents, and what they have used.

import assert from "node:assert/strict";
import test from "node:test";

import { ABANDONED, FAILED, ITEM, Kind, REPLY_OCTETS, STREAM } from "../frames.mjs";
import { Driver } from "./driver.mjs";

const CODE = `
export const ask = (input, context) => context.call("other", input);
export async function twice(input, context) {
  return Promise.all([context.call("a", { n: 1 }), context.call("b", { n: 2 })]);
}
export async function excused(input, context) {
  try { await context.call("other"); } catch (error) {
    return [error.name, error.code, error.detail, error.error, error.retryAfter];
  }
}
export async function brief(input, context) {
  const leaving = new AbortController();
  setTimeout(() => leaving.abort(new Error("enough")), 20);
  try { await context.call("other", {}, { signal: leaving.signal }); } catch (error) { return error.message; }
}
export async function cyclic(input, context) { const one = {}; one.self = one; return context.call("other", one); }
export async function* relay(input, context) { for await (const item of context.stream("other", input)) yield item; }
export async function first(input, context) { for await (const item of context.stream("other")) return item; }
export async function spend(input, { usage }) {
  usage.record({ model: "m", inputTokens: 3, outputTokens: 1, cached: 2 });
  usage.record({ model: "m", inputTokens: 4 });
  usage.record({ model: "n", outputTokens: 5 });
  return "spent";
}
export function overspend(input, { usage }) { usage.record({ model: "m", inputTokens: -1 }); }
export function many(input, { usage }) { for (let n = 0; n < 70; n++) usage.record({ model: "m" + n, inputTokens: 1 }); }
export function dear(input, { usage }) { usage.record({ model: "m", inputTokens: 9 }); throw new Error("in the end"); }
`;
const NAMES = [
  "ask", "twice", "excused", "brief", "cyclic", "relay", "first", "spend", "overspend", "many", "dear",
];
const number = Object.fromEntries(NAMES.map((name, index) => [name, index]));

async function worker(t) {
  const driver = new Driver({ "main.mjs": CODE }, NAMES.map((name) => `main:${name}`));
  t.after(() => driver.close());
  assert.equal((await driver.start()).kind, Kind.READY);
  return driver;
}

const invoke = async (driver, fits = () => true) => {
  const frame = await driver.frame(({ kind, meta }) => kind === Kind.INVOKE && fits(JSON.parse(meta)));
  return { ...frame, said: JSON.parse(frame.meta), input: JSON.parse(frame.payload) };
};
const answer = (driver, call, value, flags = 0) => {
  const payload = Buffer.isBuffer(value) ? value : Buffer.from(value === undefined ? "" : JSON.stringify(value));
  driver.say(Kind.REPLY, { call, flags, payload });
};

test("a call of another agent names its own and has its answer", async (t) => {
  const driver = await worker(t);
  const [id] = driver.call({ export: number.ask, input: { x: "ü" } });
  const { call, flags, said, input } = await invoke(driver);
  assert.equal(call >> 63n, 1n, "the highest bit");
  assert.deepEqual([flags, said, input], [0, { agent_id: "other", parent: id }, { x: "ü" }]);
  answer(driver, call, { y: ["ö"] });
  assert.deepEqual((await driver.end(id)).said, { y: ["ö"] });
});

test("several calls are on their way at once and bytes are bytes", async (t) => {
  const driver = await worker(t);
  const [id] = driver.call({ export: number.twice });
  const [a, b] = await Promise.all(["a", "b"].map((name) => invoke(driver, (said) => said.agent_id === name)));
  assert.notEqual(a.call, b.call);
  answer(driver, b.call, Buffer.from("raw"), REPLY_OCTETS);
  answer(driver, a.call, 1);
  const { said } = await driver.end(id);
  assert.deepEqual(said, [1, { type: "Buffer", data: [...Buffer.from("raw")] }]);
});

test("a call that fails tells its code, what was thrown, and when to try again", async (t) => {
  const driver = await worker(t);
  const [id] = driver.call({ export: number.excused });
  const { call, input } = await invoke(driver);
  assert.deepEqual(input, {}, "no input is an empty one");
  const failure = { code: "queue_full", detail: "too many", retry_after: 2, error: { type: "E", message: "m" } };
  answer(driver, call, failure, FAILED);
  assert.deepEqual((await driver.end(id)).said, ["CallFailed", "queue_full", "too many", { type: "E", message: "m" }, 2]);
});

test("a failure that nobody catches is the caller's error", async (t) => {
  const driver = await worker(t);
  const [id] = driver.call({ export: number.ask });
  answer(driver, (await invoke(driver)).call, { code: "agent_not_found", detail: "there is no other" }, FAILED);
  const { kind, said } = await driver.end(id);
  assert.deepEqual([kind, said.type, said.message], [Kind.ERROR, "CallFailed", "agent_not_found: there is no other"]);
});

test("a signal ends the other call, and an answer that comes after all is nobody's", async (t) => {
  const driver = await worker(t);
  const [id] = driver.call({ export: number.brief });
  const { call } = await invoke(driver);
  const left = await driver.frame(({ kind }) => kind === Kind.CONSUMED);
  assert.deepEqual([left.call, left.flags], [call, ABANDONED]);
  answer(driver, call, "late");
  assert.equal((await driver.end(id)).said, "enough");
  const [next] = driver.call({ export: number.ask });
  answer(driver, (await invoke(driver)).call, "good");
  assert.equal((await driver.end(next)).said, "good");
});

test("an input that is no JSON is the handler's error and nothing is sent", async (t) => {
  const driver = await worker(t);
  const { kind, said } = await driver.end(driver.call({ export: number.cyclic })[0]);
  assert.deepEqual([kind, said.kind, said.type], [Kind.ERROR, "agent", "TypeError"]);
  assert.match(said.message, /^the input of the other agent: /);
});

test("items are passed on one by one and credited when many bytes were taken", async (t) => {
  const driver = await worker(t);
  const [id] = driver.call({ export: number.relay, flags: STREAM });
  const { call, flags } = await invoke(driver);
  assert.equal(flags, STREAM);
  const item = "x".repeat(40_000);
  for (let n = 0; n < 2; n++) answer(driver, call, item, ITEM);
  const { call: credited, a, flags: said } = await driver.frame(({ kind }) => kind === Kind.CONSUMED);
  assert.deepEqual([credited, a, said], [call, 2 * (item.length + 2 + 64), 0]);
  answer(driver, call, undefined);
  assert.equal((await driver.end(id)).kind, Kind.END);
});

test("who leaves the loop ends the other generator", async (t) => {
  const driver = await worker(t);
  const [id] = driver.call({ export: number.first });
  const { call } = await invoke(driver);
  answer(driver, call, 7, ITEM);
  const left = await driver.frame(({ kind }) => kind === Kind.CONSUMED);
  assert.deepEqual([left.call, left.flags], [call, ABANDONED]);
  assert.equal((await driver.end(id)).said, 7);
});

test("an agent that does not stream is a stream of one, and one that fails fails", async (t) => {
  const driver = await worker(t);
  const [whole, broken] = driver.call({ export: number.relay }, { export: number.relay });
  answer(driver, (await invoke(driver, ({ parent }) => parent === whole)).call, { all: 1 });
  assert.deepEqual((await driver.end(whole)).said, [{ all: 1 }]);
  const { call } = await invoke(driver, ({ parent }) => parent === broken);
  answer(driver, call, 1, ITEM);
  answer(driver, call, { code: "agent_error", detail: "it failed" }, FAILED);
  assert.match((await driver.end(broken)).said.message, /^agent_error: it failed/);
});

test("what a call has used is summed up by model and told with its end, and meanwhile", async (t) => {
  const driver = await worker(t);
  const { said, meta } = await driver.end(driver.call({ export: number.spend })[0]);
  assert.equal(said, "spent");
  const used = [
    { model: "m", input_tokens: 7, output_tokens: 1, cached: 2 },
    { model: "n", input_tokens: 0, output_tokens: 5 },
  ];
  assert.deepEqual(meta.usage, used);
  const told = JSON.parse((await driver.frame(({ kind }) => kind === Kind.USED)).meta);
  assert.deepEqual(told.usage, [{ model: "m", input_tokens: 3, output_tokens: 1, cached: 2 }]);
});

test("a call that fails has spent its tokens too, and what is no count is refused", async (t) => {
  const driver = await worker(t);
  const dear = await driver.end(driver.call({ export: number.dear })[0]);
  assert.deepEqual([dear.kind, dear.meta.usage[0].input_tokens], [Kind.ERROR, 9]);
  const { said, meta } = await driver.end(driver.call({ export: number.overspend })[0]);
  assert.deepEqual([said.type, meta.usage], ["RangeError", undefined]);
});

test("models beyond the limit are summed up as one", async (t) => {
  const driver = await worker(t);
  const { meta } = await driver.end(driver.call({ export: number.many })[0]);
  assert.equal(meta.usage.length, 65);
  assert.deepEqual(meta.usage.at(-1), { model: "other", input_tokens: 6, output_tokens: 0 });
});
