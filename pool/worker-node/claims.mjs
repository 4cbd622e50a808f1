// Who may end a call: one cell of shared memory for each, changed by one atomic step.
//
// The wire's thread takes calls in, the main thread starts them, and either may come first. A call that the main
// thread has claimed is started; one that the wire has claimed is given back, or was cancelled before its start.

/** States of a cell. */
const CLOSED = 0;
const WAITING = 1;
const STARTED = 2;

/** Cells, one for each call that is outstanding. `par` sends far fewer at a time: a window of one export's calls. */
export const CELLS = 65_536;

/** Stamps of a cell before they begin anew, and what masks them: with its state one fits 32 bits. */
const STAMPS = 0x0fffffff;

/** How long a thread sleeps that waits for another one's write, or for room in a socket, in milliseconds. */
const NAP = 0.1;

/** Shared by both threads; `memory` is what one hands to the other. */
export class Claims {
  #cells;
  #writing;

  constructor(memory = new SharedArrayBuffer((CELLS + 2) * Int32Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#cells = new Int32Array(memory, 0, CELLS);
    this.#writing = new Int32Array(memory, CELLS * Int32Array.BYTES_PER_ELEMENT, 2);
  }

  /** A call has come and gets this cell: the claim to it, by which both threads know it. A cell that had another call
   * before has another stamp, so that nobody who still holds the old claim takes the new call for his. */
  take(cell) {
    const stamp = ((Atomics.load(this.#cells, cell) >> 2) + 1) & STAMPS;
    Atomics.store(this.#cells, cell, (stamp << 2) | WAITING);
    return stamp * CELLS + cell;
  }

  /** The cell of a claim. */
  cell(claim) {
    return claim % CELLS;
  }

  /** Whether the main thread may start it. */
  start(claim) {
    return this.#change(claim, WAITING, STARTED);
  }

  /** Whether the wire's thread may end it, because it has not started and now never will. */
  takeBack(claim) {
    return this.#change(claim, WAITING, CLOSED);
  }

  /** It has ended. */
  end(claim) {
    this.#change(claim, STARTED, CLOSED);
  }

  /** Whether it runs. */
  runs(claim) {
    return Atomics.load(this.#cells, this.cell(claim)) === stamped(claim, STARTED);
  }

  /** Whether it has not ended, in whatever way. */
  isOpen(claim) {
    const now = Atomics.load(this.#cells, this.cell(claim));
    return now === stamped(claim, WAITING) || now === stamped(claim, STARTED);
  }

  #change(claim, from, to) {
    const before = stamped(claim, from);
    return Atomics.compareExchange(this.#cells, this.cell(claim), before, stamped(claim, to)) === before;
  }

  /** Runs `write` while nobody else writes to the main socket: frames of two threads must not mix. */
  alone(write) {
    while (Atomics.compareExchange(this.#writing, 0, 0, 1) !== 0) Atomics.wait(this.#writing, 0, 1, NAP);
    try {
      write();
    } finally {
      Atomics.store(this.#writing, 0, 0);
      Atomics.notify(this.#writing, 0);
    }
  }

  /** Sleeps for a moment. */
  nap() {
    Atomics.wait(this.#writing, 1, 0, NAP);
  }
}

/** What stands in the cell of a claim that is in this state. */
function stamped(claim, state) {
  return (Math.floor(claim / CELLS) << 2) | state;
}
