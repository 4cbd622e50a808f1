// The calls that have come and were not seen to end, as the wire's thread knows them.
//
// Enters: ids and deadlines. Leaves: the cell of each, and which may be given back. The main thread ends calls
// without a word; their cells are found by looking at a few at every new call.

import { CELLS } from "./claims.mjs";

/** Cells looked at for each new call: two, so that the number that is kept is at most twice that of open calls. */
const LOOKS = 2;

export class Outstanding {
  #claims;
  #calls = new Map();
  #free = [];
  #used = 0;

  constructor(claims) {
    this.#claims = claims;
  }

  /** How many are kept. */
  get size() {
    return this.#calls.size;
  }

  /** A call has come; `deadline` is 0 or a time of our clock. Returns the claim to its cell. */
  add(call, deadline) {
    this.#look(LOOKS);
    if (this.#free.length === 0 && this.#used === CELLS) this.#look(CELLS);
    const place = this.#free.pop() ?? this.#used++;
    if (place >= CELLS) throw new RangeError(`more than ${CELLS} calls at once`);
    const cell = this.#claims.take(place);
    this.#calls.set(call, { cell, deadline, left: false });
    return cell;
  }

  /** Takes back every call that has not started. */
  takeBackAll() {
    const taken = [...this.#calls].filter(([, { cell }]) => this.#claims.takeBack(cell));
    this.#look(this.#calls.size);
    return taken.map(([call]) => call);
  }

  /** Takes back one of them. */
  takeBack(call) {
    const entry = this.#calls.get(call);
    return entry !== undefined && this.#claims.takeBack(entry.cell);
  }

  /** The caller of a call that runs has left. False if it does not run. */
  leave(call) {
    const entry = this.#calls.get(call);
    if (entry === undefined || !this.#claims.runs(entry.cell)) return false;
    entry.left = true;
    return true;
  }

  /** Whether a call runs on without its caller after its deadline. */
  isStuck(time) {
    const stuck = ({ cell, deadline, left }) => left && deadline !== 0 && time >= deadline && this.#claims.runs(cell);
    return [...this.#calls.values()].some(stuck);
  }

  #look(most) {
    let looks = Math.min(most, this.#calls.size);
    for (const [call, entry] of this.#calls) {
      if (looks-- === 0) break;
      this.#calls.delete(call);
      // To the end: the next look is for others.
      if (this.#claims.isOpen(entry.cell)) this.#calls.set(call, entry);
      else this.#free.push(this.#claims.cell(entry.cell));
    }
  }
}
