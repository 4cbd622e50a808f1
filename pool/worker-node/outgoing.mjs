// Files that handlers return.
//
// Enters: where the bytes are, and what is known of them. Leaves: what is told of the file, and its bytes, whole or piece by
// piece.

import fs from "node:fs";
import path from "node:path";

import { clip } from "./failures.mjs";
import { isOctets, octets } from "./results.mjs";

export const OCTETS_TYPE = "application/octet-stream";

/** Bytes of a name. It becomes a header. As in Python. */
const LONGEST_NAME = 1024;

/** What is read at once; files up to this size are sent as a whole. */
const PIECE = 64 * 1024;

const DISPOSITIONS = ["attachment", "inline"];

/** A result that is a file. Exactly one of `path` (a file that this process may read), `data` (bytes) and `chunks` (something that
 * yields bytes) says what is in it. `name` is what the caller may call it; a path has one of its own. `disposition` is
 * "attachment", or "inline" for what a browser shall show. */
export class File {
  constructor({ path: from, data, chunks, name, contentType = OCTETS_TYPE, disposition }) {
    if ([from, data, chunks].filter((source) => source !== undefined).length !== 1) {
      throw new TypeError("a file is made of exactly one of path, data and chunks");
    }
    if (data !== undefined && !isOctets(data)) throw new TypeError("the data of a file are bytes");
    if (disposition !== undefined && !DISPOSITIONS.includes(disposition)) {
      throw new RangeError(`disposition is ${DISPOSITIONS.join(" or ")}, not ${disposition}`);
    }
    this.path = from === undefined ? undefined : String(from);
    this.data = data;
    this.chunks = chunks;
    this.name = name ?? (this.path === undefined ? undefined : path.basename(this.path));
    this.contentType = contentType;
    this.disposition = disposition;
  }

  /** `{about, whole}` for few bytes, `{about, pieces}` for many. Rejects with what opening it fails with. */
  async open() {
    const about = { content_type: String(this.contentType) };
    if (this.name !== undefined) about.name = clip(String(this.name), LONGEST_NAME);
    if (this.disposition !== undefined) about.disposition = this.disposition;
    if (this.chunks !== undefined) return { about, pieces: this.chunks };
    if (this.data !== undefined) {
      const whole = octets(this.data);
      return { about: { ...about, length: whole.length }, whole };
    }
    // Without waiting for a pipe that nobody writes to.
    const handle = await fs.promises.open(this.path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    try {
      const status = await handle.stat();
      if (!status.isFile()) throw new TypeError(`${this.path} is not a regular file`);
      about.length = status.size;
      const pieces = read(handle, this.path, status.size);
      if (status.size > PIECE) return { about, pieces };
      const parts = [];
      for await (const piece of pieces) parts.push(piece);
      return { about, whole: Buffer.concat(parts) };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }
}

/** The first `size` bytes: its length is told before. */
async function* read(handle, name, size) {
  try {
    for (let at = 0; at < size; ) {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(Math.min(PIECE, size - at)), 0, undefined, at);
      if (bytesRead === 0) throw new Error(`${name} has become shorter while it was read`);
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}
