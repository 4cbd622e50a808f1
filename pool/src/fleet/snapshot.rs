//! A picture of the slots, taken under their lock and looked at without it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

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

/// How busy a generation is at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Load {
    /// Calls that wait for a slot.
    pub waiting: usize,
    /// How long the first of them has waited, in milliseconds; 0: none waits.
    pub oldest_ms: f64,
    /// Workers with a call.
    pub busy: usize,
    /// Workers.
    pub workers: usize,
}

impl Slots {
    /// How busy they are, without a copy of anything.
    pub(crate) fn load(&self) -> Load {
        let state = self.state.lock();
        let oldest = state.lanes.iter().filter_map(|lane| lane.waiting.oldest()).min();
        Load {
            waiting: state.lanes.iter().map(|lane| lane.waiting.len()).sum(),
            oldest_ms: oldest.map_or(0.0, |since| since.elapsed().as_secs_f64() * 1000.0),
            busy: state.seats.iter().filter(|seat| seat.total() > 0).count(),
            workers: state.seats.len(),
        }
    }

    /// The worker with a process id, if it is there.
    pub(crate) fn worker(&self, pid: u32) -> Option<Arc<Worker<CallTicket>>> {
        let state = self.state.lock();
        state.seats.iter().find(|seat| seat.worker.pid == pid).map(|seat| Arc::clone(&seat.worker))
    }

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
