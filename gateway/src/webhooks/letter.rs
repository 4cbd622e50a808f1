//! An event on its way to the receiver, and what can happen to it.

use std::time::SystemTime;

/// An event that is not on disk yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    /// `msg_…`: how the receiver knows a repeat. The same for every attempt.
    pub(super) id: String,
    /// Whose events wait for each other.
    pub(super) package: String,
    /// Name of the event.
    pub(super) event: &'static str,
    /// What is sent, byte by byte the same for every attempt.
    pub(super) body: Vec<u8>,
    /// When it happened.
    pub(super) created: SystemTime,
}

/// An event that is on disk, and whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    /// Its place among all events.
    pub(super) place: i64,
    /// `msg_…`
    pub(super) id: String,
    /// Whose events wait for each other.
    pub(super) package: String,
    /// Name of the event.
    pub(super) event: String,
    /// What is sent.
    pub(super) body: Vec<u8>,
    /// When it happened.
    pub(super) created: SystemTime,
    /// Attempts that have failed.
    pub(super) attempts: u32,
}

/// One change of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// An event happened.
    Accepted(Draft),
    /// The receiver took the letter.
    Delivered {
        /// Which.
        place: i64,
    },
    /// An attempt failed; there will be another.
    Postponed {
        /// Which.
        place: i64,
        /// When it is tried again.
        next: SystemTime,
        /// Why, for people.
        error: String,
    },
    /// The last attempt failed.
    Died {
        /// Which.
        place: i64,
        /// When.
        at: SystemTime,
        /// Why, for people.
        error: String,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attempted {
    /// 2xx.
    Delivered,
    /// 410: the receiver wants nothing more of this.
    Gone,
    /// Anything else.
    Failed {
        /// Why, for people: no address, no body of the receiver.
        error: String,
        /// What the receiver asks to be left alone for.
        retry_after: Option<std::time::Duration>,
    },
}
