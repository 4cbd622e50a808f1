//! What a call leaves with its worker: its slot, and where the answer goes.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{flow::Feed, slots::Slot};
use crate::process::{Item, Overrun, Reply, Ticket};

/// Gives the slot back when the worker says that the call is over, whether or not its caller is still there.
#[derive(Debug)]
pub(crate) struct CallTicket {
    pub(crate) slot: Slot,
    pub(crate) answer: oneshot::Sender<Reply>,
    pub(crate) request_id: Arc<str>,
    pub(crate) in_turn: bool,
    /// Where items go, if the caller takes them one by one.
    pub(crate) feed: Option<Feed>,
}

impl Ticket for CallTicket {
    fn end(self, reply: Reply) {
        let Self { mut slot, answer, request_id: _, in_turn: _, feed: _ } = self;
        match &reply {
            Reply::Done { micros, .. } | Reply::Failed { micros, .. } | Reply::Ended { micros, .. } => {
                slot.observe(*micros);
            }
            Reply::Cancelled { .. } | Reply::Returned | Reply::Died(_) => {}
        }
        // The slot first: the next call of this worker should not wait for the former's caller.
        drop(slot);
        // A caller that left wants no answer.
        drop(answer.send(reply));
    }

    fn item(&self, item: Item) -> Result<(), Overrun> {
        self.feed.as_ref().ok_or(Overrun)?.push(item)
    }

    fn request_id(&self) -> Arc<str> {
        Arc::clone(&self.request_id)
    }

    fn in_turn(&self) -> bool {
        self.in_turn
    }
}
