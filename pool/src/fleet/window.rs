//! How many calls of one lane may be outstanding on one worker. Pure: the slots act on it.

/// How long a call may wait inside a worker, in microseconds. A second call in a worker's socket saves a sleep and a
/// wake-up (about 20 µs together); behind a call of a millisecond it would only wait. Half loses throughput for
/// handlers of 50 µs, double is felt in their p99.
const BUDGET_US: f32 = 500.0;

/// What a call costs a worker beside its handler: read, JSON, write. Keeps the window finite for empty handlers.
const OVERHEAD_US: f32 = 10.0;

/// Most calls in one window; more gain nothing measurable and lose more when a worker dies.
const MAX: u32 = 64;

/// Share of recent calls past the budget that closes the window.
const LATE_SHARE: f32 = 0.005;

/// Share under which it opens again. One late call in a hundred looks like less than [`LATE_SHARE`] by chance for more
/// than a hundredth of the time: the window would open, and short calls wait behind the next long one. Full processors
/// delay one in a thousand, and that should not keep it closed.
const RARE_SHARE: f32 = LATE_SHARE / 2.0;

/// Weight of one call in that share.
const LATE_WEIGHT: f32 = 1.0 / 1024.0;

/// Step of the moving p90 relative to its value: it follows a change of service time within about fifty calls.
const STEP: f32 = 0.05;

/// Calls before the moving p90 begins.
const FIRST: u32 = 16;

/// Longest time that faulting in memory adds to a call, in microseconds: 2,000 pages at 4 µs.
const COLD_US: f32 = 8_000.0;

/// A moving p90 of service times and the share of late calls. The p90 and not the peak: a peak would close the window
/// at every scheduling hiccup, and single outliers are what calling back is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    typical_us: f32,
    late: f32,
    /// Whether there were too many late calls, and are not yet few enough.
    shut: bool,
    /// Calls seen, up to [`FIRST`].
    seen: u32,
}

impl Window {
    /// Nothing known: one call at a time.
    pub(crate) const fn new() -> Self {
        Self { typical_us: BUDGET_US, late: 0.0, shut: false, seen: 0 }
    }

    /// What a window knows, for calls of a newer version; `None` if it knows nothing. Late calls are forgiven.
    pub(crate) fn handed_on(self) -> Option<Self> {
        (self.seen > 0).then_some(Self { late: 0.0, shut: false, ..self })
    }

    /// The window after a call whose handler took this long; `cold`: one of the first of its worker, which faults in
    /// memory and counts only if it took longer than that can take.
    ///
    /// Of the first calls the fastest counts: after one slow call it would take a thousand to find out otherwise.
    /// The quantile follows the sign of the error (stochastic approximation of a quantile): up by 0.9 of a step, down
    /// by 0.1, so it rests where nine of ten calls are below.
    #[must_use]
    pub(crate) fn observe(self, micros: u32, cold: bool) -> Self {
        let time = micros as f32;
        if cold && time < COLD_US {
            return self;
        }
        let late = if time > BUDGET_US { 1.0 } else { 0.0 };
        let typical_us = if self.seen == 0 {
            time
        } else if self.seen < FIRST {
            self.typical_us.min(time)
        } else {
            let step = (self.typical_us * STEP).max(0.5);
            if time > self.typical_us { self.typical_us + step * 0.9 } else { self.typical_us - step * 0.1 }
        };
        let late = self.late + (late - self.late) * LATE_WEIGHT;
        Self {
            typical_us: typical_us.max(0.0),
            late,
            shut: late > if self.shut { RARE_SHARE } else { LATE_SHARE },
            seen: (self.seen + 1).min(FIRST),
        }
    }

    /// How many calls may be outstanding on one worker.
    pub(crate) fn size(self) -> u32 {
        if self.seen == 0 || self.shut {
            return 1;
        }
        ((BUDGET_US / self.cost_us()) as u32).clamp(1, MAX)
    }

    /// Expected time of one call in the worker, in microseconds.
    pub(crate) fn cost_us(self) -> f32 {
        self.typical_us + OVERHEAD_US
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn warm(window: Window, micros: u32) -> Window {
        window.observe(micros, false)
    }

    fn after(times: impl IntoIterator<Item = u32>) -> Window {
        times.into_iter().fold(Window::new(), warm)
    }

    #[test]
    fn fast_handlers_share_a_worker_and_slow_ones_never_do() {
        assert_eq!(Window::new().size(), 1);
        assert!(after([3; 100]).size() >= 32);
        assert!((5..=10).contains(&after([50; 100]).size()));
        assert_eq!(after([1_000; 10]).size(), 1);
        assert_eq!(after([1_000_000; 3]).size(), 1);
    }

    #[test]
    fn one_outlier_does_not_close_the_window_but_one_in_a_hundred_does() {
        let mut window = after([10; 1_000]);
        window = window.observe(500_000, false);
        assert!(window.size() > 8);
        for _ in 0..20 {
            window = [10; 99].into_iter().fold(window, warm).observe(500_000, false);
        }
        assert_eq!(window.size(), 1);
    }

    #[test]
    fn a_window_that_one_in_a_hundred_has_closed_does_not_open_by_chance() {
        let mut dice = 1_u32;
        let mut draw = || {
            dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if (dice >> 8).is_multiple_of(100) { 500_000 } else { 10 }
        };
        let mut window = after([10; 1_000]);
        let sizes: Vec<u32> = std::iter::repeat_with(|| {
            window = warm(window, draw());
            window.size()
        })
        .take(200_000)
        .skip(4_000)
        .collect();
        assert!(
            sizes.iter().all(|size| *size == 1),
            "open for {}",
            sizes.iter().filter(|size| **size > 1).count()
        );
    }

    #[test]
    fn cold_workers_and_one_slow_beginning_do_not_close_the_window() {
        let cold = after([20; 50]).observe(3_000, true);
        assert_eq!(cold, after([20; 50]));
        assert!(after([3_000, 20, 20]).size() > 8, "of the first calls the fastest counts");
        assert_eq!(Window::new().observe(1_000_000, true).size(), 1, "a slow handler is known at once");
        assert!(Window::new().observe(1_000_000, true).cost_us() > 1e5);
    }

    #[test]
    fn a_newer_version_begins_with_what_is_known_and_late_calls_are_forgiven() {
        assert_eq!(Window::new().handed_on(), None);
        let mut late = after([20; 100]);
        for _ in 0..6 {
            late = late.observe(1_000, false);
        }
        assert_eq!(late.size(), 1);
        assert!(late.handed_on().is_some_and(|window| window.size() > 8), "{late:?}");
    }

    #[test]
    fn the_window_opens_again_when_calls_are_fast_again() {
        let mut window = after([2_000; 500]);
        window = std::iter::repeat_n(20, 8_000).fold(window, warm);
        assert!(window.size() > 8, "{window:?}");
    }

    #[test]
    fn the_typical_time_is_about_the_ninetieth_percentile() {
        let window = after((0..20_000u32).map(|n| (n * 7_919) % 100));
        assert!((75.0..99.0).contains(&window.typical_us), "{window:?}");
    }

    proptest! {
        #[test]
        fn the_size_is_always_within_its_bounds(times in prop::collection::vec(any::<u32>(), 0..200)) {
            let window = after(times);
            prop_assert!((1..=MAX).contains(&window.size()));
            prop_assert!(window.cost_us() >= OVERHEAD_US);
        }
    }
}
