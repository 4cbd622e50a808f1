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

  /** A call has come. */
  take(cell) {
    Atomics.store(this.#cells, cell, WAITING);
  }

  /** Whether the main thread may start it. */
  start(cell) {
    return Atomics.compareExchange(this.#cells, cell, WAITING, STARTED) === WAITING;
  }

  /** Whether the wire's thread may end it, because it has not started and now never will. */
  takeBack(cell) {
    return Atomics.compareExchange(this.#cells, cell, WAITING, CLOSED) === WAITING;
  }

  /** It has ended. */
  end(cell) {
    Atomics.store(this.#cells, cell, CLOSED);
  }

  /** Whether it runs. */
  runs(cell) {
    return Atomics.load(this.#cells, cell) === STARTED;
  }

  /** Whether it has not ended, in whatever way. */
  isOpen(cell) {
    return Atomics.load(this.#cells, cell) !== CLOSED;
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
