//! A worker among the slots.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use tokio::sync::oneshot;

use super::{place::Granted, ticket::CallTicket};
use crate::process::{Lane, Worker};

pub(super) type Seated = Arc<Worker<CallTicket>>;

/// A worker and what is outstanding on it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) key: u64,
    pub(super) worker: Seated,
    pub(super) outstanding: [u32; 2],
    pub(super) retiring: bool,
    pub(super) listed_idle: bool,
    pub(super) served: u32,
    /// When it began to be busy, or when its last call ended if that was later.
    pub(super) since: Instant,
    /// Sessions that it keeps.
    pub(super) sessions: u32,
    /// Calls of those that wait for it, by lane.
    pub(super) bound: [VecDeque<(u64, oneshot::Sender<Granted>)>; 2],
}

/// Calls of a new worker that say little: they fault in memory that the template shared.
pub(super) const COLD: u32 = 3;

impl Seat {
    /// One more call is outstanding.
    #[expect(clippy::indexing_slicing, reason = "two lanes, and `index` is below two")]
    pub(super) fn begin(&mut self, lane: Lane) {
        // Of several calls the last end tells more than another begin.
        if self.total() == 0 {
            self.since = Instant::now();
        }
        self.outstanding[lane.index()] += 1;
    }

    pub(super) fn total(&self) -> u32 {
        self.outstanding.iter().sum()
    }
}
