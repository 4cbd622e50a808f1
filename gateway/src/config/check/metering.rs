//! What is kept of what calls use.

use std::time::Duration;

use super::{Check, parse, raw};
use crate::config::{Metering, OnFull};

/// Smallest segment: one record may have almost 40 KiB, and half of it is kept free for calls that run.
const LEAST: u64 = 256 << 10;

/// Largest: it is mapped as a whole.
const MOST: u64 = 1 << 30;

const DAY: Duration = Duration::from_secs(86_400);

impl Check<'_> {
    /// The meter's settings, if it is on.
    pub(super) fn metering(&mut self) -> Option<Metering> {
        let metering = Metering {
            on_full: self.value(&raw::METERING_ON_FULL, OnFull::Serve, on_full),
            fsync_interval: self.value(&raw::METERING_FSYNC, Duration::from_secs(1), parse::limit),
            segment_bytes: self.value(&raw::METERING_SEGMENT, 4 << 20, segment),
            journal_time: self.value(&raw::METERING_JOURNAL_TIME, 7 * DAY, parse::time),
            journal_bytes: self.value(&raw::METERING_JOURNAL_BYTES, 1 << 30, parse::bytes),
            minutes_kept: self.value(&raw::METERING_MINUTES, 40 * DAY, days),
            ledger_kept: self.value(&raw::METERING_LEDGER, 400 * DAY, days),
        };
        self.value(&raw::METERING, true, parse::boolean).then_some(metering)
    }
}

fn on_full(text: &str) -> Result<OnFull, String> {
    match text {
        "serve" => Ok(OnFull::Serve),
        "refuse" => Ok(OnFull::Refuse),
        _ => Err(format!("{text:?} is not serve or refuse")),
    }
}

/// Sums of a day that goes on cannot be made.
fn days(text: &str) -> Result<Duration, String> {
    let time = parse::time(text)?;
    if time < 2 * DAY { Err(format!("{text:?} must be at least 2d")) } else { Ok(time) }
}

/// Whole pages.
fn segment(text: &str) -> Result<usize, String> {
    let bytes = parse::bytes(text)?;
    let whole = usize::try_from(bytes).ok().filter(|_| (LEAST..=MOST).contains(&bytes));
    whole
        .and_then(|bytes| bytes.checked_next_multiple_of(4096))
        .ok_or_else(|| format!("{text:?} is not a size from 256KiB to 1GiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_whole_pages_of_a_size_that_makes_sense() {
        assert_eq!(segment("256KiB"), Ok(256 << 10));
        assert_eq!(segment("300000"), Ok(303_104));
        for text in ["1KiB", "2GiB", "x"] {
            assert!(segment(text).is_err(), "{text}");
        }
        assert!(days("1d").is_err() && days("2d").is_ok());
        assert_eq!((on_full("serve"), on_full("refuse")), (Ok(OnFull::Serve), Ok(OnFull::Refuse)));
        assert!(on_full("Serve").is_err());
    }
}
