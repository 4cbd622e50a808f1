//! Which minutes are over: pure. Clocks are set, sometimes wrongly, and a minute that is over is never opened again.

use std::time::Duration;

/// How long a minute waits for calls whose time was read just before its end.
const SETTLE: Duration = Duration::from_secs(2);

/// How far the clock of the day may run ahead of the steady one before that is a jump and no drift.
const JUMP: Duration = Duration::from_secs(120);

/// How long a clock that has jumped ahead must stay there to be believed. A slip is mostly put right within seconds; what
/// is believed too early closes minutes that are still to come.
const BELIEVED: Duration = Duration::from_secs(15 * 60);

/// Follows both clocks.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The last moment at which both agreed: steady, and since 1970.
    anchor: Option<(Duration, Duration)>,
    /// Since when the clock of the day is ahead.
    ahead: Option<Duration>,
}

/// A clock of the day that cannot be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slip {
    /// So far ahead.
    Ahead(Duration),
    /// So far behind what it has shown.
    Behind(Duration),
}

impl Clock {
    /// The last minute that is over, when the steady clock shows `steady` and the other one `day` (since 1970); and
    /// whether the latter has just jumped.
    pub(super) fn over(&mut self, steady: Duration, day: Duration) -> (i64, Option<Slip>) {
        let expected = self.anchor.map_or(day, |(then, shown)| shown + steady.saturating_sub(then));
        let mut slip = None;
        let now = if day <= expected + JUMP {
            if day + JUMP < expected {
                slip = Some(Slip::Behind(expected.saturating_sub(day)));
            }
            self.trust(steady, day)
        } else {
            let since = *self.ahead.get_or_insert_with(|| {
                slip = Some(Slip::Ahead(day.saturating_sub(expected)));
                steady
            });
            if steady.saturating_sub(since) >= BELIEVED { self.trust(steady, day) } else { expected }
        };
        let minute = now.saturating_sub(SETTLE).as_secs() / 60;
        (i64::try_from(minute).unwrap_or(i64::MAX) - 1, slip)
    }

    fn trust(&mut self, steady: Duration, day: Duration) -> Duration {
        self.anchor = Some((steady, day));
        self.ahead = None;
        day
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64, seconds: u64) -> Duration {
        Duration::from_secs(minutes * 60 + seconds)
    }

    #[test]
    fn a_minute_is_over_two_seconds_behind_its_end() {
        let mut clock = Clock::default();
        for (steady, day, over) in [(0, at(100, 0), 98), (61, at(101, 1), 99), (62, at(101, 2), 100)] {
            assert_eq!(clock.over(Duration::from_secs(steady), day), (over, None), "{day:?}");
        }
    }

    #[test]
    fn a_clock_that_jumps_ahead_closes_nothing_until_it_has_stayed_there() {
        let mut clock = Clock::default();
        assert_eq!(clock.over(at(0, 0), at(100, 30)).0, 99);
        let (over, slip) = clock.over(at(1, 0), at(5_000, 30));
        assert_eq!(over, 100);
        assert!(matches!(slip, Some(Slip::Ahead(by)) if by > at(4_000, 0)));
        // Time goes on by the steady clock, and the slip is told once.
        assert_eq!(clock.over(at(5, 0), at(5_004, 30)), (104, None));
        assert_eq!(clock.over(at(6, 0), at(106, 30)), (105, None));
        assert!(clock.over(at(7, 0), at(9_000, 30)).1.is_some());
        assert_eq!(clock.over(at(21, 59), at(9_015, 29)).0, 121);
        assert_eq!(clock.over(at(22, 0), at(9_015, 30)).0, 9_014);
        assert_eq!(clock.over(at(23, 0), at(9_016, 30)), (9_015, None));
    }

    #[test]
    fn a_clock_that_goes_back_is_believed_and_told() {
        let mut clock = Clock::default();
        assert_eq!(clock.over(at(0, 0), at(100, 30)).0, 99);
        let (over, slip) = clock.over(at(1, 0), at(40, 30));
        assert_eq!((over, slip), (39, Some(Slip::Behind(at(61, 0)))));
        assert_eq!(clock.over(at(2, 0), at(41, 30)), (40, None));
    }
}
