//! What is kept of what calls use.

use std::time::Duration;

/// Settings of the meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metering {
    /// When the disk has no room for it.
    pub(crate) on_full: OnFull,
    /// What the loss of power may cost.
    pub(crate) fsync_interval: Duration,
    /// Bytes of one segment.
    pub(crate) segment_bytes: usize,
    /// How long segments are kept when their records are in the ledger.
    pub(crate) journal_time: Duration,
    /// And how many bytes of them.
    pub(crate) journal_bytes: u64,
    /// How long the ledger keeps minutes; then it keeps days.
    pub(crate) minutes_kept: Duration,
    /// How long it keeps anything.
    pub(crate) ledger_kept: Duration,
}

/// What becomes of calls that cannot be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFull {
    /// They go on.
    Serve,
    /// They are answered 503 `metering_unavailable`.
    Refuse,
}
