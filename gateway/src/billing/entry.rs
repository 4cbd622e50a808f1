//! An event in the book, and what has become of it.

use super::plan::Event;

/// What has become of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Sending,
    Taken,
    Refused,
    Dead,
}

impl State {
    const ALL: [Self; 5] = [Self::Open, Self::Sending, Self::Taken, Self::Refused, Self::Dead];

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Sending => "sending",
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Dead => "dead",
        }
    }

    /// The state of a text.
    pub(super) fn of(text: &str) -> Self {
        // Only we write them.
        Self::ALL.into_iter().find(|state| state.text() == text).unwrap_or(Self::Open)
    }
}

/// An event in the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) event: Event,
    pub(crate) state: State,
    pub(crate) customer: Option<String>,
    pub(crate) due: i64,
    pub(crate) tries: u32,
    pub(crate) first_sent: Option<i64>,
    pub(crate) reason: Option<String>,
}
