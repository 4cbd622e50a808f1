//! Calls to one worker and their answers: many calls in one write, many answers in one read.
//!
//! The input and output task runs on the thread of the first caller (`pingora.md` Q6: with the caller on the same
//! thread the gateway needs 14 instead of 21 µs a call). Callers append to one buffer under a short lock; the task runs
//! after those callers in the same turn of the loop, so what they appended leaves with one system call. In a long turn
//! whoever fills a batch writes it, so that the worker does not wait for the turn's end and the turn's calls for each other.

use std::{
    io,
    os::unix::net::UnixStream as StdUnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use par_proto::frames::{Decoder, Frame, Header, Kind};
use parking_lot::Mutex;
use tokio::{
    io::AsyncReadExt,
    net::{UnixStream, unix::pipe},
    runtime::Handle,
    sync::oneshot,
};

use super::{
    arrival::{Arrival, arrival, collect},
    death::{Closed, Death},
    journal::Journal,
    logs::CallName,
    mainline::Mainline,
    nested::{Nested, Over},
    outbox::Outbox,
    pending::Pending,
    reply::{CallFrame, Invoked, Item, Overrun, Reply, Ticket},
    side::Side,
    stall::Stall,
    writer::{Writer, Written},
};

mod shared;
use shared::Shared;

/// Room for answers in one read. Larger answers grow it; 64 KiB holds a full window of small ones.
const INBOX: usize = 64 * 1024;

/// Calls that are not kept waiting for others of the same turn. A write and the wake-up behind it cost some 5 µs, a call
/// in the edge before it is sent about as much: fewer would be dear, more would leave the worker idle.
const BATCH: usize = 8;

/// How long a worker that takes nothing more is listened to: one that is dead has said all long before.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(250);

/// The channel to one worker.
pub(crate) struct Channel<T> {
    shared: Mutex<Shared<T>>,
    writer: Writer,
    mainline: Arc<Mainline>,
    side: Arc<Side>,
    nested: Arc<Nested>,
    pub(super) journal: Journal,
    attached: AtomicBool,
    stalled: AtomicBool,
    answered: AtomicU64,
}

impl<T: Ticket> Channel<T> {
    /// A channel that is not attached to a thread yet, and a receiver that says when it is over.
    pub(crate) fn new(
        main: StdUnixStream,
        side: StdUnixStream,
        journal: Journal,
    ) -> (Arc<Self>, oneshot::Receiver<Closed>) {
        let (on_close, closed) = oneshot::channel();
        let (side, mainline) = (Arc::new(Side::new(side)), Arc::<Mainline>::default());
        let channel = Arc::new(Self {
            shared: Mutex::new(Shared {
                out: Outbox::default(),
                pending: Pending::default(),
                used: Pending::default(),
                in_turn: 0,
                last: None,
                next: 1,
                open: true,
                idle_socket: Some(main),
                on_close: Some(on_close),
            }),
            nested: Nested::new(Arc::clone(&side), Arc::clone(&mainline)),
            writer: Writer::default(),
            mainline,
            side,
            journal,
            attached: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            answered: AtomicU64::new(0),
        });
        (channel, closed)
    }

    /// Whether input and output run.
    pub(crate) fn is_attached(&self) -> bool {
        self.attached.load(Ordering::Acquire)
    }

    /// Starts input and output on a thread; the first call wins.
    pub(crate) fn attach(self: &Arc<Self>, home: &Handle) {
        if self.attached.swap(true, Ordering::AcqRel) {
            return;
        }
        let (socket, on_close) = {
            let mut shared = self.shared.lock();
            (shared.idle_socket.take(), shared.on_close.take())
        };
        let (Some(socket), Some(on_close)) = (socket, on_close) else { return };
        let channel = Arc::clone(self);
        home.spawn(async move {
            let closed = channel.run(socket).await.unwrap_or_else(|error| {
                tracing::warn!(event = "worker_failed", %error, "the socket of a worker could not be used");
                Closed::Ended
            });
            drop(on_close.send(closed));
        });
    }

    /// Sends a call and returns its id. Gives the ticket back if the channel is over.
    pub(crate) fn submit(&self, call: &CallFrame, deadline_ms: u32, ticket: T) -> Result<u64, T> {
        let mut shared = self.shared.lock();
        if !shared.open {
            return Err(ticket);
        }
        let id = shared.next;
        shared.next += 1;
        let (kind, flags, a) = (Kind::Call, call.flags, call.export);
        let header = Header { size: 0, meta: 0, kind, flags, call: id, a, b: deadline_ms };
        let waiting = shared.out.append(header, &call.meta, &call.payload);
        shared.in_turn += usize::from(ticket.in_turn());
        shared.pending.insert(id, ticket);
        drop(shared);
        if waiting == 1 {
            self.mainline.ring();
        } else if waiting.is_multiple_of(BATCH) {
            self.writer.write_early(|bytes| self.take_out(bytes));
        }
        Ok(id)
    }

    /// Tells the worker that nobody waits for a call any more, but not before it has the call.
    pub(crate) fn cancel(&self, id: u64, over: Over) {
        let mut shared = self.shared.lock();
        if !shared.pending.contains_key(&id) {
            return;
        }
        let may_cancel = shared.out.may_cancel(id);
        drop(shared);
        if may_cancel {
            self.say(Kind::Cancel, id, 0);
        }
        self.nested.end_with(id, over);
    }

    /// Lets a call send so many bytes of items more.
    pub(crate) fn credit(&self, id: u64, bytes: u32) {
        self.say(Kind::Credit, id, bytes);
    }

    /// Tells the worker that a session is over: its state is dropped.
    pub(crate) fn forget(&self, session: u64) {
        let header = Header { size: 0, meta: 0, kind: Kind::Forget, flags: 0, call: 0, a: 0, b: 0 };
        self.side.send(header, format!("{{\"session\":{session}}}").as_bytes(), b"");
    }

    /// Asks for every call that has not started.
    pub(crate) fn recall(&self) {
        self.stalled.store(true, Ordering::Relaxed);
        self.say(Kind::Recall, 0, 0);
    }

    /// Asks the worker to end when it has nothing left to do.
    pub(crate) fn stop(&self) {
        self.say(Kind::Stop, 0, 0);
    }

    /// Whether a long call holds up the others of this worker.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Calls answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Id of the call that started last.
    pub(crate) fn started(&self) -> u64 {
        self.journal.progress().started
    }

    /// The call that started last, for what the worker prints.
    pub(crate) fn speaking(&self) -> Option<CallName> {
        let started = self.started();
        let shared = self.shared.lock();
        match shared.pending.get(&started) {
            Some(ticket) => Some(ticket.name()),
            None => shared.last.as_ref().filter(|(id, _)| *id == started).map(|(_, name)| name.clone()),
        }
    }

    /// Looks at the ticket of an outstanding call.
    pub(crate) fn with_ticket<R>(&self, id: u64, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.shared.lock().pending.get(&id).map(look)
    }

    /// After the worker's death: answers what it had finished, returns what had not started, and tells the rest why.
    pub(crate) fn settle(&self, death: &Arc<Death>) {
        let image = self.journal.image();
        // A worker that is dead can be held to nothing.
        self.complete(image.frames, false).ok();
        self.nested.end_all();
        let (left, mut used) = {
            let mut shared = self.shared.lock();
            shared.open = false;
            shared.out.clear();
            shared.in_turn = 0;
            (std::mem::take(&mut shared.pending), std::mem::take(&mut shared.used))
        };
        for (id, ticket) in left {
            let meta = used.remove(&id).unwrap_or_default();
            let died = || Reply::Died { death: Arc::clone(death), meta };
            ticket.end(if id <= image.started { died() } else { Reply::Returned });
        }
    }

    fn say(&self, kind: Kind, call: u64, a: u32) {
        self.side.send(Header { size: 0, meta: 0, kind, flags: 0, call, a, b: 0 }, b"", b"");
    }

    /// Reads and writes until the channel is over. An error: no descriptor is left, or it cannot be watched.
    async fn run(&self, socket: StdUnixStream) -> io::Result<Closed> {
        // Told of what can be read, and nothing else: a socket of the runtime is also told of room, with each read of
        // the worker, and its thread would be woken twice for a call.
        let mut reader = pipe::Receiver::from_owned_fd_unchecked(socket.try_clone()?.into())?;
        let _opened = self.writer.open(socket);
        Ok(self.serve(&mut reader).await)
    }

    async fn serve(&self, reader: &mut pipe::Receiver) -> Closed {
        let mut inbox = BytesMut::with_capacity(INBOX);
        let mut decoder = Decoder::default();
        let mut frames = Vec::with_capacity(64);
        let tick = tokio::time::sleep(Stall::AFTER);
        tokio::pin!(tick);
        let mut stall = Stall::default();
        let mut side = None;
        loop {
            let Ok(written) = self.writer.write(|bytes| self.take_out(bytes)) else {
                // It takes nothing more, and what it said before is still an answer. A dead one's words have an end.
                let last = async {
                    while let Ok(1..) = reader.read_buf(&mut inbox).await {
                        if let Err(garbage) = self.hear(&mut decoder, &mut inbox, &mut frames) {
                            return Closed::Garbage(garbage);
                        }
                    }
                    Closed::Ended
                };
                return tokio::time::timeout(LAST_WORDS, last).await.unwrap_or(Closed::Ended);
            };
            if self.side.is_full() || self.mainline.is_full() {
                return Closed::Garbage("it does not read what it is told".to_owned());
            }
            if self.side.waits() && side.is_none() {
                side = self.side.watched().ok();
            }
            let watching = stall.arm(self.shared.lock().in_turn, tick.as_mut());
            inbox.reserve(INBOX / 2);
            tokio::select! {
                biased;
                read = reader.read_buf(&mut inbox) => match read {
                    Ok(0) | Err(_) => return Closed::Ended,
                    Ok(_) => {
                        stall.progress();
                        if let Err(garbage) = self.hear(&mut decoder, &mut inbox, &mut frames) {
                            return Closed::Garbage(garbage);
                        }
                    }
                },
                () = self.mainline.rung() => {}
                () = self.side.stuck() => {}
                ready = self.writer.room(), if written == Written::Part => if ready.is_err() { return Closed::Ended },
                () = self.unblocked(side.as_ref()), if self.side.waits() => {}
                () = tick.as_mut(), if watching => if stall.fired() { self.recall() },
            }
        }
    }

    /// Acts on what was read. What came whole before garbage is still an answer.
    fn hear(
        &self,
        decoder: &mut Decoder,
        inbox: &mut BytesMut,
        frames: &mut Vec<Frame>,
    ) -> Result<(), String> {
        let collected = collect(decoder, inbox, frames).map_err(|error| error.to_string());
        let completed = self.complete(frames.drain(..), true).map_err(|error| error.to_string());
        collected.and(completed)
    }

    /// Waits until the worker reads its second socket, and writes what it takes.
    async fn unblocked(&self, side: Option<&UnixStream>) {
        match side {
            Some(side) if side.writable().await.is_ok() => self.side.flush(side),
            // Without a handle to watch, the next command tries again.
            Some(_) | None => std::future::pending().await,
        }
    }

    /// Takes what is to be written, when all that was taken before has left.
    fn take_out(&self, bytes: &mut BytesMut) {
        let cancelled = self.shared.lock().out.take(bytes);
        for id in cancelled {
            self.say(Kind::Cancel, id, 0);
        }
        self.mainline.take(bytes);
    }

    fn take(&self, id: u64) -> Option<T> {
        let ticket = self.shared.lock().take(id)?;
        self.nested.end_with(id, Over::Left);
        Some(ticket)
    }

    /// Acts on what has come. Of a worker that is dead only answers and items count.
    fn complete(&self, frames: impl IntoIterator<Item = Frame>, alive: bool) -> Result<(), Overrun> {
        let mut progressed = 0;
        let mut overrun = Ok(());
        for frame in frames {
            let id = frame.header.call;
            match arrival(frame) {
                Arrival::End(reply) => {
                    progressed += u64::from(!matches!(reply, Reply::Returned));
                    // An id that is not there was answered before: from the journal, or a frame seen twice.
                    if let Some(ticket) = self.take(id) {
                        ticket.end(reply);
                    }
                }
                Arrival::Item(item) => overrun = overrun.and(self.pass_on(id, item)),
                Arrival::Invoke(invoked) if alive => overrun = overrun.and(self.connect(invoked)),
                Arrival::Spans(told) => {
                    if let Some(witness) = self.with_ticket(id, T::witness).flatten() {
                        witness.spans(&told);
                    }
                }
                Arrival::Used(used) => self.shared.lock().note(id, used),
                Arrival::Consumed(bytes) => self.nested.consumed(id, bytes),
                Arrival::Abandoned => self.nested.abandon(id),
                Arrival::Invoke(_) | Arrival::Nothing => {}
            }
        }
        if progressed > 0 {
            self.answered.fetch_add(progressed, Ordering::Relaxed);
            if self.stalled.load(Ordering::Relaxed) {
                self.stalled.store(false, Ordering::Relaxed);
            }
        }
        overrun
    }

    /// Begins a call that a handler makes.
    fn connect(&self, invoked: Invoked) -> Result<(), Overrun> {
        let shared = self.shared.lock();
        let parent = shared.pending.get(&invoked.parent);
        self.nested.begin(invoked, |invoked, line| match parent {
            Some(parent) => parent.connect(invoked, line),
            None => line.refuse("bad_request", "the call in which this one was made is over"),
        })
    }

    /// Gives an item to its call. A call that streams takes its time: what waits behind it is called back at once.
    fn pass_on(&self, id: u64, item: Item) -> Result<(), Overrun> {
        let shared = self.shared.lock();
        let Some(ticket) = shared.pending.get(&id) else { return Ok(()) };
        let others = ticket.in_turn() && shared.in_turn > 1;
        let taken = ticket.item(item);
        drop(shared);
        if others && !self.is_stalled() {
            self.recall();
        }
        taken
    }
}

impl<T> std::fmt::Debug for Channel<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
