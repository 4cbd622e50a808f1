//! Windows by which what was used, billed and counted is compared. Pure.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    audit::{Account, Line},
    plan::Window,
};

/// How wide they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// Those of the clock, in UTC.
    Hour,
    /// From midnight to midnight, in UTC.
    Day,
}

impl Width {
    /// The width of a text.
    pub(crate) fn of(text: &str) -> Option<Self> {
        [Self::Hour, Self::Day].into_iter().find(|width| width.text() == text)
    }

    /// As it is asked for, here and at the billing side.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Its minutes.
    pub(super) const fn minutes(self) -> i64 {
        match self {
            Self::Hour => 60,
            Self::Day => 24 * 60,
        }
    }

    /// The windows of what was billed from `since` (if it was billed from its beginning) up to `to`, and of which nothing
    /// is known before `cut`. Only whole ones, but for the first one if billing began in it. An event that is longer than a
    /// window makes that one longer: `ends` tells when the last event ends that begins in a window.
    pub(super) fn windows<E>(
        self,
        (since, cut): (i64, i64),
        to: i64,
        mut ends: impl FnMut(Window) -> Result<Option<i64>, E>,
    ) -> Result<Vec<Window>, E> {
        let width = self.minutes();
        let up = |minute: i64| (minute + width - 1).div_euclid(width) * width;
        let mut from = if since >= cut { since } else { up(cut) };
        let last = to.div_euclid(width) * width;
        let mut windows = Vec::new();
        while from < last {
            let mut window = Window::at(from, width);
            while let Some(end) = ends(window)?.filter(|end| *end > window.to) {
                window.to = up(end);
            }
            if window.to > last {
                break;
            }
            from = window.to;
            windows.push(window);
        }
        Ok(windows)
    }
}

/// A window in which what a tenant has used and what was billed of it differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LineOfWindow {
    /// RFC 3339.
    pub(super) from: String,
    /// The same; excluded.
    pub(super) to: String,
    #[serde(flatten)]
    pub(super) line: Line,
}

/// A window in which what was taken of a customer and what the other side has counted differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct AccountOfWindow {
    /// RFC 3339.
    pub(super) from: String,
    /// The same; excluded.
    pub(super) to: String,
    #[serde(flatten)]
    pub(super) account: Account,
}

/// Window by window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ByWindow {
    /// `hour` or `day`.
    pub(super) by: &'static str,
    /// How many were looked at. What is not a whole one yet is in the sums alone.
    pub(super) compared: usize,
    /// Those that differ, at most a thousand.
    pub(super) lines: Vec<LineOfWindow>,
    /// The same between here and the other side.
    pub(super) accounts: Vec<AccountOfWindow>,
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn windows(width: Width, bounds: (i64, i64), to: i64, events: &[(i64, i64)]) -> Vec<(i64, i64)> {
        let ends = |window: Window| -> Result<_, Infallible> {
            let within = events.iter().filter(|(from, _)| (window.from..window.to).contains(from));
            Ok(within.map(|(_, to)| *to).max())
        };
        let Ok(windows) = width.windows(bounds, to, ends);
        windows.iter().map(|window| (window.from, window.to)).collect()
    }

    #[test]
    fn windows_are_whole_but_for_the_first_of_all() {
        assert_eq!(windows(Width::Hour, (130, 0), 250, &[]), [(130, 180), (180, 240)]);
        assert_eq!(
            windows(Width::Hour, (0, 130), 300, &[]),
            [(180, 240), (240, 300)],
            "before it nothing is known"
        );
        assert_eq!(windows(Width::Day, (1000, 0), 3000, &[]), [(1000, 1440), (1440, 2880)]);
        assert_eq!(windows(Width::Day, (0, 100), 2879, &[]), []);
        assert_eq!(windows(Width::Hour, (60, 0), 60, &[]), []);
    }

    #[test]
    fn events_that_are_longer_make_their_windows_longer() {
        let events = [(0, 60), (60, 180), (170, 240), (240, 300)];
        assert_eq!(windows(Width::Hour, (0, 0), 300, &events), [(0, 60), (60, 240), (240, 300)]);
        assert_eq!(windows(Width::Hour, (0, 0), 200, &events), [(0, 60)], "it is not whole yet");
    }

    #[test]
    fn widths_are_found_by_their_names() {
        for width in [Width::Hour, Width::Day] {
            assert_eq!(Width::of(width.text()), Some(width));
        }
        assert_eq!(Width::of("week"), None);
    }
}
