// Calls that handlers of this worker make to other agents of the host, until their answers have come.
//
// Enters: an agent's id and its input, then REPLY frames. Leaves: INVOKE and CONSUMED frames. Who the caller is, until
// when, and how deep calls are nested is not said here: `par` knows it of the call in which this one is made.

import { ABANDONED, FAILED, ITEM, Kind, MAX_BODY, MAX_META, REPLY_OCTETS, STREAM } from "./frames.mjs";
import { toJson } from "./results.mjs";
import { ITEM_WEIGHT } from "./streams.mjs";

/** Ids of a worker's own calls have the highest bit. */
const FIRST = 1n << 63n;

/** Most bytes of an input; as in Python. */
const MAX_INPUT = MAX_BODY / 2;

/** Items are credited by this many bytes: each on its own would be a frame for a frame. */
const CREDITED_AT_ONCE = 65_536;

/** A call to another agent that has no result. `code` is one of the host's error codes: `agent_error` if the other agent
 * failed, `agent_not_found`, `forbidden`, `input_invalid`, `queue_full`, `deadline_exceeded` and so on. */
export class CallFailed extends Error {
  constructor({ code = "internal", detail = "", error, errors, retry_after: retryAfter }) {
    super(`${code}: ${detail}${error ? ` (${error.type}: ${error.message})` : ""}`);
    this.name = "CallFailed";
    this.code = code;
    this.detail = detail;
    /** What the other agent has thrown: `{type, message}`. */
    this.error = error ?? null;
    /** Where the input does not fit: `[{path, message, schema_path}]`. */
    this.errors = errors ?? null;
    /** Seconds after which another try makes sense. */
    this.retryAfter = retryAfter ?? null;
  }
}

/** One for the worker. */
export class Calls {
  #channel;
  #next = FIRST;
  /** Who waits, by id. */
  #waiting = new Map();

  constructor(channel) {
    this.#channel = channel;
  }

  /** The result of another agent; bytes are a `Buffer`. Rejects with `CallFailed`, or with the reason of `signal`, which
   * ends the other agent's call. `parent` is the id of the call in which this one is made. */
  call(parent, agentId, input = {}, { signal } = {}) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const leave = () => {
        this.#abandon(id);
        reject(signal.reason);
      };
      const id = this.#begin(parent, agentId, input, 0, (reply) => {
        signal?.removeEventListener("abort", leave);
        try {
          resolve(valueOf(reply));
        } catch (error) {
          reject(error);
        }
      });
      signal?.addEventListener("abort", leave, { once: true });
    });
  }

  /** The items of another agent as they come. Leaving the loop ends the other agent's generator. */
  async *stream(parent, agentId, input = {}) {
    const line = new Line();
    const id = this.#begin(parent, agentId, input, STREAM, (reply) => line.put(reply));
    let owed = 0;
    try {
      for (;;) {
        const reply = await line.next();
        if (!(reply.flags & ITEM)) {
          // An agent that yields nothing has answered as a whole.
          if (reply.flags & FAILED || reply.payload.length > 0) yield valueOf(reply);
          return;
        }
        owed += reply.payload.length + ITEM_WEIGHT;
        if (owed >= CREDITED_AT_ONCE) {
          this.#channel.send(Kind.CONSUMED, 0, id, owed);
          owed = 0;
        }
        yield valueOf(reply);
      }
    } finally {
      this.#abandon(id);
    }
  }

  /** A REPLY has come. */
  reply(id, flags, payload) {
    const take = this.#waiting.get(id);
    if (!(flags & ITEM)) this.#waiting.delete(id);
    take?.({ flags, payload });
  }

  #begin(parent, agentId, input, flags, take) {
    const body = Buffer.from(argumentsOf(input));
    if (body.length > MAX_INPUT) throw new RangeError(`the input has ${body.length} bytes, more than ${MAX_INPUT}`);
    const meta = Buffer.from(JSON.stringify({ agent_id: String(agentId), parent }));
    if (meta.length > MAX_META) throw new RangeError("the agent's id is too long");
    const id = this.#next++;
    this.#waiting.set(id, take);
    this.#channel.send(Kind.INVOKE, flags, id, 0, meta, body);
    return id;
  }

  /** Nobody waits any longer. */
  #abandon(id) {
    if (this.#waiting.delete(id)) this.#channel.send(Kind.CONSUMED, ABANDONED, id, 0);
  }
}

/** Answers that come before somebody asks for them. */
class Line {
  #replies = [];
  #asked = null;

  put(reply) {
    if (this.#asked === null) this.#replies.push(reply);
    else this.#asked(reply);
    this.#asked = null;
  }

  next() {
    if (this.#replies.length > 0) return Promise.resolve(this.#replies.shift());
    return new Promise((resolve) => (this.#asked = resolve));
  }
}

function argumentsOf(input) {
  try {
    return toJson(input);
  } catch (error) {
    // It is no result that is refused here, but what the handler has passed.
    throw new TypeError(`the input of the other agent: ${error.message}${error.place ? ` at ${error.place}` : ""}`);
  }
}

function valueOf({ flags, payload }) {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (flags & FAILED) throw new CallFailed(JSON.parse(bytes.toString()));
  return flags & REPLY_OCTETS ? bytes : JSON.parse(bytes.toString());
}
