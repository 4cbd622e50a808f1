//! How often strangers can make us ask the issuer: names of keys that nobody knows enter, what to do about
//! them leaves. Pure.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Names that are remembered as unknown. A client with an old token stays without effect; whoever makes up
/// more names than this is bounded by the pause between questions anyway.
const MOST_UNKNOWN: usize = 1024;

/// What to do about a key that is not among the known ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Ask the issuer, and wait for the answer.
    Ask,
    /// Somebody else's question stands; wait for its answer.
    Join,
    /// The issuer may be asked in this time.
    Later(Duration),
    /// The issuer was asked and does not know it.
    Unknown,
}

/// What was asked because of requests; refreshes by the clock do not count.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// A question that stands and that nobody has begun to ask.
    stands: bool,
    last: Option<Instant>,
    unknown: HashMap<Box<str>, Instant>,
}

impl Demand {
    /// Somebody shows a token of this key. `pause` is the least time between two questions.
    pub(super) fn of(&mut self, kid: &str, pause: Duration, now: Instant) -> Verdict {
        if self.unknown.get(kid).is_some_and(|until| now < *until) {
            return Verdict::Unknown;
        }
        if self.stands {
            return Verdict::Join;
        }
        let left = self.last.map_or(Duration::ZERO, |last| (last + pause).saturating_duration_since(now));
        if !left.is_zero() {
            return Verdict::Later(left);
        }
        self.stands = true;
        self.last = Some(now);
        Verdict::Ask
    }

    /// The issuer is being asked now: what stood before is answered by it.
    pub(super) fn begun(&mut self) {
        self.stands = false;
    }

    /// The issuer was asked and does not have this key.
    pub(super) fn not_found(&mut self, kid: &str, until: Instant, now: Instant) {
        if self.unknown.len() >= MOST_UNKNOWN {
            self.unknown.retain(|_, until| now < *until);
        }
        if self.unknown.len() < MOST_UNKNOWN {
            self.unknown.insert(kid.into(), until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    #[test]
    fn strangers_cause_one_question_in_a_pause() {
        let mut demand = Demand::default();
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut asked = 0;
        for second in 0..300 {
            for number in 0..10 {
                if demand.of(&format!("{second}-{number}"), PAUSE, at(second)) == Verdict::Ask {
                    asked += 1;
                    demand.begun();
                }
            }
        }
        assert_eq!(asked, 10);
        assert_eq!(demand.of("x", PAUSE, at(299)), Verdict::Later(Duration::from_secs(1)));
    }

    #[test]
    fn who_comes_while_a_question_stands_joins_it() {
        let (mut demand, now) = (Demand::default(), Instant::now());
        assert_eq!(demand.of("a", PAUSE, now), Verdict::Ask);
        assert_eq!(demand.of("a", PAUSE, now), Verdict::Join);
        assert_eq!(demand.of("b", PAUSE, now), Verdict::Join);
        demand.begun();
        assert_eq!(demand.of("b", PAUSE, now), Verdict::Later(PAUSE));
    }

    #[test]
    fn a_name_that_the_issuer_does_not_know_is_not_asked_about_again() {
        let (mut demand, now) = (Demand::default(), Instant::now());
        let until = now + 2 * PAUSE;
        demand.not_found("a", until, now);
        assert_eq!(demand.of("a", PAUSE, now + PAUSE), Verdict::Unknown);
        assert_eq!(demand.of("a", PAUSE, until), Verdict::Ask);
    }

    #[test]
    fn the_memory_of_names_is_bounded_and_makes_room() {
        let (mut demand, now) = (Demand::default(), Instant::now());
        for number in 0..2 * MOST_UNKNOWN {
            demand.not_found(&number.to_string(), now + PAUSE, now);
        }
        assert_eq!(demand.unknown.len(), MOST_UNKNOWN);
        demand.not_found("new", now + 2 * PAUSE, now + PAUSE);
        assert_eq!(demand.unknown.len(), 1);
    }
}
