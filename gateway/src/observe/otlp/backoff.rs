//! When a batch that was not taken is tried again. Pure.

use std::time::{Duration, Instant};

/// Before the second try.
const FIRST: Duration = Duration::from_millis(500);

/// Between two tries at most: a receiver that comes back is not kept waiting for longer.
const LONGEST: Duration = Duration::from_secs(5);

/// Tries of one batch.
#[derive(Debug)]
pub(super) struct Backoff {
    deadline: Instant,
    wait: Duration,
}

impl Backoff {
    /// Tries that end with `deadline`.
    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, wait: FIRST }
    }

    /// How long to wait before the next try, as the receiver says or doubling; `None`: it would be too late.
    /// `share`, from 0 to 1, spreads those who were turned away together.
    pub(super) fn again(&mut self, now: Instant, told: Option<Duration>, share: f64) -> Option<Duration> {
        let own = self.wait.mul_f64(0.5 + share.clamp(0.0, 1.0) / 2.0);
        self.wait = (self.wait * 2).min(LONGEST);
        let wait = told.unwrap_or(own);
        (now + wait < self.deadline).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_end_with_the_deadline() {
        let now = Instant::now();
        let mut backoff = Backoff::until(now + Duration::from_secs(60));
        let waits: Vec<_> =
            (0..6).filter_map(|_| backoff.again(now, None, 1.0)).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(backoff.again(now, None, 0.0), Some(Duration::from_millis(2500)));
        assert_eq!(backoff.again(now, Some(Duration::from_secs(30)), 0.0), Some(Duration::from_secs(30)));
        assert_eq!(backoff.again(now, Some(Duration::from_secs(61)), 0.0), None);
        assert_eq!(backoff.again(now + Duration::from_secs(59), None, 1.0), None);
    }
}
