// What a worker writes: frames on the main socket, and in the journal which call started last.
//
// Enters: endings and items of calls, from either thread. Leaves: bytes, in one piece per frame and before the next
// handler begins, so that what is finished is answered whatever happens then. A socket that fails ends the process:
// without it a worker has no purpose.

import fs from "node:fs";
import { isMainThread } from "node:worker_threads";

import { HEADER, Kind, MAX_U32, putHeader } from "./frames.mjs";

/** The descriptors of a worker, as `FRAMES.md` numbers them. */
export const MAIN = 3;
export const SIDE = 4;
export const JOURNAL = 5;
export const INIT = 6;

/** Exit code of a worker whose sockets or frames are broken. */
export const EXIT_BROKEN = 70;

/** Frames up to this size are written from one buffer that is kept. */
const SMALL = 64 * 1024;

/** Bit 63 of the journal's first word, in its upper half. */
const RESTING = 0x80000000;

const NOTHING = Buffer.alloc(0);

/** One per thread; both write to the same socket in turn. */
export class Channel {
  #claims;
  #buffer = Buffer.alloc(SMALL);
  #word = Buffer.alloc(8);
  #started = 0;
  #resting = false;

  constructor(claims) {
    this.#claims = claims;
  }

  /** Writes one frame. `payload` is a text or bytes. */
  send(kind, flags, call, a, meta = NOTHING, payload = NOTHING) {
    const metaLength = Buffer.byteLength(meta);
    const payloadLength = Buffer.byteLength(payload);
    const size = metaLength + payloadLength;
    const micros = Math.min(a, MAX_U32);
    const small = HEADER + size <= SMALL;
    const head = small ? this.#buffer : Buffer.alloc(HEADER + metaLength);
    putHeader(head, kind, flags, call, micros, 0, metaLength, size);
    put(head, meta, HEADER);
    if (small) put(head, payload, HEADER + metaLength);
    const body = typeof payload === "string" && !small ? Buffer.from(payload) : payload;
    this.#claims.alone(() => {
      this.#write(small ? head.subarray(0, HEADER + size) : head);
      if (!small) this.#write(body);
    });
  }

  /** Gives calls back. */
  returned(calls) {
    for (const call of calls) this.send(Kind.RETURNED, 0, call, 0);
  }

  /** A call starts: a greater id than this one has not. */
  started(call) {
    if (call <= this.#started && !this.#resting) return;
    this.#started = Math.max(call, this.#started);
    this.#mark(false);
  }

  /** There is nothing to do: whoever looks takes this process for one that sleeps for want of calls. */
  rest() {
    if (!this.#resting) this.#mark(true);
  }

  #mark(resting) {
    this.#resting = resting;
    this.#word.writeUInt32LE(this.#started % 0x100000000, 0);
    this.#word.writeUInt32LE(Math.floor(this.#started / 0x100000000) + (resting ? RESTING : 0), 4);
    fs.writeSync(JOURNAL, this.#word, 0, 8, 0);
  }

  #write(bytes) {
    let at = 0;
    while (at < bytes.length) {
      try {
        at += fs.writeSync(MAIN, bytes, at, bytes.length - at);
      } catch (error) {
        // The socket is full: `par` reads it all the time, so this is soon over.
        if (error.code === "EAGAIN") this.#claims.nap();
        else broken(error);
      }
    }
  }
}

/** The connection to `par` is of no more use. Nothing can be said there, so it is said on stderr. */
export function broken(error) {
  try {
    fs.writeSync(2, `par: the worker's connection is broken: ${error.name}: ${error.message}\n`);
  } finally {
    leave(EXIT_BROKEN);
  }
}

/** Ends the process at once. Only its main thread can choose an exit code. */
export function leave(code) {
  if (isMainThread) process.exit(code);
  process.kill(process.pid, "SIGKILL");
}

function put(target, part, at) {
  if (typeof part === "string") target.write(part, at);
  else target.set(part, at);
}
