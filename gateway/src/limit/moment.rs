//! One moment on both clocks: the steady one for rates, the calendar for days.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds of a day (UTC has no other days for us: leap seconds are hidden by the clock).
pub(super) const DAY: u64 = 86_400;

/// Now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// On the clock that never jumps.
    pub(super) steady: Instant,
    /// Since the epoch of Unix.
    pub(super) calendar: Duration,
}

impl Moment {
    /// Reads both clocks.
    pub(crate) fn now() -> Self {
        // A clock before 1970 is held for 1970.
        let calendar = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { steady: Instant::now(), calendar }
    }

    /// The number of the day.
    pub(super) fn day(&self) -> u64 {
        self.calendar.as_secs() / DAY
    }

    /// Time until the next day.
    pub(super) fn until_tomorrow(&self) -> Duration {
        Duration::from_secs((self.day() + 1) * DAY).saturating_sub(self.calendar)
    }
}
