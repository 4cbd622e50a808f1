//! When a source is asked again: its interval and its failures enter, a time to wait leaves. Pure: the poller
//! sleeps.

use std::time::Duration;

/// Longest wait after failures, unless the interval itself is longer. With half of it a registry that is down
/// for the night is asked twice as often for nothing; with double, a repaired one is noticed when nobody
/// waits any more.
const LONGEST: Duration = Duration::from_secs(600);

/// Share of the time that is left to chance, to both sides. Hosts that were started together spread over a
/// fifth of the interval instead of asking at the same moment; more of it would make "live within the
/// interval" a lie.
const JITTER: f64 = 0.1;

/// Time until the next poll: the interval, doubled for each failure in a row, moved by up to a tenth.
/// `random` is uniform in `0.0..1.0`.
pub fn next_poll(interval: Duration, failures: u32, random: f64) -> Duration {
    let doubled = interval.saturating_mul(1_u32 << failures.min(16));
    let wait = doubled.min(LONGEST.max(interval));
    let random = if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.5 };
    wait.mul_f64(1.0 - JITTER + 2.0 * JITTER * random)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn failures_double_the_wait_up_to_ten_minutes() {
        let waits: Vec<u64> = (0..7)
            .map(|failures| next_poll(30 * SECOND, failures, 0.5).as_secs_f64().round() as u64)
            .collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 600, 600]);
    }

    #[test]
    fn an_interval_over_ten_minutes_is_never_shortened_by_failures() {
        for failures in [0, 1, 40, u32::MAX] {
            assert_eq!(next_poll(3600 * SECOND, failures, 0.5), 3600 * SECOND);
        }
    }

    #[test]
    fn chance_moves_it_by_a_tenth_to_both_sides() {
        assert_eq!(next_poll(30 * SECOND, 0, 0.0), 27 * SECOND);
        assert_eq!(next_poll(30 * SECOND, 0, 1.0), 33 * SECOND);
    }

    proptest! {
        #[test]
        fn every_wait_lies_within_the_promised_bounds(
            interval in 1_u64..1_000_000,
            failures: u32,
            random in prop::num::f64::ANY,
        ) {
            let interval = Duration::from_secs(interval);
            let wait = next_poll(interval, failures, random);
            prop_assert!(wait >= interval.min(LONGEST.max(interval)).mul_f64(0.899));
            prop_assert!(wait <= LONGEST.max(interval).mul_f64(1.101));
        }
    }
}
