//! Noticing a worker that makes no progress. Pure but for the timer that it is given.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep};

/// Notices a worker that makes no progress with more than one call outstanding. One timer per worker and
/// millisecond, not one per call.
#[derive(Debug, Default)]
pub(super) struct Stall {
    armed: bool,
    moved: bool,
    called: bool,
}

impl Stall {
    /// How long a worker may be silent with more than one call before those that have not started are called back.
    /// Twice the window's budget, and the resolution of the timer: half would call back on scheduling hiccups, double
    /// would add to the tail of every short call that waits behind a long one.
    pub(super) const AFTER: Duration = Duration::from_millis(1);

    /// Something came from the worker.
    pub(super) fn progress(&mut self) {
        self.moved = true;
        self.called = false;
    }

    /// Sets the timer if there is something to watch; whether it runs.
    pub(super) fn arm(&mut self, outstanding: usize, tick: Pin<&mut Sleep>) -> bool {
        if outstanding > 1 && !self.called && !self.armed {
            tick.reset(Instant::now() + Self::AFTER);
            self.armed = true;
            self.moved = false;
        }
        self.armed
    }

    /// The timer fired: whether nothing moved since it was set.
    pub(super) fn fired(&mut self) -> bool {
        self.armed = false;
        let stalled = !self.moved;
        self.called = stalled;
        stalled
    }
}
