// One clock for all threads.

/** Milliseconds of the system's monotonic clock. */
export function now() {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}
