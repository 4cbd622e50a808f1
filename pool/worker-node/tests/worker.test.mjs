// A real worker process, spoken to by frames.

import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import test from "node:test";

import { Kind, LIST, OCTETS, PIECES, STREAM } from "../frames.mjs";
import { Driver } from "./driver.mjs";

const CODE = `
import { setTimeout as sleep } from "node:timers/promises";
import fs from "node:fs";
export const echo = (input) => input;
export const later = async (input, context) => ({ input, request: context.requestId, left: context.remaining > 0 });
export function* count({ to }) { for (let n = 0; n < to; n++) yield n; }
export async function* chunks() { for (let n = 0; n < 40; n++) yield Buffer.alloc(65_536, n); }
export const fail = () => { throw new TypeError("no good", { cause: new Error("the root") }); };
export const odd = ({ what }) => ({ nan: { a: [NaN] }, big: 1n, bytes: Buffer.from("hi"), nothing: undefined })[what];
export const spin = ({ ms }) => { const end = Date.now() + ms; while (Date.now() < end); return ms; };
export async function wait({ file }, { signal }) {
  try { await sleep(60_000, null, { signal }); } finally { fs.writeFileSync(file, String(signal.reason.name)); }
}
export const deaf = () => new Promise(() => {});
export class Agent { invoke(input) { return this.constructor.name; } }
export const die = () => process.exit(3);
export const remember = (input, { session }) => (session.state.calls = (session.state.calls ?? 0) + 1);
export async function forever({ file }) { }
export function* closes({ file }) { try { for (;;) yield "x".repeat(1000); } finally { fs.writeFileSync(file, "closed"); } }
`;
const NAMES = [
  "echo", "later", "count", "chunks", "fail", "odd", "spin", "wait", "deaf", "Agent", "die", "remember", "closes",
];
const number = Object.fromEntries(NAMES.map((name, index) => [name, index]));

async function worker(t) {
  const driver = new Driver({ "main.mjs": CODE }, NAMES.map((name) => `main:${name}`));
  t.after(() => driver.close());
  const { kind, said } = await driver.start();
  assert.equal(kind, Kind.READY, JSON.stringify(said));
  return { driver, said };
}

test("a worker tells what its handlers are", async (t) => {
  const { said } = await worker(t);
  assert.match(said.runtime, /^node \d+\./);
  const facts = Object.fromEntries(said.exports.map(({ id, lane, streams }) => [NAMES[id.slice(1)], `${lane} ${streams}`]));
  assert.equal(facts.echo, "sync false");
  assert.equal(facts.later, "async false");
  assert.equal(facts.count, "sync true");
  assert.equal(facts.chunks, "async true");
});

test("calls of one write are all answered", async (t) => {
  const { driver } = await worker(t);
  const ids = driver.call(
    ...Array.from({ length: 200 }, (_, n) => ({ export: n % 2 ? number.echo : number.later, input: { n }, limit: 5000, meta: { request_id: `r${n}` } })),
  );
  for (const [n, id] of ids.entries()) {
    const { kind, said } = await driver.end(id);
    assert.equal(kind, Kind.RESULT);
    assert.deepEqual(said, n % 2 ? { n } : { input: { n }, request: `r${n}`, left: true });
  }
  assert.equal(driver.started(), 200);
});

test("large inputs and results pass", async (t) => {
  const { driver } = await worker(t);
  const input = "ü".repeat(2_000_000);
  const [id] = driver.call({ export: number.echo, input });
  assert.equal((await driver.end(id)).said, input);
});

test("results of every sort, and what is none", async (t) => {
  const { driver } = await worker(t);
  const of = async (what) => driver.end(driver.call({ export: number.odd, input: { what } })[0]);
  const bytes = await of("bytes");
  assert.deepEqual([bytes.flags, bytes.said.toString(), bytes.meta.content_type], [OCTETS, "hi", "application/octet-stream"]);
  assert.equal((await of("nothing")).said, null);
  const nan = await of("nan");
  assert.deepEqual([nan.kind, nan.said.kind, nan.said.place], [Kind.ERROR, "result", "/a/0"]);
  assert.equal((await of("big")).said.kind, "result");
  const [made] = driver.call({ export: number.Agent });
  assert.equal((await driver.end(made)).said, "Agent");
});

test("an error is told with its stack and its cause, without our own lines", async (t) => {
  const { driver } = await worker(t);
  const { kind, said } = await driver.end(driver.call({ export: number.fail })[0]);
  assert.equal(kind, Kind.ERROR);
  assert.deepEqual([said.kind, said.type, said.message], ["agent", "TypeError", "no good"]);
  assert.match(said.traceback, /main\.mjs:\d+/);
  assert.match(said.traceback, /caused by: Error: the root/);
  assert.doesNotMatch(said.traceback, /serving\.mjs/);
});

test("items come one by one while there is credit, else as one array", async (t) => {
  const { driver } = await worker(t);
  const [listed, streamed] = driver.call(
    { export: number.count, input: { to: 3 } },
    { export: number.count, input: { to: 3 }, flags: STREAM },
  );
  const whole = await driver.end(listed);
  assert.deepEqual([whole.flags, whole.said], [LIST, [0, 1, 2]]);
  for (const n of [0, 1, 2]) {
    const item = await driver.frame(({ kind }) => kind === Kind.ITEM);
    assert.deepEqual([item.call, item.a, item.payload.toString()], [streamed, n, String(n)]);
  }
  assert.equal((await driver.end(streamed)).kind, Kind.END);
});

test("a stream stops without credit and goes on with it", async (t) => {
  const { driver } = await worker(t);
  const [id] = driver.call({ export: number.chunks, flags: PIECES });
  let count = 0;
  let size = 0;
  const take = async () => {
    const item = await driver.frame(({ kind }) => kind === Kind.ITEM);
    assert.deepEqual([item.a, item.flags, item.payload[0]], [count, OCTETS, count]);
    count += 1;
    size += item.payload.length;
  };
  while (size < 262_144) await take();
  // Another call is answered meanwhile, and brings nothing of the stream along.
  await driver.end(driver.call({ export: number.later })[0]);
  assert.equal(await Promise.race([driver.frame(({ kind }) => kind === Kind.ITEM), driver.end(driver.call({ export: number.later })[0]).then(() => "none")]), "none");
});

test("a long call gives back what waits behind it, read or not", async (t) => {
  const { driver } = await worker(t);
  const [long, waiting] = driver.call({ export: number.spin, input: { ms: 1500 } }, { export: number.echo });
  while (driver.started() < long) await new Promise(setImmediate);
  const [unread] = driver.call({ export: number.echo });
  driver.main.write("");
  const back = [waiting, unread].map((id) => driver.end(id));
  const asking = setInterval(() => driver.say(Kind.RECALL), 20);
  for (const end of await Promise.all(back)) assert.equal(end.kind, Kind.RETURNED);
  clearInterval(asking);
  assert.equal((await driver.end(long)).said, 1500);
  assert.equal(driver.started(), long);
});

test("a handler hears that its caller has left, and one that is deaf is left behind", async (t) => {
  const { driver } = await worker(t);
  const file = `${driver.folder}/left`;
  const [heard, deaf] = driver.call({ export: number.wait, input: { file } }, { export: number.deaf });
  while (driver.started() < deaf) await new Promise(setImmediate);
  for (const call of [heard, deaf]) driver.say(Kind.CANCEL, { call });
  for (const call of [heard, deaf]) assert.equal((await driver.end(call)).kind, Kind.CANCELLED);
  assert.equal(fs.readFileSync(file, "utf8"), "AbortError");
  // The lane of plain functions is free again.
  assert.deepEqual((await driver.end(driver.call({ export: number.echo, input: 1 })[0])).said, 1);
});

test("a cancel is not lost however close it follows its call", async (t) => {
  const { driver } = await worker(t);
  const file = `${driver.folder}/left`;
  for (let round = 0; round < 100; round++) {
    const [call] = driver.call({ export: number.wait, input: { file } });
    driver.say(Kind.CANCEL, { call });
    assert.equal((await driver.end(call)).kind, Kind.CANCELLED);
  }
});

test("a generator is closed when its caller leaves", async (t) => {
  const { driver } = await worker(t);
  const file = `${driver.folder}/closed`;
  const [call] = driver.call({ export: number.closes, input: { file }, flags: STREAM });
  await driver.frame(({ kind }) => kind === Kind.ITEM);
  driver.say(Kind.CANCEL, { call });
  assert.equal((await driver.end(call)).kind, Kind.CANCELLED);
  assert.equal(fs.readFileSync(file, "utf8"), "closed");
});

test("a deadline aborts a handler, and one that passed before the start is not served", async (t) => {
  const { driver } = await worker(t);
  const file = `${driver.folder}/late`;
  const [waits, spins, late] = driver.call(
    { export: number.wait, input: { file }, limit: 50 },
    { export: number.spin, input: { ms: 300 } },
    { export: number.echo, limit: 100 },
  );
  for (const call of [waits, late]) {
    const { kind, said } = await driver.end(call);
    assert.deepEqual([kind, said.kind], [Kind.ERROR, "deadline"]);
  }
  assert.equal((await driver.end(spins)).kind, Kind.RESULT);
  assert.equal(fs.readFileSync(file, "utf8"), "TimeoutError");
});

test("a worker that is stuck says where", async (t) => {
  const { driver } = await worker(t);
  const [call] = driver.call({ export: number.spin, input: { ms: 60_000 }, limit: 100 });
  while (driver.started() < call) await new Promise(setImmediate);
  const said = once(driver.child.stderr, "data");
  const asking = setInterval(() => {
    driver.say(Kind.CANCEL, { call });
    driver.say(Kind.RECALL);
    driver.child.kill("SIGUSR2");
  }, 50);
  await said;
  clearInterval(asking);
  assert.match(driver.errors, /at spin \(.*main\.mjs:\d+:\d+\)/);
});

test("sessions keep their state until they are forgotten", async (t) => {
  const { driver } = await worker(t);
  const calls = async (session) => (await driver.end(driver.call({ export: number.remember, meta: { session } })[0])).said;
  const [one, two] = [{ id: "a", key: 1 }, { id: "a", key: 2 }];
  assert.deepEqual([await calls(one), await calls(one), await calls(two)], [1, 2, 1]);
  assert.deepEqual([await calls({ id: "a" }), await calls({ id: "a" })], [1, 1], "nothing is kept without a key");
  driver.say(Kind.FORGET, { meta: Buffer.from('{"session":1}') });
  while ((await calls(one)) !== 1);
  assert.equal(await calls(two), 2);
});

test("what is finished is answered before the worker ends, whatever ends it", async (t) => {
  const { driver } = await worker(t);
  const [first, , third] = driver.call({ export: number.echo, input: 7 }, { export: number.die }, { export: number.echo });
  assert.equal((await driver.end(first)).said, 7);
  assert.equal(await driver.ended(), 3);
  assert.ok(driver.started() < third);
});

test("STOP finishes what was sent, and ends", async (t) => {
  const { driver } = await worker(t);
  const ids = driver.call({ export: number.spin, input: { ms: 100 } }, { export: number.later }, { export: number.echo });
  driver.main.write("", () => driver.say(Kind.STOP));
  for (const id of ids) assert.equal((await driver.end(id)).kind, Kind.RESULT);
  assert.equal(await driver.ended(), 0);
});

test("a worker whose side socket ends is gone at once, in the middle of a call", async (t) => {
  const { driver } = await worker(t);
  const [call] = driver.call({ export: number.spin, input: { ms: 60_000 } });
  while (driver.started() < call) await new Promise(setImmediate);
  driver.side.destroy();
  assert.equal(await driver.ended(), "SIGKILL");
});

test("garbage on a socket ends the worker, which says so", async (t) => {
  const { driver } = await worker(t);
  driver.main.write(Buffer.alloc(64, 0xff));
  await driver.ended();
  assert.match(driver.errors, /connection is broken: .*frame/);
});

for (const [what, files, handler, phase, message] of [
  ["a module that throws", { "main.js": "throw new Error('at import')" }, "main:run", "import", /at import/],
  ["a module that is not there", {}, "main:run", "import", /no module main/],
  ["an export that is not there", { "main.js": "exports.other = 1" }, "main:run", "handler", /exports no run/],
  ["an export that cannot be called", { "main.js": "exports.run = 1" }, "main:run", "handler", /no function/],
]) {
  test(`${what} is told and ends the worker`, async (t) => {
    const driver = new Driver({ "package.json": "{}", ...files }, [handler]);
    t.after(() => driver.close());
    const { kind, said } = await driver.start();
    assert.deepEqual([kind, said.phase, said.export], [Kind.FAILED, phase, "e0"]);
    assert.match(said.message, message);
    assert.equal(await driver.ended(), 1);
  });
}

test("modules of both sorts are found, with what they do at the start of a worker", async (t) => {
  const driver = new Driver(
    {
      "common/index.js": "exports.deep = { run: () => 'common' };",
      "esm.mjs": "let begun; export const onWorkerStart = async () => { begun = 'begun'; }; export default () => begun;",
      "computed.cjs": "const made = {}; made['r' + 'un'] = () => 'computed'; module.exports = made;",
    },
    ["common:deep.run", "esm.mjs:default", "computed:run"],
  );
  t.after(() => driver.close());
  assert.equal((await driver.start()).kind, Kind.READY);
  const ids = driver.call({ export: 0 }, { export: 1 }, { export: 2 });
  const said = await Promise.all(ids.map(async (id) => (await driver.end(id)).said));
  assert.deepEqual(said, ["common", "begun", "computed"]);
});

test("a worker says when it has nothing to do, and that it has again", async (t) => {
  const code = `
    const doors = [];
    export const wait = () => new Promise((resolve) => doors.push(resolve));
    export const open = async () => doors.shift()();
    export const plain = () => 1;
  `;
  const driver = new Driver({ "main.mjs": code }, ["main:wait", "main:open", "main:plain"]);
  t.after(() => driver.close());
  await driver.start();
  const resting = async () => {
    while (!driver.rests()) await new Promise(setImmediate);
  };
  await resting();
  const [plain] = driver.call({ export: 2 });
  assert.equal((await driver.end(plain)).said, 1);
  await resting();
  const [waiting] = driver.call({ export: 0 });
  while (driver.started() < waiting) await new Promise(setImmediate);
  assert.ok(!driver.rests(), "its handler waits, and so do those who could be served by another worker");
  const [opening] = driver.call({ export: 1 });
  await driver.end(opening);
  await driver.end(waiting);
  await resting();
  assert.equal(driver.started(), opening, "what was started last is still told");
});
