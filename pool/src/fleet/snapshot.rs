//! A picture of the slots, taken under their lock and looked at without it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{slots::Slots, ticket::CallTicket};
use crate::process::{Lane, Worker};

/// What the slots looked like at one moment; arrays are by lane, sync first.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) waiting: [usize; 2],
    /// Since when the first call of a queue waits.
    pub(crate) oldest: Option<Instant>,
    pub(crate) capacity: [u32; 2],
    pub(crate) cost: [Duration; 2],
    pub(crate) seats: Vec<SeatView>,
}

/// One worker in a [`Snapshot`].
#[derive(Debug)]
pub(crate) struct SeatView {
    pub(crate) worker: Arc<Worker<CallTicket>>,
    pub(crate) outstanding: u32,
    /// How long none of its calls has begun or ended.
    pub(crate) still: Duration,
    pub(crate) retiring: bool,
    /// Sessions that it keeps.
    pub(crate) sessions: u32,
}

impl Slots {
    /// A picture of now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        let [sync, concurrent] = &state.lanes;
        Snapshot {
            waiting: [sync.waiting.len(), concurrent.waiting.len()],
            oldest: state.lanes.iter().filter_map(|lane| lane.waiting.oldest()).min(),
            capacity: [state.capacity(Lane::Sync), state.capacity(Lane::Async)],
            cost: [sync.window, concurrent.window]
                .map(|window| Duration::from_secs_f32(window.cost_us() / 1e6)),
            seats: state
                .seats
                .iter()
                .map(|seat| SeatView {
                    worker: Arc::clone(&seat.worker),
                    outstanding: seat.total(),
                    still: seat.since.elapsed(),
                    retiring: seat.retiring,
                    sessions: seat.sessions,
                })
                .collect(),
        }
    }
}
