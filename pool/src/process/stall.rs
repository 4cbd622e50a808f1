//! Noticing a worker that makes no progress. Pure but for the timer that it is given.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep};

/// Notices a worker that makes no progress with more than one call outstanding. One timer per worker and
/// millisecond, not one per call.
///
/// A worker that had no processor when it was asked may have taken itself for idle, and begin a long call after it:
/// it is asked again, each time after twice as long, so that one that can't hear is not told much.
#[derive(Debug, Default)]
pub(super) struct Stall {
    armed: bool,
    moved: bool,
    asked: u32,
}

impl Stall {
    /// How long a worker may be silent with more than one call before those that have not started are called back.
    /// Twice the window's budget, and the resolution of the timer: half would call back on scheduling hiccups, double
    /// would add to the tail of every short call that waits behind a long one.
    pub(super) const AFTER: Duration = Duration::from_millis(1);

    /// How often that is doubled at most: to 17 minutes.
    const MOST_DOUBLED: u32 = 20;

    /// Something came from the worker.
    pub(super) fn progress(&mut self) {
        self.moved = true;
        if self.asked > 0 {
            // The timer is set for long, and what comes now is watched from now on.
            self.asked = 0;
            self.armed = false;
        }
    }

    /// Sets the timer if there is something to watch; whether it runs.
    pub(super) fn arm(&mut self, outstanding: usize, tick: Pin<&mut Sleep>) -> bool {
        if outstanding > 1 && !self.armed {
            tick.reset(Instant::now() + Self::AFTER * (1 << self.asked));
            self.armed = true;
            self.moved = false;
        }
        self.armed
    }

    /// The timer fired: whether nothing moved since it was set.
    pub(super) fn fired(&mut self) -> bool {
        self.armed = false;
        let stalled = !self.moved;
        if stalled {
            self.asked = (self.asked + 1).min(Self::MOST_DOUBLED);
        }
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arms the timer, which then runs for so many times of `AFTER`.
    fn arms(stall: &mut Stall, times: u32, mut tick: Pin<&mut Sleep>) {
        let (before, wait) = (Instant::now(), Stall::AFTER * times);
        assert!(stall.arm(2, tick.as_mut()));
        assert!((before + wait..=Instant::now() + wait).contains(&tick.deadline()), "{times} ms");
    }

    #[tokio::test]
    async fn a_silent_worker_is_asked_again_each_time_after_twice_as_long() {
        let mut stall = Stall::default();
        let tick = tokio::time::sleep(Stall::AFTER);
        tokio::pin!(tick);
        for doubled in [1, 2, 4, 8] {
            arms(&mut stall, doubled, tick.as_mut());
            assert!(stall.fired());
        }
        assert!(!stall.arm(1, tick.as_mut()), "a call alone holds nobody up");
    }

    #[tokio::test]
    async fn a_worker_that_has_moved_is_watched_anew() {
        let mut stall = Stall::default();
        let tick = tokio::time::sleep(Stall::AFTER);
        tokio::pin!(tick);
        for _ in 0..10 {
            stall.arm(2, tick.as_mut());
            assert!(stall.fired());
        }
        // The timer runs for a second now; the answer ends that.
        arms(&mut stall, 1 << 10, tick.as_mut());
        stall.progress();
        arms(&mut stall, 1, tick.as_mut());
        assert!(stall.fired());
    }

    #[tokio::test]
    async fn a_worker_that_moves_is_not_asked() {
        let mut stall = Stall::default();
        let tick = tokio::time::sleep(Stall::AFTER);
        tokio::pin!(tick);
        assert!(stall.arm(2, tick.as_mut()));
        stall.progress();
        assert!(!stall.fired());
    }
}
