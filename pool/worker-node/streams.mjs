// The items of generators.
//
// Enters: items, one by one. Leaves: one ITEM frame each, while there is credit for them, or one JSON array, if the
// caller takes a result only as a whole.

import { Kind, LIST, MAX_BODY, OCTETS, PIECES, STREAM } from "./frames.mjs";
import { ResultRefused, isOctets, octets, toJson } from "./results.mjs";

/** Bytes that may be sent before the first CREDIT; the same number as on the other side. */
const FIRST_CREDIT = 262_144;

/** Items of a generator that never waits between two turns of the loop: others would wait for all of them. */
const TURN = 16;

/** Whether a value is something that yields items. */
export function isGenerator(value) {
  const made = (symbol) => typeof value[symbol] === "function" && typeof value.next === "function";
  return value !== null && typeof value === "object" && (made(Symbol.iterator) || made(Symbol.asyncIterator));
}

/** What an item takes besides its bytes. */
export const ITEM_WEIGHT = 64;

/** How much a stream may send. */
export class Credit {
  #left = FIRST_CREDIT;
  #granted = null;

  /** The caller has taken so many bytes. */
  add(amount) {
    this.#left += amount;
    if (this.#left > 0) this.release();
  }

  /** Lets go on whoever waits. */
  release() {
    this.#granted?.();
    this.#granted = null;
  }

  /** Whether an item has to wait. */
  get spent() {
    return this.#left <= 0;
  }

  take(amount) {
    this.#left -= amount + ITEM_WEIGHT;
  }

  /** Until there is more, or nobody to send it to. */
  wait() {
    return new Promise((resolve) => {
      this.#granted = resolve;
    });
  }
}

/** Gives all items of a generator to where they go; with `about` they are the bytes of a file, of which that is known. Returns the
 * end of the call: kind, flags, payload and what is told of it; `null` if it is over already. */
export async function drain(call, items, channel, about = null) {
  const sink = about === null ? new Sink(call, channel) : new FileSink(call, channel, about);
  let count = 0;
  // Whatever ends the loop early closes the generator.
  for await (const item of items) {
    while (call.credit.spent && !call.over) await call.credit.wait();
    if (call.over) return null;
    sink.push(item);
    count += 1;
    if (count % TURN === 0) await new Promise(setImmediate);
  }
  return call.over ? null : sink.ending();
}

/** Sends the items of a call, and keeps what is not sent. */
class Sending {
  #call;
  #channel;
  #size = 0;
  kept = [];
  count = 0;

  constructor(call, channel) {
    this.#call = call;
    this.#channel = channel;
  }

  allows(flag) {
    return Boolean(this.#call.flags & flag);
  }

  send(body, flags, meta = "") {
    const size = Buffer.byteLength(body);
    if (size > MAX_BODY) {
      throw new ResultRefused(`/${this.count}`, `the item has ${size} bytes, more than ${MAX_BODY}`, "RangeError");
    }
    this.#call.credit.take(size + Buffer.byteLength(meta));
    this.#call.begunToSend();
    this.#channel.send(Kind.ITEM, flags, this.#call.id, this.count % 0x100000000, meta, body);
    this.count += 1;
  }

  keep(body) {
    this.#size += Buffer.byteLength(body) + 1;
    if (this.#size > MAX_BODY) {
      throw new ResultRefused(`/${this.count}`, `the items are more than ${MAX_BODY} bytes`, "RangeError");
    }
    this.kept.push(body);
    this.count += 1;
  }
}

/** Where the bytes of a file go, as the frame of its call says. */
class FileSink {
  #sending;
  #about;

  constructor(call, channel, about) {
    this.#sending = new Sending(call, channel);
    this.#about = about;
  }

  push(piece) {
    if (!isOctets(piece)) throw new ResultRefused(`/${this.#sending.count}`, "a file is made of bytes", "TypeError");
    const meta = this.#sending.count === 0 ? JSON.stringify(this.#about) : "";
    if (this.#sending.allows(PIECES)) this.#sending.send(octets(piece), OCTETS, meta);
    else this.#sending.keep(octets(piece));
  }

  ending() {
    const { count, kept } = this.#sending;
    if (count > 0 && kept.length === 0) return { kind: Kind.END, flags: 0, payload: "", about: null };
    return { kind: Kind.RESULT, flags: OCTETS, payload: Buffer.concat(kept), about: this.#about };
  }
}

/** Where the items of a generator go, as the frame of its call says. */
class Sink {
  #sending;
  /** `undefined` before the first item. */
  #octets;

  constructor(call, channel) {
    this.#sending = new Sending(call, channel);
  }

  push(item) {
    const place = `/${this.#sending.count}`;
    // The first item decides where only bytes are sent one by one.
    this.#octets ??= this.#sending.allows(PIECES) && isOctets(item);
    if (this.#octets && !isOctets(item)) {
      throw new ResultRefused(place, "an item that is no bytes behind bytes", "TypeError");
    }
    if (!this.#octets && isOctets(item)) throw new ResultRefused(place, "bytes are not JSON", "TypeError");
    const body = this.#octets ? octets(item) : toJson(item, place);
    if (this.#sends) this.#sending.send(body, this.#octets ? OCTETS : 0);
    else this.#sending.keep(body);
  }

  ending() {
    if (this.#sends) return { kind: Kind.END, flags: 0, payload: "", about: null };
    return { kind: Kind.RESULT, flags: LIST, payload: `[${this.#sending.kept.join(",")}]`, about: null };
  }

  get #sends() {
    return this.#sending.allows(STREAM) || this.#octets;
  }
}
