// Files that come with calls, and files that are results.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";

import { FILES, Kind, OCTETS, PIECES } from "../frames.mjs";
import { Driver } from "./driver.mjs";

const CODE = `
import fs from "node:fs";
export async function read({ doc, pictures }) {
  const sizes = [];
  for (const picture of pictures) for await (const piece of picture) sizes.push([picture.name, piece.length]);
  return { doc, text: await doc.text(), type: doc.contentType, field: doc.field, same: (await doc.bytes()).length === doc.size, sizes };
}
export const small = (input, context) => context.file({ data: Buffer.from("tiny"), name: "a.txt", contentType: "text/plain", disposition: "inline" });
export const onDisk = ({ path }, context) => context.file({ path });
export const made = async ({ count }, context) => context.file({
  chunks: (async function* () { for (let n = 0; n < count; n++) yield Buffer.alloc(50_000, n); })(), name: "made.bin",
});
export const odd = (input, context) => context.file({ chunks: ["text"] });
export const twofold = (input, context) => context.file({ data: Buffer.alloc(1), path: "/etc/hostname" });
export const closes = ({ file }, context) => context.file({
  chunks: (async function* () { try { for (;;) yield Buffer.alloc(50_000); } finally { fs.writeFileSync(file, "closed"); } })(),
});
`;
const NAMES = ["read", "small", "onDisk", "made", "odd", "twofold", "closes"];
const number = Object.fromEntries(NAMES.map((name, index) => [name, index]));

async function worker(t) {
  const driver = new Driver({ "main.mjs": CODE }, NAMES.map((name) => `main:${name}`));
  t.after(() => driver.close());
  assert.equal((await driver.start()).kind, Kind.READY);
  return driver;
}

const pieces = async (driver, call) => {
  const all = [];
  for (;;) {
    const frame = await driver.frame((frame) => frame.call === call);
    if (frame.kind !== Kind.ITEM) return { all, last: frame };
    all.push(frame);
    driver.say(Kind.CREDIT, { call, a: frame.payload.length + frame.meta.length + 64 });
  }
};

test("files of a call are in their places, whole or piece by piece", async (t) => {
  const driver = await worker(t);
  const directory = fs.mkdtempSync(path.join(driver.folder, "call-"));
  for (const [name, content] of [["0", "the text"], ["1", "abc"], ["2", "defgh"]]) fs.writeFileSync(path.join(directory, name), content);
  const facts = (name, size) => ({ name, content_type: "text/plain", size });
  const [id] = driver.call({
    export: number.read,
    flags: FILES,
    input: { doc: facts("a.txt", 8), pictures: [facts("b", 3), facts("c", 5)] },
    meta: { files: { directory, members: [["doc", ["0"]], ["pictures", ["1", "2"]]] } },
  });
  assert.deepEqual((await driver.end(id)).said, {
    doc: facts("a.txt", 8),
    text: "the text",
    type: "text/plain",
    field: "doc",
    same: true,
    sizes: [["b", 3], ["c", 5]],
  });
});

test("a small file is one result and says what it is", async (t) => {
  const driver = await worker(t);
  for (const flags of [0, PIECES]) {
    const { kind, flags: said, said: bytes, meta } = await driver.end(driver.call({ export: number.small, flags })[0]);
    assert.deepEqual([kind, said, bytes.toString()], [Kind.RESULT, OCTETS, "tiny"]);
    // A machine that is busy makes a long call of it, which tells its memory, too.
    delete meta.peak_rss_kb;
    assert.deepEqual(meta, { content_type: "text/plain", name: "a.txt", disposition: "inline", length: 4 });
  }
});

test("a large file on disk comes in pieces behind its length", async (t) => {
  const driver = await worker(t);
  const file = path.join(driver.folder, "large.bin");
  const content = Buffer.alloc(300_000, "large");
  fs.writeFileSync(file, content);
  const { all, last } = await pieces(driver, driver.call({ export: number.onDisk, flags: PIECES, input: { path: file } })[0]);
  assert.equal(last.kind, Kind.END);
  assert.deepEqual(JSON.parse(all[0].meta), { content_type: "application/octet-stream", name: "large.bin", length: 300_000 });
  assert.ok(all.every(({ flags }) => flags === OCTETS));
  assert.ok(Buffer.concat(all.map(({ payload }) => payload)).equals(content));
  const { said } = await driver.end(driver.call({ export: number.onDisk, input: { path: file } })[0]);
  assert.ok(said.equals(content), "a caller who takes no pieces has it whole");
});

test("a file that is made on the way has no length, and an empty one is a file all the same", async (t) => {
  const driver = await worker(t);
  const { all } = await pieces(driver, driver.call({ export: number.made, flags: PIECES, input: { count: 3 } })[0]);
  assert.deepEqual(JSON.parse(all[0].meta), { content_type: "application/octet-stream", name: "made.bin" });
  assert.deepEqual(all.map(({ payload }) => payload.length), [50_000, 50_000, 50_000]);
  const { all: none, last } = await pieces(driver, driver.call({ export: number.made, flags: PIECES, input: { count: 0 } })[0]);
  assert.deepEqual([none.length, last.kind, last.payload.length, JSON.parse(last.meta).name], [0, Kind.RESULT, 0, "made.bin"]);
});

test("what is no file is the handler's error", async (t) => {
  const driver = await worker(t);
  const error = async (name, input = {}) => (await driver.end(driver.call({ export: number[name], input })[0])).said;
  assert.match((await error("odd")).message, /made of bytes/);
  assert.match((await error("twofold")).message, /exactly one/);
  assert.match((await error("onDisk", { path: driver.folder })).message, /not a regular file/);
  assert.match((await error("onDisk", { path: "/nowhere" })).message, /ENOENT/);
});

test("a caller that leaves a file closes what makes it", async (t) => {
  const driver = await worker(t);
  const file = path.join(driver.folder, "closed");
  const [id] = driver.call({ export: number.closes, flags: PIECES, input: { file } });
  await driver.frame(({ kind }) => kind === Kind.ITEM);
  driver.say(Kind.CANCEL, { call: id });
  await driver.frame(({ kind, call }) => kind === Kind.CANCELLED && call === id);
  for (let tries = 0; !fs.existsSync(file) && tries < 500; tries++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(fs.readFileSync(file, "utf8"), "closed");
});
