//! A worker among the slots.

use std::{sync::Arc, time::Instant};

use super::ticket::CallTicket;
use crate::process::Worker;

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
    pub(super) since: Instant,
}

/// Calls of a new worker that say little: they fault in memory that the template shared.
pub(super) const COLD: u32 = 3;

impl Seat {
    pub(super) fn total(&self) -> u32 {
        self.outstanding.iter().sum()
    }
}
