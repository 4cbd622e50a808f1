// What a handler can know about the call that it serves: its second parameter.
//
// Enters: a frame. Leaves: a `Context`. Nothing is parsed before somebody asks.

import { now } from "./clock.mjs";
import { File } from "./outgoing.mjs";

/** States of sessions by their keys, which are never used again. Kept until `par` says FORGET. */
const states = new Map();

/** Drops a session's state. */
export function forget(key) {
  states.delete(key);
}

/** One call. */
export class Context {
  #call;
  #calls;
  #id;
  #said;
  #state;

  constructor(call, id, calls) {
    this.#call = call;
    this.#id = id;
    this.#calls = calls;
  }

  /** Calls another agent of the host, by any of its ids; private ones are agents of the host, too. Returns a promise of its result, bytes as
   * a `Buffer`; rejects with `CallFailed`, whose `code` is the host's. `signal` ends that call. */
  call(agentId, input = {}, { signal } = {}) {
    return this.#calls.call(this.#call.id, agentId, input, { signal });
  }

  /** The items of another agent as they come, for `for await`. Leaving the loop ends the other agent's generator. */
  stream(agentId, input = {}) {
    return this.#calls.stream(this.#call.id, agentId, input);
  }

  /** `usage.record({model, inputTokens, outputTokens})` adds to what this call is charged. */
  get usage() {
    return this.#call.usage;
  }

  /** A result that is a file, of exactly one of `path`, `data` and `chunks`, with `name`, `contentType` and `disposition` if they are
   * known. */
  file(of) {
    return new File(of);
  }

  /** Files that came with the call: `{directory, members}`. */
  get files() {
    return this.#meta.files;
  }

  /** The name of the request in logs. */
  get requestId() {
    return this.#meta.request_id ?? "";
  }

  /** Full id of the agent that was called. */
  get agentId() {
    return this.#meta.agent_id ?? this.#id;
  }

  /** Version of the package. */
  get version() {
    return this.#id.split("/")[0].split("@")[1] ?? "";
  }

  /** `{id, state}`, the state kept between the calls of the session if the package has sessions; `null` without one. */
  get session() {
    const named = this.#meta.session;
    if (!named) return null;
    const { id, key } = named;
    // Without a key nothing is kept from call to call.
    if (key === undefined) return { id, state: (this.#state ??= {}) };
    if (!states.has(key)) states.set(key, {});
    return { id, state: states.get(key) };
  }

  /** Who called, as the gateway knows them; `null` without identity. */
  get caller() {
    return this.#meta.caller ?? null;
  }

  /** The caller's `Authorization`; `null` unless the manifest says `forward_authorization: true`. */
  get authorization() {
    return this.#meta.authorization ?? null;
  }

  get traceparent() {
    return this.#meta.traceparent ?? null;
  }

  /** Milliseconds until the deadline, 0 after it; `null` without a deadline. */
  get remaining() {
    const { limit, received } = this.#call;
    return limit ? Math.max(0, received + limit - now()) : null;
  }

  /** Aborted when the caller has left or the deadline has passed. */
  get signal() {
    return this.#call.signal;
  }

  get #meta() {
    this.#said ??= this.#call.meta.length ? JSON.parse(Buffer.from(this.#call.meta).toString()) : {};
    return this.#said;
  }
}
