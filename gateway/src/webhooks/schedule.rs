//! When a letter is tried again, and when it is given up. Pure: times and a random number enter, a time leaves.

use std::time::{Duration, SystemTime};

/// Pauses after the first, second, … failed attempt. The first ones bridge a restart of the receiver, the middle ones
/// a rollback of it, and the long ones a night: exponential up to 4 h, because nobody who has repaired a receiver
/// should wait half a day. Together 23 h 42 min.
const PAUSES: [Duration; 12] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(4 * 3600),
    Duration::from_secs(4 * 3600),
    Duration::from_secs(4 * 3600),
    Duration::from_secs(4 * 3600),
    Duration::from_secs(4 * 3600),
];

/// How long a letter is worth sending. News of a day ago is history: whoever was away for longer asks
/// `GET /runtime/packages`.
const GIVE_UP: Duration = Duration::from_secs(24 * 3600);

/// Largest share of a pause that chance takes away, so that many runtimes do not come back to one receiver together.
/// It only shortens: the pauses of the table are the longest ones.
const JITTER: f64 = 0.25;

/// Pauses between attempts, and the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    pauses: Vec<Duration>,
    give_up: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new(PAUSES.to_vec(), GIVE_UP)
    }
}

impl Schedule {
    /// A schedule with one attempt more than `pauses`, all within `give_up` after the event.
    pub(crate) fn new(pauses: Vec<Duration>, give_up: Duration) -> Self {
        Self { pauses, give_up }
    }

    /// How far ahead of now an attempt can be at most. What is further was written under another clock.
    pub(super) fn horizon(&self) -> Duration {
        self.give_up
    }

    /// The time of the next attempt of an event of `created` whose attempts up to now have failed; `None`: it is dead.
    ///
    /// `asked` is what the receiver wants to be left alone for; `random` lies between 0 and 1. The last attempt is at
    /// the end of the 24 hours at the latest, and an event that was held up for longer still has one.
    pub(super) fn next(
        &self,
        created: SystemTime,
        failed: u32,
        now: SystemTime,
        asked: Option<Duration>,
        random: f64,
    ) -> Option<SystemTime> {
        let pause = *self.pauses.get(usize::try_from(failed).ok()?.checked_sub(1)?)?;
        let end = created.checked_add(self.give_up)?;
        if now >= end {
            return None;
        }
        let shortened = pause.mul_f64(1.0 - JITTER * random.clamp(0.0, 1.0));
        let pause = shortened.max(asked.unwrap_or_default()).min(self.give_up);
        now.checked_add(pause).map(|next| next.min(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// All attempts of an event that always fails, in seconds after it.
    fn attempts(random: f64) -> Vec<u64> {
        let schedule = Schedule::default();
        let mut times = vec![0];
        let mut now = START;
        while let Some(next) = schedule.next(START, times.len() as u32, now, None, random) {
            now = next;
            times.push(now.duration_since(START).unwrap().as_secs());
        }
        times
    }

    #[test]
    fn an_event_is_tried_thirteen_times_within_a_day() {
        assert_eq!(
            attempts(0.0),
            [0, 5, 35, 155, 755, 2555, 6155, 13355, 27755, 42155, 56555, 70955, 85355],
            "the table as it stands"
        );
        let hurried = attempts(1.0);
        assert_eq!(hurried.len(), 13);
        assert_eq!(hurried[12], 64016, "a quarter earlier at most");
    }

    #[test]
    fn the_end_of_the_table_is_the_end() {
        let schedule = Schedule::new(vec![seconds(1)], seconds(100));
        assert_eq!(schedule.next(START, 1, START, None, 0.0), Some(START + seconds(1)));
        assert_eq!(schedule.next(START, 2, START, None, 0.0), None);
        assert_eq!(Schedule::new(vec![], seconds(100)).next(START, 1, START, None, 0.0), None);
    }

    #[test]
    fn the_last_attempt_is_at_the_end_of_the_day_and_none_comes_after_it() {
        let schedule = Schedule::default();
        let late = START + GIVE_UP - seconds(60);
        assert_eq!(schedule.next(START, 8, late, None, 0.0), Some(START + GIVE_UP));
        assert_eq!(schedule.next(START, 9, START + GIVE_UP, None, 0.0), None);
        assert_eq!(schedule.next(START, 1, START + GIVE_UP * 3, None, 0.0), None, "held up for days");
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_less_nor_for_ever() {
        let schedule = Schedule::default();
        let next = |asked| schedule.next(START, 3, START, Some(asked), 0.0).unwrap();
        assert_eq!(next(seconds(1)), START + seconds(120));
        assert_eq!(next(seconds(700)), START + seconds(700));
        assert_eq!(next(Duration::MAX), START + GIVE_UP);
    }

    #[test]
    fn a_clock_that_was_set_back_postpones_by_no_more_than_the_table() {
        let schedule = Schedule::default();
        let created = START + GIVE_UP * 100;
        assert_eq!(schedule.next(created, 1, START, None, 0.0), Some(START + seconds(5)));
    }
}
