// What handlers return, as JSON.
//
// Enters: a value. Leaves: JSON text. Beyond what `JSON.stringify` knows:
//
// | value | becomes |
// |---|---|
// | `undefined` | `null` |
// | `Map` with text for keys | object |
// | `Set` and typed arrays | arrays |
//
// NaN and infinity, BigInt and cycles are refused, with the place where they were.

/** A result that cannot be JSON. `place` is a JSON Pointer, `type` the class of what was found there. */
export class ResultRefused extends Error {
  constructor(place, message, type) {
    super(message);
    this.place = place;
    this.type = type;
  }
}

/** Whether a value is bytes: it is sent as it is. */
export function isOctets(value) {
  return value instanceof Uint8Array || value instanceof ArrayBuffer;
}

/** Those bytes. */
export function octets(value) {
  return value instanceof Uint8Array ? value : new Uint8Array(value);
}

/** JSON text. Throws `ResultRefused`, `place` begins with `prefix`. */
export function toJson(value, prefix = "") {
  let text;
  try {
    text = JSON.stringify(value) ?? "null";
  } catch (error) {
    throw located(value, prefix, error);
  }
  // What is lost without a word leaves one of these behind; without them nobody has to look.
  if (text.includes("null")) refuseNumbers(value, prefix);
  return text.includes("{}") || text.includes('{"0":') ? JSON.stringify(value, plainer) : text;
}

/** For `JSON.stringify`: collections that it takes for empty objects, and arrays that it takes for objects. */
function plainer(_key, value) {
  if (value instanceof Map) return Object.fromEntries(value);
  if (value instanceof Set || (ArrayBuffer.isView(value) && !(value instanceof DataView))) return [...value];
  return value;
}

/** NaN and infinity would become `null`. */
function refuseNumbers(value, prefix) {
  walk(value, prefix, (one, place) => {
    if (typeof one === "number" && !Number.isFinite(one)) {
      throw new ResultRefused(place, `${one} is not JSON`, "RangeError");
    }
  });
}

/** The refusal for what `JSON.stringify` has thrown, with its place if it can be found. */
function located(value, prefix, error) {
  try {
    walk(value, prefix, (one, place) => {
      if (typeof one === "bigint") throw new ResultRefused(place, "a BigInt is not JSON", "TypeError");
    });
  } catch (found) {
    if (found instanceof ResultRefused) return found;
  }
  return new ResultRefused(prefix, error.message.split("\n")[0], error.name);
}

function walk(value, place, visit, above = []) {
  visit(value, place);
  if (value === null || typeof value !== "object") return;
  if (above.includes(value)) throw new ResultRefused(place, "the object contains itself", "TypeError");
  if (typeof value.toJSON === "function") return;
  for (const [key, member] of Object.entries(value)) {
    walk(member, `${place}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`, visit, [...above, value]);
  }
}
