//! A token bucket whose state is one number (GCRA, ITU-T I.371): when it will be full again. Pure.

use std::time::Duration;

use crate::config::Rate;

/// How a bucket fills; nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Time for one token, rounded up: never more than the rate.
    interval: u64,
    /// Time in which an empty bucket becomes full.
    depth: u64,
}

impl Pace {
    /// The pace of a checked rate.
    pub(super) fn new(rate: Rate) -> Self {
        let interval = (u64::from(rate.seconds) * 1_000_000_000).div_ceil(u64::from(rate.count.max(1)));
        Self { interval, depth: interval.saturating_mul(u64::from(rate.burst)) }
    }
}

/// When a bucket will be full, in nanoseconds of some clock; zero is a full one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bucket(pub(super) u64);

/// What becomes of a request for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// They are taken, and this is left.
    Taken(Bucket),
    /// Nothing is taken; after this time there are enough, if nobody else takes them.
    Short(Duration),
}

impl Bucket {
    /// Takes tokens if there are enough.
    pub(super) fn decide(self, pace: Pace, now: u64, cost: u32) -> Decision {
        let price = pace.interval.saturating_mul(u64::from(cost));
        let full_at = self.0.max(now).saturating_add(price);
        let latest = now.saturating_add(pace.depth);
        if full_at <= latest {
            Decision::Taken(Self(full_at))
        } else {
            Decision::Short(Duration::from_nanos(full_at - latest))
        }
    }

    /// Whole tokens that are there.
    pub(super) fn left(self, pace: Pace, now: u64) -> u64 {
        now.saturating_add(pace.depth).saturating_sub(self.0.max(now)) / pace.interval.max(1)
    }

    /// Time until there is one more; zero if it is full.
    pub(super) fn next_in(self, pace: Pace, now: u64) -> Duration {
        let missing = self.0.saturating_sub(now);
        match missing.checked_rem(pace.interval) {
            None | Some(0) if missing == 0 => Duration::ZERO,
            None | Some(0) => Duration::from_nanos(pace.interval),
            Some(rest) => Duration::from_nanos(rest),
        }
    }

    /// Whether nothing is missing.
    pub(super) fn is_full(self, now: u64) -> bool {
        self.0 <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn pace(text: &str) -> Pace {
        Pace::new(text.parse().unwrap())
    }

    fn take(bucket: &mut Bucket, pace: Pace, now: u64) -> Result<(), Duration> {
        match bucket.decide(pace, now, 1) {
            Decision::Taken(after) => {
                *bucket = after;
                Ok(())
            }
            Decision::Short(wait) => Err(wait),
        }
    }

    #[test]
    fn a_burst_is_taken_at_once_and_comes_back_with_time() {
        let (pace, mut bucket) = (pace("10/s burst 3"), Bucket::default());
        for left in [2, 1, 0] {
            assert_eq!(take(&mut bucket, pace, SECOND), Ok(()));
            assert_eq!(bucket.left(pace, SECOND), left);
        }
        assert_eq!(take(&mut bucket, pace, SECOND), Err(Duration::from_millis(100)));
        assert_eq!(bucket.next_in(pace, SECOND + SECOND / 40), Duration::from_millis(75));
        assert_eq!(bucket.left(pace, SECOND + SECOND / 10), 1);
        assert!(!bucket.is_full(SECOND + SECOND / 4) && bucket.is_full(SECOND + 3 * SECOND / 10));
        assert_eq!(bucket.next_in(pace, 9 * SECOND), Duration::ZERO);
    }

    #[test]
    fn what_costs_more_than_the_burst_is_never_there() {
        let pace = pace("10/s burst 3");
        assert!(matches!(Bucket::default().decide(pace, 99 * SECOND, 4), Decision::Short(_)));
        assert!(matches!(Bucket::default().decide(pace, 99 * SECOND, 3), Decision::Taken(_)));
    }

    prop_compose! {
        fn rates()(count in 1u32..5_000, seconds in prop::sample::select(vec![1u32, 60, 3600]), burst in 1u32..50)
            -> Rate { Rate { count, seconds, burst } }
    }

    proptest! {
        /// Whenever calls come, and in every window of their times.
        #[test]
        fn never_more_than_the_rate_and_one_burst(
            rate in rates(),
            gaps in prop::collection::vec(0u64..SECOND, 1..300),
        ) {
            let (pace, mut bucket, mut now) = (Pace::new(rate), Bucket::default(), 0);
            let mut taken: Vec<u64> = Vec::new();
            for gap in gaps {
                // Half of the calls come at once, so that bursts are emptied.
                now += if gap % 2 == 0 { 0 } else { gap };
                if take(&mut bucket, pace, now).is_ok() {
                    taken.push(now);
                }
            }
            for (first, begin) in taken.iter().enumerate() {
                for (last, end) in taken.iter().enumerate().skip(first) {
                    let calls = (last - first + 1) as f64;
                    let window = (end - begin) as f64 / SECOND as f64;
                    let steady = window * f64::from(rate.count) / f64::from(rate.seconds);
                    let most = f64::from(rate.burst) + steady;
                    prop_assert!(calls <= most + 1e-6, "{calls} calls in {window} s, at most {most}");
                }
            }
        }

        /// A refusal tells the truth: a moment before it is refused again, then it is not.
        #[test]
        fn waiting_as_long_as_told_is_enough_and_less_is_not(rate in rates(), now in 0u64..SECOND) {
            let (pace, mut bucket) = (Pace::new(rate), Bucket::default());
            for _ in 0..rate.burst {
                prop_assert!(take(&mut bucket, pace, now).is_ok());
            }
            let wait = take(&mut bucket, pace, now).unwrap_err().as_nanos() as u64;
            prop_assert!(wait > 0);
            prop_assert!(take(&mut bucket.clone(), pace, now + wait - 1).is_err());
            prop_assert!(take(&mut bucket, pace, now + wait).is_ok());
        }

        /// The later, the more is left; never more than the burst; a clock that is read out of order gives nothing.
        #[test]
        fn what_is_left_grows_with_time_up_to_the_burst(
            rate in rates(),
            state in any::<u32>(),
            a in any::<u32>(),
            b in any::<u32>(),
        ) {
            let (pace, bucket) = (Pace::new(rate), Bucket(u64::from(state)));
            let (early, late) = (u64::from(a.min(b)), u64::from(a.max(b)));
            prop_assert!(bucket.left(pace, early) <= bucket.left(pace, late));
            prop_assert!(bucket.left(pace, late) <= u64::from(rate.burst));
            if let Decision::Taken(after) = bucket.decide(pace, early, 1) {
                prop_assert!(after.0 > bucket.0);
                prop_assert!(matches!(bucket.decide(pace, late, 1), Decision::Taken(_)));
            }
        }
    }
}
