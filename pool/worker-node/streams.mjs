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
const ITEM_WEIGHT = 64;

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

/** Gives all items of a generator to where they go. Returns the end of the call: kind, flags and payload; `null` if
 * it is over already. */
export async function drain(call, items, channel) {
  const sink = new Sink(call, channel);
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

/** Where the items of a call go, as its frame says. */
class Sink {
  #call;
  #channel;
  #kept = [];
  #size = 2;
  #count = 0;
  /** `undefined` before the first item. */
  #octets;

  constructor(call, channel) {
    this.#call = call;
    this.#channel = channel;
  }

  push(item) {
    // The first item decides where only bytes are sent one by one.
    this.#octets ??= Boolean(this.#call.flags & PIECES) && isOctets(item);
    if (this.#octets && !isOctets(item)) {
      throw new ResultRefused(`/${this.#count}`, "an item that is no bytes behind bytes", "TypeError");
    }
    if (!this.#octets && isOctets(item)) {
      throw new ResultRefused(`/${this.#count}`, "bytes are not JSON", "TypeError");
    }
    const body = this.#octets ? octets(item) : toJson(item, `/${this.#count}`);
    const size = Buffer.byteLength(body);
    if (this.#sends) this.#send(body, size);
    else this.#keep(body, size);
    this.#count += 1;
  }

  ending() {
    if (this.#sends) return { kind: Kind.END, flags: 0, payload: "" };
    return { kind: Kind.RESULT, flags: LIST, payload: `[${this.#kept.join(",")}]` };
  }

  get #sends() {
    return Boolean(this.#call.flags & STREAM) || this.#octets;
  }

  #send(body, size) {
    if (size > MAX_BODY) {
      throw new ResultRefused(`/${this.#count}`, `the item has ${size} bytes, more than ${MAX_BODY}`, "RangeError");
    }
    this.#call.credit.take(size);
    this.#call.begunToSend();
    this.#channel.send(Kind.ITEM, this.#octets ? OCTETS : 0, this.#call.id, this.#count % 0x100000000, "", body);
  }

  #keep(body, size) {
    this.#size += size + 1;
    if (this.#size > MAX_BODY) {
      throw new ResultRefused(`/${this.#count}`, `the items are more than ${MAX_BODY} bytes`, "RangeError");
    }
    this.#kept.push(body);
  }
}
