// Errors as data.
//
// Enters: whatever a handler has thrown. Leaves: the JSON of an ERROR frame or of a FAILED one: type, message and
// stack, each bounded, without the runtime's own lines.

import path from "node:path";
import { fileURLToPath } from "node:url";

/** A message is for a person; more than this is data that went astray. */
const MAX_MESSAGE = 8 * 1024;

/** The beginning of a stack names the cause; two hundred lines fit. */
const MAX_TRACEBACK = 32 * 1024;

const OURS = path.dirname(fileURLToPath(import.meta.url)) + path.sep;

/** A module or a handler that cannot be used. `phase` is "import" or "handler"; the cause is chained. */
export class LoadError extends Error {
  constructor(phase, id, cause) {
    super(`${phase} of ${id}`, { cause });
    this.phase = phase;
    this.id = id;
  }
}

/** The payload of an ERROR frame. */
export function payload(kind, type, message, more = {}) {
  return JSON.stringify({ kind, type, message: clip(message, MAX_MESSAGE), ...more });
}

/** The payload for what a handler has thrown. */
export function ofAgent(error) {
  return payload("agent", typeOf(error), messageOf(error), { traceback: tracebackOf(error) });
}

/** The payload of a FAILED frame. */
export function ofStart({ phase, id, cause }) {
  const message = clip(messageOf(cause), MAX_MESSAGE);
  return JSON.stringify({ phase, export: id, type: typeOf(cause), message, traceback: tracebackOf(cause) });
}

/** The name of a value's class, or of its type. */
export function typeOf(value) {
  if (value instanceof Error) return String(value.name || value.constructor?.name || "Error");
  return value?.constructor?.name ?? String(value === null ? "null" : typeof value);
}

function messageOf(error) {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch (second) {
    // Its text is code of the agent and may fail itself.
    return `<its text could not be made: ${typeOf(second)}>`;
  }
}

function tracebackOf(error) {
  const seen = new Set();
  const parts = [];
  for (let one = error; one instanceof Error && !seen.has(one); one = one.cause) {
    seen.add(one);
    const lines = String(one.stack ?? one).split("\n");
    parts.push(lines.filter((line) => !line.includes(OURS)).join("\n"));
  }
  return clip(parts.join("\ncaused by: "), MAX_TRACEBACK);
}

/** At most `limit` bytes of text. */
export function clip(text, limit) {
  // Half a character at the end, and lone halves of pairs, become replacement characters.
  return Buffer.byteLength(text) <= limit ? text.toWellFormed?.() ?? text : Buffer.from(text).subarray(0, limit).toString();
}
