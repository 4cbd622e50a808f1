//! When a session is over, whether there is room for another, and which ones make room. Pure.

use std::time::{Duration, Instant};

use super::ending::Ending;

/// How long a session may live; from the manifest of its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Without work.
    pub(crate) idle_ttl: Duration,
    /// At all.
    pub(crate) max_ttl: Duration,
}

/// Most sessions of one package name at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Of everybody together.
    pub per_package: usize,
    /// Of one tenant.
    pub per_tenant: usize,
}

/// Whose cap is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The package's: 503 `queue_full`.
    Package,
    /// The tenant's: 429 `quota_exceeded`.
    Tenant,
}

/// What is known of a session's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    /// When it began.
    pub(crate) begun: Instant,
    /// The end of its last work. A call that was refused, or only waited, was none.
    pub(crate) rested: Instant,
}

impl Clock {
    /// A session that begins now.
    pub(crate) fn start(now: Instant) -> Self {
        Self { begun: now, rested: now }
    }

    /// Whether a session that does not work is over.
    pub(crate) fn over(&self, limits: Limits, now: Instant) -> Option<Ending> {
        if self.is_aged(limits, now) {
            Some(Ending::Aged)
        } else if now.duration_since(self.rested) >= limits.idle_ttl {
            Some(Ending::Idle)
        } else {
            None
        }
    }

    /// Whether it has lived as long as it may, working or not.
    pub(crate) fn is_aged(&self, limits: Limits, now: Instant) -> bool {
        now.duration_since(self.begun) >= limits.max_ttl
    }

    /// Time until a session that does not work from now on is over.
    pub(crate) fn left(&self, limits: Limits, now: Instant) -> Duration {
        let idle = limits.idle_ttl.saturating_sub(now.duration_since(self.rested));
        idle.min(limits.max_ttl.saturating_sub(now.duration_since(self.begun)))
    }
}

/// Whether one more may begin where `live` do, `own` of them of its tenant.
pub(crate) fn room(caps: Caps, live: usize, own: usize) -> Result<(), Full> {
    if own >= caps.per_tenant {
        Err(Full::Tenant)
    } else if live >= caps.per_package {
        Err(Full::Package)
    } else {
        Ok(())
    }
}

/// A session that does not work, and what its end would free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resting {
    pub(crate) number: u64,
    pub(crate) rested: Instant,
    pub(crate) bytes: u64,
}

/// The sessions to end so that `excess` bytes are freed: those that rest longest. Fewer bytes if not enough rest.
pub(crate) fn evict(mut resting: Vec<Resting>, excess: u64) -> Vec<u64> {
    resting.sort_unstable_by_key(|session| (session.rested, session.number));
    let mut freed = 0u64;
    resting
        .into_iter()
        .take_while(|session| {
            let more = freed < excess;
            freed = freed.saturating_add(session.bytes);
            more
        })
        .map(|session| session.number)
        .collect()
}

/// Bytes over what sessions may have: over their own bound, or missing from what must stay available of the machine.
pub(crate) fn excess(used: u64, bound: u64, available: u64, reserve: u64) -> u64 {
    used.saturating_sub(bound).max(reserve.saturating_sub(available).min(used))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::ending::Loss;

    const LIMITS: Limits = Limits { idle_ttl: Duration::from_secs(10), max_ttl: Duration::from_secs(25) };

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_session_is_over_when_it_rested_or_lived_too_long() {
        let now = Instant::now();
        let mut clock = Clock::start(now);
        assert_eq!(clock.over(LIMITS, now + seconds(9)), None);
        assert_eq!(clock.over(LIMITS, now + seconds(10)), Some(Ending::Idle));
        clock.rested = now + seconds(20);
        assert_eq!(clock.over(LIMITS, now + seconds(24)), None);
        assert_eq!(clock.over(LIMITS, now + seconds(25)), Some(Ending::Aged));
        assert_eq!(Ending::Aged.code(), Ending::Idle.code());
        assert_ne!(Ending::Lost(Loss::Crash).code(), Ending::Idle.code());
    }

    #[test]
    fn a_tenant_meets_its_own_cap_before_that_of_the_package() {
        let caps = Caps { per_package: 3, per_tenant: 2 };
        assert_eq!(room(caps, 2, 1), Ok(()));
        assert_eq!(room(caps, 2, 2), Err(Full::Tenant));
        assert_eq!(room(caps, 3, 1), Err(Full::Package));
        assert_eq!(room(caps, 3, 2), Err(Full::Tenant));
    }

    #[test]
    fn memory_is_short_by_the_bound_of_sessions_or_by_that_of_the_machine() {
        assert_eq!(excess(100, 200, 500, 50), 0);
        assert_eq!(excess(300, 200, 500, 50), 100);
        assert_eq!(excess(100, 200, 20, 50), 30);
        assert_eq!(excess(10, 200, 0, 50), 10, "sessions answer for no more than they have");
    }

    proptest! {
        #[test]
        fn time_left_is_exact(idle in 1u64..100, age in 1u64..100, rested in 0u64..100, now in 0u64..200) {
            let limits = Limits { idle_ttl: seconds(idle), max_ttl: seconds(age) };
            let begun = Instant::now();
            let clock = Clock { begun, rested: begun + seconds(rested) };
            // Nothing rests before it began, nor after now.
            let now = begun + seconds(now.max(rested));
            let left = clock.left(limits, now);
            prop_assert!(clock.over(limits, now + left).is_some());
            prop_assert_eq!(clock.over(limits, now).is_some(), left.is_zero());
        }

        #[test]
        fn those_that_rest_longest_go_and_no_more_than_needed(
            sizes in prop::collection::vec((0u64..1000, 1u64..50), 0..20), excess in 0u64..400,
        ) {
            let begin = Instant::now();
            let resting: Vec<Resting> = sizes.iter().zip(0..).map(|((ago, bytes), number)| {
                Resting { number, rested: begin + seconds(*ago), bytes: *bytes }
            }).collect();
            let gone = evict(resting.clone(), excess);
            let of = |number: &u64| resting.iter().find(|one| one.number == *number).copied().unwrap();
            let freed: u64 = gone.iter().map(|number| of(number).bytes).sum();
            let all: u64 = resting.iter().map(|one| one.bytes).sum();
            prop_assert!(freed >= excess.min(all));
            if let Some(last) = gone.last() {
                prop_assert!(freed - of(last).bytes < excess, "the last one was needed");
                for kept in resting.iter().filter(|one| !gone.contains(&one.number)) {
                    prop_assert!(kept.rested >= of(last).rested);
                }
            }
        }
    }
}
