//! What a call leaves with its worker: its slot, and where the answer goes.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Instant,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    exchange::{Origin, Wait},
    flow::Feed,
    generation::Generation,
    hold::Hold,
    spool::Attached,
};
use crate::process::{
    Account, Answering, CallName, Delivery, Invoked, Item, Lane, Line, Over, Overrun, Owed, Reply, Ticket,
    Witness,
};

/// Gives the slot back when the worker says that the call is over, whether or not its caller is still there.
#[derive(Debug)]
pub(crate) struct CallTicket {
    pub(crate) slot: Hold,
    pub(crate) answer: oneshot::Sender<Delivery>,
    pub(crate) sent: Instant,
    /// Why its caller no longer waits.
    pub(crate) over: OnceLock<Over>,
    pub(crate) generation: Arc<Generation>,
    /// What is known of it, for calls that its handler makes.
    pub(crate) origin: Origin,
    pub(crate) lane: Lane,
    /// While its handler waits for calls of its own.
    pub(crate) wait: Mutex<Weak<Wait>>,
    pub(crate) in_turn: bool,
    /// Files that came with the call: its handler may read them whether or not anybody waits for it.
    pub(crate) files: Option<Arc<Attached>>,
    /// Where items go, if the caller takes them one by one.
    pub(crate) feed: Option<Feed>,
}

impl CallTicket {
    /// Notes why its caller no longer waits; the first reason counts.
    pub(super) fn leave(&self, over: Over) {
        self.over.set(over).ok();
    }

    /// Whether its handler waits for calls of its own.
    pub(super) fn waits(&self) -> bool {
        self.wait.lock().strong_count() > 0
    }
}

impl Ticket for CallTicket {
    fn end(self, reply: Reply) {
        let Self { mut slot, answer, files, origin, generation, sent, over, .. } = self;
        let Origin { request_id, meta, deadline, tenant, depth, trace, .. } = origin;
        // Before the answer: who has it and calls again finds it counted.
        let owed = tenant.zip(generation.settings.meter.get()).map(|(tenant, meter)| {
            let account = Account { meter: Arc::clone(meter), tenant };
            account.settle(&reply);
            let over = over.into_inner();
            Owed { account, request_id, meta, depth, is_action: false, sent, deadline, over }
        });
        if let Some(trace) = &trace
            && !matches!(reply, Reply::Returned)
        {
            trace.ended(reply.used().unwrap_or_default());
        }
        match &reply {
            Reply::Done { micros, .. } | Reply::Failed { micros, .. } | Reply::Ended { micros, .. } => {
                slot.observe(*micros);
            }
            Reply::Cancelled { .. } | Reply::Returned | Reply::Died { .. } => {}
        }
        // The slot first: the next call of this worker should not wait for the former's caller.
        drop(slot);
        drop(files);
        // A caller that left wants no answer, and what comes back is charged.
        drop(answer.send(Delivery::new(reply, owed)));
    }

    fn item(&self, item: Item) -> Result<(), Overrun> {
        self.feed.as_ref().ok_or(Overrun::Item)?.push(item)
    }

    fn witness(&self) -> Option<Arc<dyn Witness>> {
        self.origin.trace.clone()
    }

    fn connect(&self, invoked: Invoked, line: Line) -> Answering {
        let Some(exchange) = self.generation.settings.exchange.get() else {
            return line.refuse("not_found", "this host connects no calls between agents");
        };
        // However many calls a handler makes at once, it is one that waits.
        let wait = {
            let mut wait = self.wait.lock();
            wait.upgrade().unwrap_or_else(|| {
                let begun = Arc::new(self.generation.waits.begin(self.lane));
                *wait = Arc::downgrade(&begun);
                begun
            })
        };
        let mut origin = self.origin.clone();
        // What streams may go on for longer than its own deadline, and so may what it calls.
        if let Some(feed) = &self.feed {
            origin.deadline = feed.patience(origin.deadline);
        }
        let answering = Arc::clone(exchange).connect(origin, invoked, line);
        Box::pin(async move {
            let _wait = wait;
            answering.await;
        })
    }

    fn name(&self) -> CallName {
        CallName { request_id: Arc::clone(&self.origin.request_id), meta: self.origin.meta.clone() }
    }

    fn in_turn(&self) -> bool {
        self.in_turn
    }
}
