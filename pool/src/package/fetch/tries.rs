//! When to try again: how many tries were made and how long is left enter, a pause or the end leaves.

use std::time::{Duration, Instant};

use super::fault::{Fault, Next};
use crate::package::{Cause, PullError};

/// How patient a download is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Tries in all.
    pub(super) tries: u32,
    /// Longest pause after the first try; doubles with each.
    pub(super) first_pause: Duration,
    /// Longest silence within a try.
    pub(super) idle: Duration,
    /// Tries of what is missing or forbidden.
    pub(super) tries_of_refused: u32,
}

impl Pace {
    /// Four tries with up to 0.5, 1 and 2 seconds between them: a restart of a server or a burst of
    /// throttling is outlived, a longer outage is the business of whoever asked. Half of it would miss
    /// restarts, double would hold up a start that has other sources.
    pub(super) fn new(idle: Duration, tries_of_refused: u32) -> Self {
        Self { tries: 4, first_pause: Duration::from_millis(500), idle, tries_of_refused }
    }

    /// How often in all something is tried that failed like this.
    fn tries_of(self, fault: &Fault) -> u32 {
        match (fault.next, fault.error.cause) {
            (Next::Another(_) | Next::Anew, _) => self.tries,
            (Next::Nothing, Cause::Missing | Cause::Forbidden) => self.tries_of_refused.min(self.tries),
            (Next::Nothing, Cause::TooLarge | Cause::Late | Cause::Surface | Cause::Host | Cause::Other) => 1,
        }
    }

    /// The pause after the `number`th try (from 1), or `None` if it was the last. Exponential with full
    /// jitter (`random` in 0..1), so that many runtimes that lost the same server do not return together. A
    /// pause that does not fit into what is `left` would only hide the cause behind a timeout.
    fn pause(self, number: u32, at_least: Duration, left: Duration, random: f64) -> Option<Duration> {
        if number >= self.tries {
            return None;
        }
        let longest = self.first_pause.saturating_mul(1 << (number.saturating_sub(1)).min(16));
        let pause = longest.mul_f64(random.clamp(0.0, 1.0)).max(at_least);
        (pause < left).then_some(pause)
    }
}

/// The tries of one download.
#[derive(Debug)]
pub(super) struct Tries {
    pace: Pace,
    until: Instant,
    number: u32,
    /// The cause of the last try that failed, for the log.
    pub(super) last: Option<PullError>,
}

impl Tries {
    /// Begins the first try; all of them end with `time`.
    pub(super) fn within(time: Duration, pace: Pace) -> Self {
        Self { pace, until: Instant::now() + time, number: 1, last: None }
    }

    /// Waits until the next try, or says that there is none.
    pub(super) async fn again(&mut self, place: &str, fault: Fault) -> Result<(), PullError> {
        let at_least = match fault.next {
            Next::Another(wait) => wait,
            Next::Anew | Next::Nothing => Duration::ZERO,
        };
        if self.number >= self.pace.tries_of(&fault) {
            return Err(fault.error);
        }
        let left = self.until.saturating_duration_since(Instant::now());
        let Some(pause) = self.pace.pause(self.number, at_least, left, random()) else {
            return Err(fault.error);
        };
        let (error, number) = (&fault.error, self.number);
        if fault.next == Next::Nothing {
            tracing::warn!(event = "download_refused", source = place, %error, number, "trying again");
        } else {
            tracing::debug!(source = place, %error, number, "trying again");
        }
        self.last = Some(fault.error);
        self.number += 1;
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Something in 0..1; without randomness the pause is merely not spread.
fn random() -> f64 {
    let mut bytes = [0_u8; 4];
    getrandom::fill(&mut bytes).map_or(1.0, |()| f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        tries: 4,
        first_pause: Duration::from_millis(500),
        idle: Duration::from_secs(15),
        tries_of_refused: 3,
    };
    const LEFT: Duration = Duration::from_secs(60);

    #[test]
    fn pauses_double_are_spread_and_end() {
        let longest: Vec<_> = (1..=5).map(|number| PACE.pause(number, Duration::ZERO, LEFT, 1.0)).collect();
        let [half, one, two] = [500, 1000, 2000].map(|millis| Some(Duration::from_millis(millis)));
        assert_eq!(longest, [half, one, two, None, None]);
        assert_eq!(PACE.pause(2, Duration::ZERO, LEFT, 0.25), Some(Duration::from_millis(250)));
        assert_eq!(PACE.pause(2, Duration::ZERO, LEFT, 0.0), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_missing_or_forbidden_is_tried_as_often_as_it_was_asked_for() {
        let refused = |status| PACE.tries_of(&Fault::status("x", status, "so", None));
        assert_eq!([403, 404, 410, 503, 400].map(refused), [3, 3, 3, 4, 1]);
        let once = Pace::new(PACE.idle, 1);
        assert_eq!(once.tries_of(&Fault::status("x", 404, "so", None)), 1);
    }

    #[test]
    fn what_the_server_asks_for_is_respected_as_long_as_it_fits() {
        let ten = Duration::from_secs(10);
        assert_eq!(PACE.pause(1, ten, LEFT, 0.5), Some(ten));
        assert_eq!(PACE.pause(1, ten, Duration::from_secs(9), 0.5), None);
        assert!((0..100).map(|_| random()).all(|random| (0.0..=1.0).contains(&random)));
    }
}
