//! A picture of the slots, taken under their lock and looked at without it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::ticket::CallTicket;
use crate::process::Worker;

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
}
