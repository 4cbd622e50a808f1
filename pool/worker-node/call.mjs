// One outstanding call.

import { now } from "./clock.mjs";
import { Context } from "./context.mjs";
import { Credit } from "./streams.mjs";
import { Usage } from "./usage.mjs";

/** Why a call is over before its handler is. */
export const LEFT = "left";
export const LATE = "late";

export class Call {
  #aborting = null;
  #credit = null;
  #channel;
  #timer = null;
  #usage = null;

  /** `ident` is the full id of its agent; `worker` has the channel and the calls that handlers make. */
  constructor(frame, ident, worker) {
    this.id = frame.call;
    this.cell = frame.cell;
    this.flags = frame.flags;
    this.limit = frame.b;
    this.meta = frame.meta;
    this.payload = frame.payload;
    this.received = frame.received;
    this.#channel = worker.channel;
    this.context = new Context(this, ident, worker.calls);
    /** When its handler began, by our clock. */
    this.begun = 0;
    /** `null`, `LEFT` or `LATE`. */
    this.interrupted = null;
    /** Whether its end was said. */
    this.ended = false;
  }

  /** Whether nobody waits for what its handler does. */
  get over() {
    return this.ended || this.interrupted !== null;
  }

  /** What its items may be sent by. */
  get credit() {
    this.#credit ??= new Credit();
    return this.#credit;
  }

  /** Where its handler tells what it has used. */
  get usage() {
    this.#usage ??= new Usage(this, this.#channel);
    return this.#usage;
  }

  /** What it has used, as it travels. */
  get used() {
    return this.#usage?.entries ?? [];
  }

  /** Made when somebody asks: most handlers do not. */
  get signal() {
    this.#aborting ??= new AbortController();
    if (this.interrupted !== null) this.#aborting.abort(reason(this.interrupted));
    return this.#aborting.signal;
  }

  /** Begins; false if its deadline has passed before. */
  begin() {
    this.begun = now();
    return this.limit === 0 || this.begun - this.received <= this.limit;
  }

  /** Calls `expire` at its deadline. */
  watch(expire) {
    if (this.limit === 0 || this.over) return;
    this.#timer = setTimeout(expire, Math.max(1, this.received + this.limit - now()));
  }

  /** Its deadline is for the first item. */
  begunToSend() {
    clearTimeout(this.#timer);
  }

  /** Nobody waits any more. */
  interrupt(why) {
    if (this.over) return;
    this.interrupted = why;
    this.#aborting?.abort(reason(why));
    this.#credit?.release();
  }

  /** Microseconds since its begin. */
  end() {
    this.ended = true;
    clearTimeout(this.#timer);
    this.#credit?.release();
    return Math.round((now() - this.begun) * 1000);
  }
}

function reason(why) {
  return why === LATE
    ? new DOMException("the call's deadline has passed", "TimeoutError")
    : new DOMException("the caller has left", "AbortError");
}
