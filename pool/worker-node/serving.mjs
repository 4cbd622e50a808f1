// A worker that serves: async handlers side by side, plain functions one after the other.
//
// Enters: calls and commands from the wire. Leaves: one ending frame for each call that was started here.

import { broken, leave } from "./channel.mjs";
import { Call, LATE, LEFT } from "./call.mjs";
import { Calls } from "./calls.mjs";
import { now } from "./clock.mjs";
import { forget } from "./context.mjs";
import { ofAgent, payload } from "./failures.mjs";
import { FILES, FrameError, Kind, MAX_BODY, OCTETS } from "./frames.mjs";
import { File, OCTETS_TYPE } from "./outgoing.mjs";
import { received } from "./received.mjs";
import { ResultRefused, isOctets, octets, toJson } from "./results.mjs";
import { drain, isGenerator } from "./streams.mjs";

/** How long a handler may go on after its call was interrupted before the end is said without it, in milliseconds.
 * Nothing can make it stop: it is told by `context.signal`. */
const GRACE = 100;

/** How long plain functions may run one after the other before timers and other calls have a turn. */
const TURN = 1;

/** Calls that took longer than this also tell the most memory that their process has had so far. Microseconds, as in Python. */
const LONG = 10_000;

/** What is known of bytes that are no file. */
const OCTETS_ABOUT = { content_type: OCTETS_TYPE };
const DEADLINE = payload("deadline", "TimeoutError", "the call did not end before its deadline");

export class Serving {
  #calls;
  #channel;
  #claims;
  #handlers;
  #package;
  /** Calls that have started and have not ended. */
  #active = new Map();
  /** Calls of plain functions that have not started. */
  #queue = [];
  /** One of those that goes on although its function has returned; the next one waits for its end. */
  #going = null;
  #stopping = false;
  /** Whether it will be asked soon if there is nothing to do. */
  #asking = false;

  constructor(handlers, channel, claims, packageId) {
    this.#handlers = handlers;
    this.#channel = channel;
    this.#calls = new Calls(channel);
    this.#claims = claims;
    this.#package = packageId;
    channel.rest();
  }

  /** A message of the wire. */
  obey(said) {
    if (said.calls) this.#take(said.calls);
    else if (said.cancel) this.#interrupt(this.#active.get(said.cancel), LEFT);
    else if (said.credit) this.#active.get(said.credit)?.credit.add(said.amount);
    else if (said.reply) this.#calls.reply(said.reply, said.flags, said.payload);
    else if (said.forget !== undefined) forget(said.forget);
    else if (said.stop) this.#stop();
    // par has closed the socket: nobody would get the answers.
    else if (said.end) leave(0);
  }

  #take(frames) {
    const worker = { channel: this.#channel, calls: this.#calls };
    for (const frame of frames) {
      const handler = this.#handlers[frame.a];
      if (handler === undefined) broken(new FrameError(`there is no export ${frame.a}`));
      const call = new Call(frame, `${this.#package}/${handler.id}`, worker);
      if (handler.lane === "sync") this.#queue.push({ call, handler });
      else this.#start(call, handler);
    }
    this.#turn();
  }

  /** Plain functions in their order. */
  #turn() {
    const until = now() + TURN;
    while (this.#queue.length > 0 && this.#going === null) {
      if (now() > until) {
        setImmediate(() => this.#turn());
        return;
      }
      const { call, handler } = this.#queue.shift();
      this.#start(call, handler);
      if (this.#active.has(call.id)) this.#going = call;
    }
    this.#leaveIfDone();
  }

  /** Runs a handler; what it returns may go on. */
  #start(call, handler) {
    // Given back, or cancelled, meanwhile.
    if (!this.#claims.start(call.cell)) return;
    this.#active.set(call.id, call);
    this.#channel.started(call.id);
    if (!call.begin()) {
      this.#end(call, Kind.ERROR, 0, DEADLINE);
      return;
    }
    let value;
    try {
      value = handler.invoke(inputOf(call), call.context);
    } catch (error) {
      this.#fail(call, error);
      return;
    }
    if (isThenable(value) || isGenerator(value) || value instanceof File) {
      call.watch(() => this.#interrupt(call, LATE));
      this.#settle(call, value);
    } else {
      this.#finish(call, value);
    }
  }

  async #settle(call, value) {
    try {
      const result = isThenable(value) ? await value : value;
      if (result instanceof File && !call.over) await this.#send(call, result);
      else if (isGenerator(result)) this.#close(call, await drain(call, result, this.#channel));
      else this.#finish(call, result);
    } catch (error) {
      this.#fail(call, error);
    }
  }

  async #send(call, file) {
    const { about, whole, pieces } = await file.open();
    if (whole === undefined) this.#close(call, await drain(call, pieces, this.#channel, about));
    else if (call.over) this.#giveUp(call);
    else this.#end(call, Kind.RESULT, OCTETS, bounded(whole), about);
  }

  /** The end of what was drained. */
  #close(call, ending) {
    if (ending === null) this.#giveUp(call);
    else this.#end(call, ending.kind, ending.flags, bounded(ending.payload), ending.about);
  }

  #finish(call, value) {
    if (call.over) {
      // A result that came after all: the caller has been answered without it.
      this.#giveUp(call);
      return;
    }
    try {
      if (isOctets(value)) this.#end(call, Kind.RESULT, OCTETS, bounded(octets(value)), OCTETS_ABOUT);
      else this.#end(call, Kind.RESULT, 0, bounded(toJson(value)));
    } catch (error) {
      this.#fail(call, error);
    }
  }

  #fail(call, error) {
    if (call.over) {
      this.#giveUp(call);
    } else if (error instanceof ResultRefused) {
      const { type, message, place } = error;
      this.#end(call, Kind.ERROR, 0, payload("result", type, message, { place: place.slice(0, 1024) }));
    } else {
      this.#end(call, Kind.ERROR, 0, ofAgent(error));
    }
  }

  #interrupt(call, why) {
    if (call === undefined || call.over) return;
    call.interrupt(why);
    setTimeout(() => this.#giveUp(call), GRACE);
  }

  #giveUp(call) {
    if (call.interrupted === LATE) this.#end(call, Kind.ERROR, 0, DEADLINE);
    else this.#end(call, Kind.CANCELLED, 0, "");
  }

  /** Every call ends once, whatever comes later. */
  #end(call, kind, flags, body, about = null) {
    if (call.ended) return;
    const micros = call.end();
    this.#channel.send(kind, flags, call.id, micros, metadata(about, call.used, micros), body);
    this.#active.delete(call.id);
    this.#claims.end(call.cell);
    if (this.#going === call) {
      this.#going = null;
      setImmediate(() => this.#turn());
    }
    this.#restSoon();
    this.#leaveIfDone();
  }

  /** Not at once: of calls that come one after the other only the last is followed by a rest. */
  #restSoon() {
    if (this.#asking || this.#active.size > 0) return;
    this.#asking = true;
    setImmediate(() => {
      this.#asking = false;
      if (this.#active.size === 0 && this.#queue.length === 0) this.#channel.rest();
    });
  }

  #stop() {
    this.#stopping = true;
    this.#leaveIfDone();
  }

  #leaveIfDone() {
    if (this.#stopping && this.#active.size === 0 && this.#queue.length === 0) leave(0);
  }
}

function inputOf(call) {
  if (call.payload.length === 0) return {};
  const input = JSON.parse(Buffer.from(call.payload.buffer).toString("utf8"));
  return call.flags & FILES ? received(input, call.context.files) : input;
}

/** Of a frame that ends a call. Most have none. */
function metadata(about, usage, micros) {
  const isLong = micros > LONG;
  if (about === null && usage.length === 0 && !isLong) return "";
  // Linux counts in KiB.
  const peak = isLong ? { peak_rss_kb: process.resourceUsage().maxRSS } : {};
  return JSON.stringify({ ...about, ...(usage.length > 0 ? { usage } : {}), ...peak });
}

function isThenable(value) {
  return value !== null && typeof value === "object" && typeof value.then === "function";
}

function bounded(body) {
  const size = Buffer.byteLength(body);
  if (size > MAX_BODY) throw new ResultRefused("", `the result has ${size} bytes, more than ${MAX_BODY}`, "RangeError");
  return body;
}
