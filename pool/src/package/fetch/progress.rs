//! How far a download is: bytes enter, log lines leave, or a bar where somebody watches.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Downloads up to this size are over before anybody reads a line about them.
const WORTH_TELLING: u64 = 1 << 20;
/// Time between two lines of one download: thirty lines for the longest that the default timeout allows.
const EVERY: Duration = Duration::from_secs(2);

/// The bars of all downloads, one below the other; `None` where nobody watches.
#[derive(Debug, Clone)]
pub(super) struct Display(Option<MultiProgress>);

impl Display {
    /// Bars if standard error is a terminal that can draw them, else lines.
    pub(super) fn detect() -> Self {
        let can_draw = std::env::var_os("TERM").is_none_or(|kind| kind != "dumb");
        Self((can_draw && std::io::stderr().is_terminal()).then(MultiProgress::new))
    }
}

/// The progress of one download.
#[derive(Debug)]
pub(super) struct Progress {
    place: String,
    display: Display,
    bar: Option<ProgressBar>,
    clock: Clock,
}

impl Progress {
    /// Begins to tell about `place`, which has neither credentials nor a query.
    pub(super) fn new(place: &str, display: &Display) -> Self {
        let clock = Clock { told: Instant::now() };
        Self { place: place.to_owned(), display: display.clone(), bar: None, clock }
    }

    /// So many bytes are here.
    pub(super) fn at(&mut self, bytes: u64, total: Option<u64>) {
        if total.unwrap_or(bytes) <= WORTH_TELLING {
            return;
        }
        match &self.display.0 {
            Some(bars) => {
                let bar = self.bar.get_or_insert_with(|| {
                    let bar = bars.add(ProgressBar::new(total.unwrap_or_default()));
                    // A template of ours that is wrong costs only its looks.
                    let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
                    bar.with_style(
                        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
                    )
                    .with_message(self.place.clone())
                });
                bar.set_position(bytes);
            }
            None if self.clock.is_due(Instant::now()) => self.line(bytes, total),
            None => {}
        }
    }

    /// All bytes are here.
    pub(super) fn end(&self, bytes: u64) {
        if bytes > WORTH_TELLING && self.display.0.is_none() {
            self.line(bytes, Some(bytes));
        }
    }

    fn line(&self, bytes: u64, total: Option<u64>) {
        let percent = total.map(|total| percent(bytes, total));
        tracing::info!(event = "download_progress", source = self.place, bytes, total, percent);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// When the last line was.
#[derive(Debug)]
struct Clock {
    told: Instant,
}

impl Clock {
    fn is_due(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.told) >= EVERY;
        if due {
            self.told = now;
        }
        due
    }
}

fn percent(bytes: u64, total: u64) -> u64 {
    u64::try_from(u128::from(bytes) * 100 / u128::from(total.max(1))).unwrap_or(100).min(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_every_two_seconds() {
        let began = Instant::now();
        let mut clock = Clock { told: began };
        let due = [0, 1999, 2000, 2001, 3999, 4000, 9000, 9001]
            .map(|millis| clock.is_due(began + Duration::from_millis(millis)));
        assert_eq!(due, [false, false, true, false, false, true, true, false]);
    }

    #[test]
    fn a_share_is_between_nothing_and_all() {
        assert_eq!([percent(0, 0), percent(1, 3), percent(3, 3), percent(u64::MAX, 1)], [0, 33, 100, 100]);
    }
}
