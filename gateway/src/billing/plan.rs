//! From what was used to what is billed: windows of time, events, and names that say the same whenever they are made.
//! Pure.

use sha2::{Digest as _, Sha256};

use super::measure::{Amounts, Measure};

/// Seconds after its end at which a window is over: see [`Window::is_over`].
const OVER: i64 = 60;

/// Some minutes since 1970, the last one excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Window {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Window {
    /// The window that begins at a minute: up to the next multiple of `width`, so that windows of an hour are those of
    /// the clock, whenever billing has begun and whatever the width was before.
    pub(crate) fn at(from: i64, width: i64) -> Self {
        let width = width.max(1);
        Self { from, to: (from.div_euclid(width) + 1) * width }
    }

    /// Whether it is over by the clock, so that it can be sealed: a minute later, since calls that ended in its last
    /// moments may still be on their way into the journal.
    pub(crate) fn is_over(self, minute: i64) -> bool {
        minute > self.to
    }
}

/// When the next round is, by the time between two of them (seconds): at each multiple of it, and as much later as a
/// window needs to be over. So what ended at the hour is billed by the round of that hour, and not by the next.
pub(crate) fn next_round(now: i64, every: i64) -> i64 {
    ((now - OVER).div_euclid(every) + 1) * every + OVER
}

/// One event that is to be sent, before anybody knows to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Deterministic: an event that is made again has the name that it had.
    pub(crate) identifier: String,
    pub(crate) tenant: String,
    pub(crate) measure: Measure,
    pub(crate) window: Window,
    /// More than 0.
    pub(crate) value: i64,
}

/// The name of an event: at most 100 characters are allowed, these are 64.
pub(crate) fn identifier(ledger: &str, tenant: &str, measure: Measure, window: Window) -> String {
    let mut hash = Sha256::new();
    // Lengths keep one text from continuing another.
    for text in [ledger, tenant, measure.text()] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.update(window.from.to_le_bytes());
    hash.update(window.to.to_le_bytes());
    hex::encode(hash.finalize())
}

/// What is billed of a measure, and what is left for the next window: whole units only, and the rest is never lost.
pub(crate) fn bill(used: i64, carried: i64, measure: Measure) -> (i64, i64) {
    let all = used.saturating_add(carried);
    (all.div_euclid(measure.unit()), all.rem_euclid(measure.unit()))
}

/// The events of a tenant's window, and what is carried on of each measure. Nothing is sent for what was not used.
pub(crate) fn events(
    ledger: &str,
    tenant: &str,
    window: Window,
    used: &Amounts,
    measures: &[Measure],
    carried: impl Fn(Measure) -> i64,
) -> (Vec<Event>, Vec<(Measure, i64)>) {
    let mut events = Vec::new();
    let mut rests = Vec::new();
    for measure in measures.iter().copied() {
        let before = carried(measure);
        let (value, rest) = bill(used.of(measure), before, measure);
        if rest != before {
            rests.push((measure, rest));
        }
        if value > 0 {
            let identifier = identifier(ledger, tenant, measure, window);
            events.push(Event { identifier, tenant: tenant.to_owned(), measure, window, value });
        }
    }
    (events, rests)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_are_those_of_the_clock() {
        let at = |from, width| {
            let window = Window::at(from, width);
            (window.from, window.to)
        };
        assert_eq!(at(120, 60), (120, 180));
        assert_eq!(at(130, 60), (130, 180), "the first one is shorter");
        assert_eq!(at(180, 1), (180, 181));
        let hour = Window::at(120, 60);
        assert!(!hour.is_over(179) && !hour.is_over(180) && hour.is_over(181));
    }

    #[test]
    fn a_round_finds_the_windows_over_that_end_with_it() {
        let hour = 3600;
        assert_eq!(next_round(7200 + 59, hour), 7200 + 60, "the one that ended a moment ago");
        assert_eq!(next_round(7200 + 60, hour), 10_800 + 60);
        assert_eq!(next_round(10_799, hour), 10_800 + 60);
        assert!(Window { from: 120, to: 180 }.is_over(next_round(10_799, hour).div_euclid(60)));
        assert_eq!(next_round(86_400 * 3 - 1, 86_400), 86_400 * 3 + 60);
        assert_eq!(next_round(1000, 1), 1001);
    }

    #[test]
    fn names_differ_in_everything_that_makes_an_event() {
        let window = Window { from: 60, to: 120 };
        let name = |ledger, tenant, measure, window| identifier(ledger, tenant, measure, window);
        let one = name("l", "t", Measure::Requests, window);
        assert_eq!(one, name("l", "t", Measure::Requests, window), "made again it is the same");
        assert!(one.len() <= 100);
        for other in [
            name("m", "t", Measure::Requests, window),
            name("l", "u", Measure::Requests, window),
            name("lt", "", Measure::Requests, window),
            name("l", "t", Measure::InputTokens, window),
            name("l", "t", Measure::Requests, Window { from: 120, to: 180 }),
            name("l", "t", Measure::Requests, Window { from: 60, to: 180 }),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn nothing_is_sent_for_nothing() {
        let used = Amounts { requests: 3, worker_us: 1_500_000, ..Amounts::default() };
        let window = Window { from: 0, to: 60 };
        let (made, rests) = events("l", "t", window, &used, &Measure::ALL, |_| 0);
        let values: Vec<_> = made.iter().map(|event| (event.measure, event.value)).collect();
        assert_eq!(values, [(Measure::Requests, 3), (Measure::ComputeSeconds, 1)]);
        assert_eq!(rests, [(Measure::ComputeSeconds, 500_000)]);
    }

    proptest! {
        #[test]
        fn whatever_the_windows_the_sum_is_the_whole(used in proptest::collection::vec(0_i64..5_000_000, 1..50)) {
            let (mut billed, mut carried) = (0, 0);
            for each in &used {
                let (value, rest) = bill(*each, carried, Measure::ComputeSeconds);
                prop_assert!((0..1_000_000).contains(&rest) && value >= 0);
                billed += value;
                carried = rest;
            }
            prop_assert_eq!(billed * 1_000_000 + carried, used.iter().sum::<i64>());
        }
    }
}
