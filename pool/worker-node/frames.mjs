// The frames on the main and side sockets, as in `FRAMES.md`.
//
// Enters: bytes from a stream socket. Leaves: frames as plain objects, and frames as bytes.
// Mirrors `proto/src/frames/`.

/** Bytes of a header. */
export const HEADER = 24;

/** Most bytes that may follow a header; the same number as on the other side, which refuses more. */
export const MAX_BODY = 64 * 1024 * 1024;

/** Most bytes of metadata: its length is a u16. */
export const MAX_META = 0xffff;

/** Times are sent as u32 microseconds; a handler that ran for longer than 71 minutes reports this. */
export const MAX_U32 = 0xffffffff;

/** What a frame says. Below 64 to the worker, from 64 on by it. */
export const Kind = Object.freeze({
  CALL: 1,
  CANCEL: 2,
  CREDIT: 3,
  REPLY: 4,
  RECALL: 5,
  STOP: 6,
  FORGET: 7,
  READY: 64,
  RESULT: 65,
  ERROR: 66,
  ITEM: 67,
  END: 68,
  RETURNED: 69,
  CANCELLED: 70,
  INVOKE: 71,
  FAILED: 72,
  CONSUMED: 73,
  SPANS: 74,
  USED: 75,
});

/** What `par` may send on each of the two sockets. */
export const MAIN_KINDS = new Set([Kind.CALL]);
export const SIDE_KINDS = new Set([Kind.CANCEL, Kind.CREDIT, Kind.REPLY, Kind.RECALL, Kind.STOP, Kind.FORGET]);
const ALL_KINDS = new Set(Object.values(Kind));

/** Flags of CALL: items may be sent one by one, those that are JSON and those that are bytes; members of the input are files.
 * The first one also of INVOKE. */
export const STREAM = 1;
export const PIECES = 2;
export const FILES = 4;

/** Flags of RESULT: the payload is bytes, not JSON; the payload is the array of a generator's items. */
export const OCTETS = 1;
export const LIST = 2;

/** Flags of REPLY: the call has no result; one item, more follow; the payload is bytes, not JSON. */
export const FAILED = 1;
export const ITEM = 2;
export const REPLY_OCTETS = 4;

/** Flag of CONSUMED: nobody waits for the rest. */
export const ABANDONED = 1;

const NOTHING = Buffer.alloc(0);

/** Bytes that are not a frame: the peer is broken. */
export class FrameError extends Error {}

/** Writes a header. `call` is a number below 2^53, or a BigInt for all 64 bits. */
export function putHeader(target, kind, flags, call, a, b, meta, size) {
  target.writeUInt32LE(size, 0);
  target.writeUInt16LE(meta, 4);
  target[6] = kind;
  target[7] = flags;
  if (typeof call === "bigint") {
    target.writeBigUInt64LE(call, 8);
  } else {
    target.writeUInt32LE(call % 0x100000000, 8);
    target.writeUInt32LE(Math.floor(call / 0x100000000), 12);
  }
  target.writeUInt32LE(a, 16);
  target.writeUInt32LE(b, 20);
}

/** One frame as bytes. Callers bound `meta` and `payload`. */
export function encode({ kind, flags = 0, call = 0, a = 0, b = 0, meta = NOTHING, payload = NOTHING }) {
  const header = Buffer.alloc(HEADER);
  putHeader(header, kind, flags, call, a, b, meta.length, meta.length + payload.length);
  return Buffer.concat([header, meta, payload]);
}

/** Takes complete frames from a stream that arrives in pieces. */
export class Decoder {
  #accepted;
  // Pieces of a frame that is not complete yet. Joined once, when enough are there.
  #parts = [];
  #have = 0;
  #need = 0;

  constructor(accepted = ALL_KINDS) {
    this.#accepted = accepted;
  }

  /** Emits every frame that `data` completes. Throws `FrameError`; the decoder is useless after that. */
  feed(data, emit) {
    if (this.#parts.length > 0) {
      this.#parts.push(data);
      this.#have += data.length;
      if (this.#have < this.#need) return;
      data = Buffer.concat(this.#parts);
      this.#parts = [];
    }
    let at = 0;
    let need = HEADER;
    while (data.length - at >= HEADER) {
      const size = data.readUInt32LE(at);
      const meta = data.readUInt16LE(at + 4);
      const kind = data[at + 6];
      if (!this.#accepted.has(kind)) throw new FrameError(`frame kind ${kind} is not expected here`);
      if (size > MAX_BODY) throw new FrameError(`frame of ${size} bytes is over the limit`);
      if (meta > size) throw new FrameError(`${meta} bytes of metadata in a body of ${size}`);
      const body = at + HEADER;
      const end = body + size;
      if (end > data.length) {
        need = end - at;
        break;
      }
      emit({
        kind,
        flags: data[at + 7],
        call: id(data, at + 8),
        a: data.readUInt32LE(at + 16),
        b: data.readUInt32LE(at + 20),
        meta: data.subarray(body, body + meta),
        payload: data.subarray(body + meta, end),
      });
      at = end;
    }
    if (at < data.length) {
      const rest = at === 0 ? data : data.subarray(at);
      this.#parts.push(rest);
      this.#have = rest.length;
      this.#need = need;
    }
  }
}

/** Ids are counters: a number as long as it can be one exactly. */
function id(data, at) {
  const high = data.readUInt32LE(at + 4);
  return high < 0x200000 ? high * 0x100000000 + data.readUInt32LE(at) : data.readBigUInt64LE(at);
}
