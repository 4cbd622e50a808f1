//! Calls between agents: who connects them, and what is known of the call in which they are made.

use std::{
    any::Any,
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;

use crate::process::{Answering, Invoked, Line, Witness};

/// Who calls, as whoever admitted the call knows them; the pool only keeps it.
pub type Principal = Arc<dyn Any + Send + Sync>;

/// The call in which another one is made: our own record of it, whatever the worker says.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Its name.
    pub request_id: Arc<str>,
    /// What its worker was told of it: JSON as in `FRAMES.md`, kind `CALL`.
    pub meta: Bytes,
    /// When its caller stops waiting.
    pub deadline: Instant,
    /// On whose account it goes.
    pub tenant: Option<Arc<str>>,
    /// Who made it.
    pub principal: Option<Principal>,
    /// How many calls it is nested in.
    pub depth: u8,
    /// Who watches it for its trace; `None`: its trace is not kept.
    pub trace: Option<Arc<dyn Witness>>,
}

/// Connects calls between agents.
pub trait Exchange: Debug + Send + Sync {
    /// Answers a call that a handler makes. The future is dropped when the call in which it was made is over.
    fn connect(self: Arc<Self>, origin: Origin, invoked: Invoked, line: Line) -> Answering;
}

/// Workers that wait for calls of their own, by lane: while they do, they serve nobody.
#[derive(Debug, Default)]
pub(crate) struct Waits([AtomicUsize; 2]);

/// One of them; counted out when it is dropped.
#[derive(Debug)]
pub(crate) struct Wait {
    waits: Arc<Waits>,
    lane: usize,
}

impl Waits {
    pub(crate) fn begin(self: &Arc<Self>, lane: crate::process::Lane) -> Wait {
        let lane = lane.index();
        if let Some(count) = self.0.get(lane) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Wait { waits: Arc::clone(self), lane }
    }

    pub(crate) fn count(&self, lane: crate::process::Lane) -> usize {
        self.0.get(lane.index()).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(count) = self.waits.0.get(self.lane) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
