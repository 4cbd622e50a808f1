//! What a generation answered: counts and times, kept with three atomic additions a call.
//!
//! Times go into buckets of a quarter of a power of two, so a quantile is right within an eighth.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::Serialize;

/// Quarters of powers of two up to 2^40 µs (twelve days).
const BUCKETS: usize = 160;

/// Counters of a generation.
#[derive(Debug)]
pub(crate) struct Totals {
    calls: AtomicU64,
    failed: AtomicU64,
    times: [AtomicU64; BUCKETS],
}

/// What was counted up to a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) failed: u64,
    times: Vec<u64>,
}

/// A tally as receipts show it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Calls {
    /// Calls that came to an end.
    pub calls: u64,
    /// Those that failed by the agent's fault: an error, a crash, a deadline.
    pub failed: u64,
    /// Half of the calls took less; queue included.
    pub p50_ms: Option<f64>,
    /// All but one in a hundred took less.
    pub p99_ms: Option<f64>,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            calls: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            times: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

impl Totals {
    /// Counts one call.
    pub(crate) fn count(&self, took: Duration, failed: bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(bucket) = self.times.get(bucket(took)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    pub(crate) fn tally(&self) -> Tally {
        Tally {
            calls: self.calls.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            times: self.times.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
        }
    }
}

impl Tally {
    /// What was counted after `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            failed: self.failed.saturating_sub(earlier.failed),
            times: self
                .times
                .iter()
                .zip(&earlier.times)
                .map(|(now, then)| now.saturating_sub(*then))
                .collect(),
        }
    }

    /// Failed calls in a hundred; none without calls.
    pub(crate) fn error_percent(&self) -> Option<f64> {
        (self.calls > 0).then(|| self.failed as f64 * 100.0 / self.calls as f64)
    }

    /// The time that the share `quantile` (0 to 1) of the calls did not exceed; none without calls.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<Duration> {
        let all: u64 = self.times.iter().sum();
        let rank = (all as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.times.iter().enumerate().find_map(|(index, count)| {
            seen += count;
            (all > 0 && seen >= rank).then(|| middle(index))
        })
    }

    /// For receipts.
    pub(crate) fn calls(&self) -> Calls {
        let ms = |quantile| self.quantile(quantile).map(|time| time.as_secs_f64() * 1e3);
        Calls { calls: self.calls, failed: self.failed, p50_ms: ms(0.5), p99_ms: ms(0.99) }
    }
}

fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let power = micros.ilog2();
    let quarter = if power >= 2 { (micros >> (power - 2)) & 3 } else { (micros << (2 - power)) & 3 };
    ((power as usize) * 4 + quarter as usize).min(BUCKETS - 1)
}

fn middle(bucket: usize) -> Duration {
    let (power, quarter) = (bucket / 4, bucket % 4);
    let floor = 2f64.powi(i32::try_from(power).unwrap_or(0)) * (1.0 + quarter as f64 / 4.0);
    Duration::from_secs_f64(floor * 1.1 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_an_eighth() {
        let totals = Totals::default();
        for micros in 1..=10_000 {
            totals.count(Duration::from_micros(micros), micros % 100 == 0);
        }
        let tally = totals.tally();
        assert_eq!((tally.calls, tally.failed), (10_000, 100));
        for (quantile, expected) in [(0.5, 5_000.0), (0.99, 9_900.0), (0.01, 100.0)] {
            let got = tally.quantile(quantile).unwrap().as_secs_f64() * 1e6;
            assert!((got / expected - 1.0).abs() < 0.13, "{quantile}: {got}");
        }
        assert_eq!(tally.error_percent(), Some(1.0));
    }

    #[test]
    fn a_tally_since_another_has_only_what_came_after() {
        let totals = Totals::default();
        totals.count(Duration::from_micros(10), true);
        let before = totals.tally();
        assert_eq!(before.since(&before).error_percent(), None);
        assert_eq!(before.since(&before).quantile(0.5), None);
        totals.count(Duration::from_secs(100_000_000), false);
        totals.count(Duration::ZERO, false);
        let after = totals.tally().since(&before);
        assert_eq!((after.calls, after.failed), (2, 0));
    }
}
