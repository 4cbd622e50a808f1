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

use par_proto::frames::{FLAG_FAILED, FLAG_ITEM, FLAG_REPLY_OCTETS, Header, Kind, MAX_BODY, STREAM_CREDIT};
use parking_lot::Mutex;
use tokio::{sync::Notify, task::AbortHandle};

use super::{reply::Invoked, side::Side};

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
    gate: Arc<Gate>,
    task: AbortHandle,
}

/// All of one worker.
#[derive(Debug, Default)]
pub(super) struct Nested {
    calls: Mutex<HashMap<u64, Outgoing>>,
    /// How many, for who looks without the lock: almost no worker has any.
    count: AtomicUsize,
}

/// Where the answer to such a call goes.
#[derive(Debug)]
pub struct Line {
    side: Arc<Side>,
    gate: Arc<Gate>,
    nested: Arc<Nested>,
    id: u64,
}

impl Line {
    /// Sends an item as soon as the worker has room for it.
    pub async fn item(&self, payload: &[u8], octets: bool) {
        while self.gate.left.load(Ordering::Acquire) <= 0 {
            self.gate.opened.notified().await;
        }
        self.gate.left.fetch_sub((payload.len() as u64).cast_signed(), Ordering::AcqRel);
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
        let header = Header { size: 0, meta: 0, kind: Kind::Reply, flags, call: self.id, a: 0, b: 0 };
        self.side.send(header, b"", payload);
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
    /// Begins to answer a call, on this thread's runtime. `make` is given the line and says what answers.
    pub(super) fn begin(
        self: &Arc<Self>,
        side: &Arc<Side>,
        invoked: Invoked,
        make: impl FnOnce(Invoked, Line) -> Answering,
    ) {
        let gate = Arc::new(Gate { left: AtomicI64::new(STREAM_CREDIT.into()), opened: Notify::new() });
        let (id, parent) = (invoked.id, invoked.parent);
        let line = Line { side: Arc::clone(side), gate: Arc::clone(&gate), nested: Arc::clone(self), id };
        let answering = make(invoked, line);
        // The lock is held over the insertion: a quick answer takes its entry out only behind it.
        let mut calls = self.calls.lock();
        let task = tokio::spawn(answering).abort_handle();
        if let Some(former) = calls.insert(id, Outgoing { parent, gate, task }) {
            // A worker that uses an id twice has given the first one up.
            former.task.abort();
        } else {
            self.count.fetch_add(1, Ordering::Release);
        }
    }

    /// The worker has taken so many bytes of items.
    pub(super) fn consumed(&self, id: u64, bytes: u32) {
        if let Some(call) = self.calls.lock().get(&id) {
            call.gate.left.fetch_add(bytes.into(), Ordering::AcqRel);
            call.gate.opened.notify_one();
        }
    }

    /// Nobody waits for this answer.
    pub(super) fn abandon(&self, id: u64) {
        if let Some(call) = self.calls.lock().get(&id) {
            call.task.abort();
        }
    }

    /// The call in which they were made is over.
    pub(super) fn end_with(&self, parent: u64) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        for call in self.calls.lock().values().filter(|call| call.parent == parent) {
            call.task.abort();
        }
    }

    /// The worker is gone.
    pub(super) fn end_all(&self) {
        for call in self.calls.lock().values() {
            call.task.abort();
        }
    }
}
