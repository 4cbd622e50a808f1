//! What the callers of a worker and the task of its channel share.

use std::os::unix::net::UnixStream as StdUnixStream;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::process::{death::Closed, logs::CallName, outbox::Outbox, pending::Pending, reply::Ticket};

/// The state under the lock of a channel.
pub(super) struct Shared<T> {
    pub(super) out: Outbox,
    pub(super) pending: Pending<T>,
    /// What some of them have used so far; few ever tell.
    pub(super) used: Pending<Bytes>,
    /// How many of those run one after the other.
    pub(super) in_turn: usize,
    /// Id and name of the call that ended last: what it printed may be read after its answer.
    pub(super) last: Option<(u64, CallName)>,
    pub(super) next: u64,
    pub(super) open: bool,
    pub(super) idle_socket: Option<StdUnixStream>,
    pub(super) on_close: Option<oneshot::Sender<Closed>>,
}

impl<T: Ticket> Shared<T> {
    /// Takes the ticket of a call that is over.
    pub(super) fn take(&mut self, id: u64) -> Option<T> {
        let ticket = self.pending.remove(&id)?;
        self.used.remove(&id);
        self.in_turn -= usize::from(ticket.in_turn());
        self.last = Some((id, ticket.name()));
        Some(ticket)
    }

    /// Keeps what a call has used so far, unless its end has overtaken that.
    pub(super) fn note(&mut self, id: u64, used: Bytes) {
        if self.pending.contains_key(&id) {
            self.used.insert(id, used);
        }
    }
}
