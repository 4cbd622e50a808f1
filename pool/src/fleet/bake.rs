//! The bake window: whether a generation that has just been switched to does worse than the one before.

use super::{rollout::RolloutSettings, totals::Tally};

/// What the window says so far.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing against it.
    Fine,
    /// It is worse; one sentence says how.
    Worse(String),
}

/// Judges `green` against `blue`; both are what was counted in their own time. A generation that had no calls
/// counts as one without errors: whatever fails now is new.
pub(crate) fn judge(blue: &Tally, green: &Tally, settings: &RolloutSettings) -> Verdict {
    if green.calls < settings.bake_min_calls {
        return Verdict::Fine;
    }
    let (was, is) = (blue.error_percent().unwrap_or(0.0), green.error_percent().unwrap_or(0.0));
    if is - was >= settings.bake_error_points {
        return Verdict::Worse(format!(
            "{is:.1} % of {} calls ended in errors, {was:.1} % before the rollout",
            green.calls
        ));
    }
    let (Some(ratio), true) = (settings.bake_p99_ratio, blue.calls >= settings.bake_min_calls) else {
        return Verdict::Fine;
    };
    match (blue.quantile(0.99), green.quantile(0.99)) {
        (Some(was), Some(is)) if is > was.mul_f64(ratio) => Verdict::Worse(format!(
            "p99 is {:.1} ms, {:.1} ms before the rollout",
            is.as_secs_f64() * 1e3,
            was.as_secs_f64() * 1e3
        )),
        (Some(_), Some(_)) | (None, _) | (_, None) => Verdict::Fine,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fleet::totals::Totals;

    fn tally(calls: u64, failed: u64, millis: u64) -> Tally {
        let totals = Totals::default();
        for n in 0..calls {
            totals.count(Duration::from_millis(millis), n < failed);
        }
        totals.tally()
    }

    fn settings() -> RolloutSettings {
        RolloutSettings { bake_p99_ratio: Some(2.0), ..RolloutSettings::default() }
    }

    #[test]
    fn twenty_calls_and_five_points_more_errors_are_worse() {
        let blue = tally(1000, 10, 1);
        assert_eq!(judge(&blue, &tally(19, 19, 1), &settings()), Verdict::Fine, "too few calls to tell");
        assert_eq!(judge(&blue, &tally(100, 5, 1), &settings()), Verdict::Fine, "four points");
        assert!(matches!(judge(&blue, &tally(100, 6, 1), &settings()), Verdict::Worse(_)), "five points");
        assert!(matches!(judge(&tally(0, 0, 1), &tally(20, 1, 1), &settings()), Verdict::Worse(_)));
    }

    #[test]
    fn a_slower_p99_counts_only_by_choice_and_against_a_blue_that_had_calls() {
        let (blue, slow) = (tally(100, 0, 10), tally(100, 0, 30));
        assert!(matches!(judge(&blue, &slow, &settings()), Verdict::Worse(_)));
        assert_eq!(judge(&blue, &slow, &RolloutSettings::default()), Verdict::Fine);
        assert_eq!(judge(&tally(3, 0, 10), &slow, &settings()), Verdict::Fine);
    }
}
