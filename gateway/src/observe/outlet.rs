//! Standard output behind a thread of its own: a reader that stalls holds up neither who logs nor who reads lines over
//! the management API.

use std::{
    io::{self, Write},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use parking_lot::{Condvar, Mutex};

/// Most bytes that wait for standard output; batches beyond are dropped and counted. At 50,000 lines a second of 350 bytes
/// it is half a second of a reader that stalls: more would only make memory grow before the same loss.
pub(super) const MAX_WAITING: usize = 8 << 20;

/// Most bytes that may wait when a package prints. The rest is for lines of our own: a package that prints faster than lines
/// are written costs itself lines, and not the access lines of everybody.
pub(super) const MAX_PRINTED: usize = MAX_WAITING / 2;

/// Capacity that a buffer keeps between writes.
const KEPT_CAPACITY: usize = 1 << 20;

/// Takes batches of whole lines; dropped, it writes what it has and ends.
pub(super) struct Outlet(Arc<Inner>);

struct Inner {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    written: Condvar,
    dropped: Arc<AtomicU64>,
}

#[derive(Default)]
struct Waiting {
    buffer: Vec<u8>,
    lines: u64,
    /// Batches taken and batches written since the start.
    taken: u64,
    written: u64,
    is_closed: bool,
}

impl Outlet {
    /// Starts the thread; lines that cannot be written are counted in `dropped`.
    pub(super) fn start(output: Box<dyn Write + Send>, dropped: Arc<AtomicU64>) -> io::Result<Self> {
        let (waiting, wake, written) = (Mutex::default(), Condvar::new(), Condvar::new());
        let inner = Arc::new(Inner { waiting, wake, written, dropped });
        let outlet = Self(Arc::clone(&inner));
        thread::Builder::new().name("par-stdout".to_owned()).spawn(move || inner.run(output))?;
        Ok(outlet)
    }

    /// How many bytes more may wait with lines that packages have printed among them.
    pub(super) fn room(&self) -> usize {
        MAX_PRINTED.saturating_sub(self.0.waiting.lock().buffer.len())
    }

    /// Takes a batch. Never waits: one that finds no room is dropped and counted.
    pub(super) fn push(&self, batch: &[u8], lines: u64) {
        // Of what a package has printed nothing may be left, and nobody writes nothing.
        if batch.is_empty() {
            return;
        }
        let mut waiting = self.0.waiting.lock();
        if !waiting.buffer.is_empty() && waiting.buffer.len() + batch.len() > MAX_WAITING {
            drop(waiting);
            self.0.dropped.fetch_add(lines, Ordering::Relaxed);
            return;
        }
        waiting.buffer.extend_from_slice(batch);
        waiting.lines += lines;
        waiting.taken += 1;
        drop(waiting);
        self.0.wake.notify_one();
    }

    /// Waits until everything taken so far is written, at most until the deadline. Returns whether it was.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        let mut waiting = self.0.waiting.lock();
        let goal = waiting.taken;
        while waiting.written < goal {
            if self.0.written.wait_until(&mut waiting, deadline).timed_out() {
                return waiting.written >= goal;
            }
        }
        true
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.0.waiting.lock().is_closed = true;
        self.0.wake.notify_one();
    }
}

impl Inner {
    fn run(&self, mut output: Box<dyn Write + Send>) {
        let mut batch = Vec::new();
        loop {
            let (lines, taken) = {
                let mut waiting = self.waiting.lock();
                while waiting.buffer.is_empty() {
                    if waiting.is_closed {
                        return;
                    }
                    self.wake.wait(&mut waiting);
                }
                mem::swap(&mut batch, &mut waiting.buffer);
                (mem::take(&mut waiting.lines), waiting.taken)
            };
            // A standard output that is gone cannot be told about: the lines are remembered all the same.
            if output.write_all(&batch).and_then(|()| output.flush()).is_err() {
                self.dropped.fetch_add(lines, Ordering::Relaxed);
            }
            batch.clear();
            batch.shrink_to(KEPT_CAPACITY);
            self.waiting.lock().written = taken;
            self.written.notify_all();
        }
    }
}
