//! Calls that handlers make, until they are answered: each belongs to a call of the worker and ends with it.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use par_proto::frames::{
    FLAG_FAILED, FLAG_ITEM, FLAG_REPLY_OCTETS, Header, ITEM_WEIGHT, Kind, MAX_BODY, STREAM_CREDIT,
};
use parking_lot::Mutex;
use tokio::{sync::Notify, task::AbortHandle};

use super::{
    mainline::Mainline,
    reply::{Invoked, Overrun},
    side::Side,
};

/// What answers such a call.
pub type Answering = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Bytes of items that may still be sent; one item may overshoot.
#[derive(Debug)]
struct Gate {
    left: AtomicI64,
    opened: Notify,
}

#[derive(Debug)]
struct Outgoing {
    parent: u64,
    on_main: bool,
    gate: Arc<Gate>,
    /// `None` until it is spawned.
    task: Option<AbortHandle>,
}

/// Most of one worker at a time: as many as a hundred handlers that ask forty others each. Each holds its input.
const MOST: usize = 4096;

/// All of one worker.
#[derive(Debug)]
pub(super) struct Nested {
    side: Arc<Side>,
    mainline: Arc<Mainline>,
    calls: Mutex<HashMap<u64, Outgoing>>,
    /// How many, for who looks without the lock: almost no worker has any.
    count: AtomicUsize,
}

/// Where the answer to such a call goes.
#[derive(Debug)]
pub struct Line {
    gate: Arc<Gate>,
    nested: Arc<Nested>,
    id: u64,
    on_main: bool,
}

impl Line {
    /// Sends an item as soon as the worker has room for it.
    pub async fn item(&self, payload: &[u8], octets: bool) {
        while self.gate.left.load(Ordering::Acquire) <= 0 {
            self.gate.opened.notified().await;
        }
        let weight = payload.len() as u64 + u64::from(ITEM_WEIGHT);
        self.gate.left.fetch_sub(weight.cast_signed(), Ordering::AcqRel);
        self.send(FLAG_ITEM | flag(octets), payload);
    }

    /// Sends the result; the call is over.
    pub fn answer(self, payload: &[u8], octets: bool) {
        self.send(flag(octets), payload);
    }

    /// Says that all items were sent.
    pub fn end(self) {
        self.send(0, b"");
    }

    /// Says at once why there is no result.
    pub fn refuse(self, code: &str, detail: &str) -> Answering {
        let said = serde_json::json!({ "code": code, "detail": detail }).to_string();
        Box::pin(async move { self.fail(said.as_bytes()) })
    }

    /// Says why there is no result, in JSON as in `FRAMES.md`.
    pub fn fail(self, said: &[u8]) {
        self.send(FLAG_FAILED, said);
    }

    fn send(&self, flags: u8, payload: &[u8]) {
        let (flags, payload) = if payload.len() > MAX_BODY {
            (FLAG_FAILED, &br#"{"code":"too_large","detail":"the result is too large"}"#[..])
        } else {
            (flags, payload)
        };
        self.nested.reply(self.id, self.on_main, flags, payload);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.nested.calls.lock().remove(&self.id).is_some() {
            self.nested.count.fetch_sub(1, Ordering::Release);
        }
    }
}

const fn flag(octets: bool) -> u8 {
    if octets { FLAG_REPLY_OCTETS } else { 0 }
}

impl Nested {
    /// None yet.
    pub(super) fn new(side: Arc<Side>, mainline: Arc<Mainline>) -> Arc<Self> {
        Arc::new(Self { side, mainline, calls: Mutex::default(), count: AtomicUsize::new(0) })
    }

    /// Sends an answer where it is read.
    fn reply(&self, id: u64, on_main: bool, flags: u8, payload: &[u8]) {
        let header = Header { size: 0, meta: 0, kind: Kind::Reply, flags, call: id, a: 0, b: 0 };
        if on_main {
            self.mainline.put(header, payload);
        } else {
            self.side.send(header, b"", payload);
        }
    }

    /// Begins to answer a call, on this thread's runtime. `make` is given the line and says what answers.
    ///
    /// # Errors
    /// The worker uses an id twice: it is broken.
    pub(super) fn begin(
        self: &Arc<Self>,
        invoked: Invoked,
        make: impl FnOnce(Invoked, Line) -> Answering,
    ) -> Result<(), Overrun> {
        let gate = Arc::new(Gate { left: AtomicI64::new(STREAM_CREDIT.into()), opened: Notify::new() });
        let (id, parent, on_main) = (invoked.id, invoked.parent, invoked.on_main);
        let is_full = {
            let mut calls = self.calls.lock();
            if calls.contains_key(&id) {
                return Err(Overrun::Id);
            }
            calls.insert(id, Outgoing { parent, on_main, gate: Arc::clone(&gate), task: None });
            self.count.fetch_add(1, Ordering::Release);
            calls.len() > MOST
        };
        let line = Line { gate, nested: Arc::clone(self), id, on_main };
        let answering = if is_full {
            line.refuse("queue_full", "the worker has too many calls of its own")
        } else {
            make(invoked, line)
        };
        // Without the lock: a runtime that ends drops what it is given, and the line takes the lock.
        let task = tokio::spawn(answering).abort_handle();
        if let Some(call) = self.calls.lock().get_mut(&id) {
            call.task = Some(task);
        }
        Ok(())
    }

    /// The worker has taken so much of its items.
    pub(super) fn consumed(&self, id: u64, weight: u32) {
        if let Some(call) = self.calls.lock().get(&id) {
            call.gate.left.fetch_add(weight.into(), Ordering::AcqRel);
            call.gate.opened.notify_one();
        }
    }

    /// Nobody waits for this answer.
    pub(super) fn abandon(&self, id: u64) {
        if let Some(call) = self.calls.lock().get(&id) {
            call.end();
        }
    }

    /// The call in which they were made is over, in whatever way: whoever waits for them is told.
    pub(super) fn end_with(&self, parent: u64, over: Over) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        for (id, call) in self.calls.lock().iter().filter(|(_, call)| call.parent == parent) {
            self.reply(*id, call.on_main, FLAG_FAILED, over.said());
            call.end();
        }
    }

    /// The worker is gone.
    pub(super) fn end_all(&self) {
        for call in self.calls.lock().values() {
            call.end();
        }
    }
}

/// How the call in which others were made is over for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It has ended, or its caller has left.
    Left,
    /// It is past its deadline, which is theirs, too.
    Late,
}

impl Over {
    /// What those who wait are told.
    const fn said(self) -> &'static [u8] {
        match self {
            Self::Left => {
                br#"{"code":"client_closed","detail":"the call in which this one was made is over"}"#
            }
            Self::Late => {
                br#"{"code":"deadline_exceeded","detail":"the agent did not answer before the deadline"}"#
            }
        }
    }
}

impl Outgoing {
    fn end(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
