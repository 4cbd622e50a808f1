// A `par` for one worker: starts `main.mjs` with sockets under the numbers of `FRAMES.md` and speaks frames to it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { Decoder, Kind, encode } from "../frames.mjs";

const MAIN = fileURLToPath(new URL("../main.mjs", import.meta.url));

/** A worker for a package of these files; `handlers` are `module:attribute`, numbered in this order. */
export class Driver {
  #frames = [];
  #waiting = [];
  #next = 1;

  constructor(files, handlers) {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), "par-node-"));
    this.root = path.join(this.folder, "package");
    for (const [name, content] of Object.entries(files)) {
      const file = path.join(this.root, name);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, content);
    }
    const exports = handlers.map((handler, number) => {
      const [module, attribute] = handler.split(":");
      return { id: `e${number}`, module, attribute, concurrency: 100, threads: 1 };
    });
    this.#write("init", JSON.stringify({ package: "test@1.0.0", root: this.root, exports, dev: false }));
    this.#write("journal", Buffer.alloc(262_144));
    const files_ = ["journal", "init"].map((name) => fs.openSync(path.join(this.folder, name), "r+"));
    this.child = spawn(process.execPath, [MAIN], {
      cwd: this.root,
      stdio: ["ignore", "pipe", "pipe", "pipe", "pipe", ...files_],
    });
    for (const descriptor of files_) fs.closeSync(descriptor);
    [, , , this.main, this.side] = this.child.stdio;
    this.exit = once(this.child, "exit");
    this.errors = "";
    this.child.stderr.on("data", (text) => (this.errors += text));
    this.child.stdout.resume();
    const decoder = new Decoder();
    this.main.on("data", (data) => decoder.feed(data, (frame) => this.#arrive(frame)));
    for (const socket of [this.main, this.side]) socket.on("error", () => {});
  }

  /** Sends calls in one write. Returns their ids. */
  call(...wanted) {
    const frames = wanted.map(({ export: a, input = {}, limit: b = 0, flags = 0, meta = {} }) => {
      const payload = Buffer.from(JSON.stringify(input));
      return { kind: Kind.CALL, call: this.#next++, a, b, flags, meta: Buffer.from(JSON.stringify(meta)), payload };
    });
    this.main.write(Buffer.concat(frames.map(encode)));
    return frames.map(({ call }) => call);
  }

  /** Sends a command. */
  say(kind, more = {}) {
    this.side.write(encode({ kind, ...more }));
  }

  /** The next frame that fits. */
  frame(fits) {
    const place = this.#frames.findIndex(fits);
    if (place >= 0) return Promise.resolve(this.#frames.splice(place, 1)[0]);
    return new Promise((resolve) => this.#waiting.push({ fits, resolve }));
  }

  /** The end of a call: its kind, and what its payload says. */
  async end(call) {
    const ends = ({ kind }) => kind !== Kind.ITEM && kind !== Kind.USED;
    const { kind, flags, meta, payload, a } = await this.frame((frame) => frame.call === call && ends(frame));
    const isBytes = kind === Kind.RESULT && flags === 1;
    const said = isBytes ? payload : payload.length ? JSON.parse(payload) : null;
    return { kind, flags, said, meta: meta.length ? JSON.parse(meta) : {}, micros: a };
  }

  /** What READY or FAILED says. */
  async start() {
    const { kind, payload } = await this.frame(({ kind }) => kind === Kind.READY || kind === Kind.FAILED);
    return { kind, said: JSON.parse(payload) };
  }

  /** The id in the journal. */
  started() {
    return Number(this.#word() & ((1n << 63n) - 1n));
  }

  /** Whether the journal says that there is nothing to do. */
  rests() {
    return this.#word() >> 63n === 1n;
  }

  #word() {
    return fs.readFileSync(path.join(this.folder, "journal")).readBigUInt64LE(0);
  }

  /** How the process ended: its code or the name of a signal. */
  async ended() {
    const [code, signal] = await this.exit;
    return code ?? signal;
  }

  async close() {
    this.child.kill("SIGKILL");
    await this.exit;
    fs.rmSync(this.folder, { recursive: true });
  }

  #write(name, content) {
    fs.writeFileSync(path.join(this.folder, name), content);
  }

  #arrive(frame) {
    const copy = { ...frame, meta: Buffer.from(frame.meta), payload: Buffer.from(frame.payload) };
    const place = this.#waiting.findIndex(({ fits }) => fits(copy));
    if (place < 0) this.#frames.push(copy);
    else this.#waiting.splice(place, 1)[0].resolve(copy);
  }
}
