//! The process that serves a generation's REST and A2A: a fork of the template like a worker, but one that takes no
//! invoke calls. A plain function that computes would stop every surface, and workers without async handlers have no
//! event loop at all.
//!
//! HTTP reaches it over connections that are handed to it one by one: no address exists to which anybody else could
//! connect. gRPC listens on an abstract socket with a random name, which the sandbox keeps other packages from. A2A
//! actions are calls on its main socket.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};
use tokio::{runtime::Handle, sync::oneshot, time::timeout_at};

use super::{
    control::{Becomes, SurfaceFacts},
    death::Death,
    descriptors,
    logs::{CallName, OutputSink},
    meter::{Account, Delivery, Owed},
    nested::{Answering, Line, Over},
    reply::{CallFrame, Invoked, Item, Overrun, Reply, Ticket},
    tail::Tail,
    template::{StartError, Template},
    witness::Witness,
    worker::{Watch, Worker},
};

/// A live primary.
#[derive(Debug)]
pub struct Primary {
    /// Process id.
    pub pid: u32,
    /// What it serves.
    pub facts: SurfaceFacts,
    worker: Arc<Worker<ActionTicket>>,
    door: OwnedFd,
}

/// Where the answer of an action goes.
#[derive(Debug)]
pub(crate) struct ActionTicket {
    answer: oneshot::Sender<Delivery>,
    request_id: Arc<str>,
    /// What is charged for it, if anybody is.
    owed: Option<Owed>,
}

impl Ticket for ActionTicket {
    fn end(self, reply: Reply) {
        if let Some(owed) = &self.owed {
            owed.account.settle(&reply);
        }
        // A caller that left wants no answer, and what comes back is charged.
        drop(self.answer.send(Delivery::new(reply, self.owed)));
    }

    fn item(&self, _item: Item) -> Result<(), Overrun> {
        Err(Overrun::Item)
    }

    fn witness(&self) -> Option<Arc<dyn Witness>> {
        // Actions are asked for no spans.
        None
    }

    fn connect(&self, _invoked: Invoked, line: Line) -> Answering {
        line.refuse("bad_request", "actions of a surface cannot call agents")
    }

    fn name(&self) -> CallName {
        CallName { request_id: Arc::clone(&self.request_id), meta: Bytes::new() }
    }

    fn in_turn(&self) -> bool {
        false
    }
}

/// Cancels an action whose caller left before its end.
struct Leave<'a> {
    worker: &'a Worker<ActionTicket>,
    id: u64,
    armed: bool,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.worker.channel.cancel(self.id, Over::Left);
        }
    }
}

impl Primary {
    /// Forks a primary and waits until its surfaces are served. Returns how long that took as well.
    pub(crate) async fn start(
        template: &Template,
        package: &Arc<str>,
        sink: &OutputSink,
        timeout: Duration,
    ) -> Result<(Arc<Self>, Watch, Duration), StartError> {
        let (ours, door, theirs) = descriptors::primary()
            .map_err(|source| StartError::System { what: "make a primary's descriptors", source })?;
        let (worker, watch, took) =
            Worker::born(template, Becomes::Primary, (ours, theirs), package, sink, timeout).await?;
        let facts = worker.ready.surfaces.clone().unwrap_or_default();
        Ok((Arc::new(Self { pid: worker.pid, facts, worker, door }), watch, took))
    }

    /// A new connection to the REST application, non-blocking.
    ///
    /// # Errors
    /// `WouldBlock` if the process has taken none for a while, `BrokenPipe` or `ConnectionReset` if it is gone.
    pub fn connect_rest(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        let handed = [theirs.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&handed)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.door, &[IoSlice::new(b"r")], &mut ancillary, flags)?;
        Ok(ours.into())
    }

    /// Sends one action and waits for its end, at most until the deadline. Dropping the future cancels the action.
    /// Returns the reply (`None`: the deadline passed) and whether it had started.
    pub(crate) async fn act(
        &self,
        frame: &CallFrame,
        request_id: Arc<str>,
        account: Option<Account>,
        deadline: Instant,
        home: &Handle,
    ) -> (Option<Reply>, bool) {
        let channel = &self.worker.channel;
        if !channel.is_attached() {
            channel.attach(home);
        }
        let (answer, reply) = oneshot::channel();
        let left = deadline.saturating_duration_since(Instant::now());
        let milliseconds = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
        let (meta, sent) = (frame.meta.clone(), Instant::now());
        let owed = account.map(|account| {
            let request_id = Arc::clone(&request_id);
            Owed { account, request_id, meta, depth: 0, is_action: true, sent, deadline, over: None }
        });
        let ticket = ActionTicket { answer, request_id, owed };
        let Ok(id) = channel.submit(frame, milliseconds, ticket) else {
            return (Some(Reply::Returned), false);
        };
        let mut leave = Leave { worker: &self.worker, id, armed: true };
        match timeout_at(deadline.into(), reply).await {
            Ok(Ok(delivery)) => {
                leave.armed = false;
                (Some(delivery.take()), true)
            }
            Ok(Err(_)) => {
                leave.armed = false;
                (Some(Reply::Returned), false)
            }
            Err(_elapsed) => (None, channel.started() >= id),
        }
    }

    /// What it printed last, for whoever explains its end.
    pub(crate) fn tail(&self) -> &Tail {
        &self.worker.tail
    }

    /// When it was started.
    pub(crate) fn since(&self) -> Instant {
        self.worker.since
    }

    /// Asks it to end when it has shut its application down.
    pub(crate) fn retire(&self) {
        self.worker.retire();
    }

    /// Ends the process.
    pub(crate) fn kill(&self, cause: Death) {
        self.worker.kill(cause);
    }

    /// Waits for the end and tells why it came.
    pub(crate) async fn ended(&self, watch: Watch, home: &Handle) -> Arc<Death> {
        // Nobody else reads the main socket of a primary that is asked for no action.
        self.worker.channel.attach(home);
        self.worker.ended(watch).await
    }
}
