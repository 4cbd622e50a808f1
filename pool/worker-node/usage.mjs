// What a call has used, as its handler tells it.
//
// Enters: `record({model, inputTokens, outputTokens})`, as often as needed. Leaves: one sum for each model in the metadata of
// the call's end; and meanwhile the sums so far, so that they outlive this process.

import { now } from "./clock.mjs";
import { Kind, MAX_META } from "./frames.mjs";

/** Metadata of a frame is at most 64 KiB; this many models of this length always fit. As in Python. */
const MAX_MODELS = 64;
const MAX_NAME = 200;
const MAX_COUNTS = 16;

/** Where models beyond the limit are summed up, so that no token is lost. */
const OTHER = "other";

/** How far apart sums of one call are told, in milliseconds: who reports in a loop should not pay for a frame each time. */
const APART = 10;

/** One for a call. */
export class Usage {
  #sums = new Map();
  #call;
  #channel;
  #told = -APART;

  constructor(call, channel) {
    this.#call = call;
    this.#channel = channel;
  }

  /** Adds to what the call has used. `counts` are further whole numbers by name. Throws `RangeError` for what is no count. */
  record({ model, inputTokens = 0, outputTokens = 0, ...counts }) {
    const further = Object.entries(counts);
    if (further.length > MAX_COUNTS) throw new RangeError(`at most ${MAX_COUNTS} further counts, not ${further.length}`);
    for (const [name, amount] of [["inputTokens", inputTokens], ["outputTokens", outputTokens], ...further]) {
      if (!Number.isSafeInteger(amount) || amount < 0) {
        throw new RangeError(`${name} must be a whole number and not negative, not ${amount}`);
      }
    }
    // Who is charged for it has been told when the call was over.
    if (this.#call.ended) return;
    const entry = this.#entry(String(model).slice(0, MAX_NAME));
    entry.input_tokens += inputTokens;
    entry.output_tokens += outputTokens;
    for (const [name, amount] of further) {
      const key = name.slice(0, MAX_NAME);
      if (key in entry || Object.keys(entry).length < 3 + MAX_COUNTS) entry[key] = (entry[key] ?? 0) + amount;
    }
    this.#tell();
  }

  /** The sums as they travel in `usage`. */
  get entries() {
    return [...this.#sums.values()];
  }

  #entry(model) {
    const name = this.#sums.has(model) || this.#sums.size < MAX_MODELS ? model : OTHER;
    if (!this.#sums.has(name)) this.#sums.set(name, { model: name, input_tokens: 0, output_tokens: 0 });
    return this.#sums.get(name);
  }

  #tell() {
    if (now() - this.#told < APART) return;
    this.#told = now();
    const meta = JSON.stringify({ usage: this.entries });
    if (Buffer.byteLength(meta) <= MAX_META) this.#channel.send(Kind.USED, 0, this.#call.id, 0, meta);
  }
}
