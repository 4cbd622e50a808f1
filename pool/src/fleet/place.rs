//! A place in the queue of a lane, and how its call is told that its turn has come.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::slots::{Slot, Slots};
use crate::process::Lane;

/// How a call that waits is told; the end of its channel means that the generation is over.
#[derive(Debug)]
pub(crate) enum Granted {
    /// Its turn has come.
    Slot(Slot),
    /// Its place was given to a tenant that holds less.
    Displaced,
    /// Its turn would come after its deadline.
    Late,
}

/// A place in the queue; dropping it leaves the queue.
#[derive(Debug)]
pub(crate) struct Place {
    pub(super) slots: Arc<Slots>,
    pub(super) lane: Lane,
    pub(super) tenant: Option<Arc<str>>,
    pub(super) id: u64,
    pub(crate) grant: oneshot::Receiver<Granted>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.slots.leave(self.lane, self.tenant.as_ref(), self.id);
        // A slot that was granted but not taken is dropped with the receiver, after that lock.
    }
}
