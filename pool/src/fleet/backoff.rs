//! How long to wait before the next try of something that keeps failing. Pure: the supervisor sleeps.

use std::time::Duration;

/// Deaths without a single answer in between that make a crash loop. Fewer would punish an agent for two bad calls in
/// a row, more would fork for nothing.
const LOOP_AFTER: u32 = 5;

/// Longest wait: an operator who repairs what was missing should not wait longer for the next try.
const LONGEST: Duration = Duration::from_secs(30);

/// Consecutive failures of a generation's workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// A worker died, or could not start.
    #[must_use]
    pub(crate) fn failed(self) -> Self {
        Self { failures: self.failures.saturating_add(1) }
    }

    /// A call was answered.
    #[must_use]
    pub(crate) fn answered() -> Self {
        Self::default()
    }

    /// Time to wait before the next start: none for the first deaths, then doubling from 100 ms.
    pub(crate) fn delay(self) -> Duration {
        match self.failures.checked_sub(LOOP_AFTER) {
            None => Duration::ZERO,
            Some(over) => Duration::from_millis(100).saturating_mul(1u32 << over.min(16)).min(LONGEST),
        }
    }

    /// Whether callers are told so instead of waiting.
    pub(crate) fn is_loop(self) -> bool {
        self.failures >= LOOP_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crashing_package_is_slowed_down_and_an_answer_forgives_it() {
        let mut backoff = Backoff::default();
        for _ in 0..4 {
            backoff = backoff.failed();
            assert_eq!(backoff.delay(), Duration::ZERO);
        }
        backoff = backoff.failed();
        assert!(backoff.is_loop());
        assert_eq!(backoff.delay(), Duration::from_millis(100));
        assert_eq!(backoff.failed().delay(), Duration::from_millis(200));
        assert_eq!((0..100).fold(backoff, |b, _| b.failed()).delay(), LONGEST);
        assert_eq!(Backoff::answered(), Backoff::default());
    }
}
