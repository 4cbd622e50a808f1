//! One worker: started from a template, watched until its end.

use std::{
    os::fd::OwnedFd,
    path::PathBuf,
    pin::pin,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use par_proto::frames::{Decoder, Kind};
use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::{io::AsyncReadExt, net::UnixStream, runtime::Handle, sync::oneshot};

use super::{
    cage::Member,
    channel::{Channel, LAST_WORDS},
    control::{Becomes, ImportFailure, Ready},
    death::{Closed, Death},
    descriptors::{self, Ours, Theirs},
    logs::{Origin, OutputSink},
    priority,
    reply::Ticket,
    tail::Tail,
    template::{StartError, Template},
    usage,
};

/// How long the exit status of a worker whose socket has ended is waited for. The template reports it within a
/// millisecond; without a template nobody does.
const STATUS_WAIT: Duration = Duration::from_millis(250);

/// A live worker.
pub(crate) struct Worker<T> {
    pub(crate) pid: u32,
    pub(crate) channel: Arc<Channel<T>>,
    pub(crate) ready: Ready,
    pub(crate) tail: Arc<Tail>,
    /// When its start was asked for.
    pub(crate) since: Instant,
    pidfd: OwnedFd,
    member: Member,
    cause: Mutex<Option<Death>>,
}

/// What tells a worker's end.
#[derive(Debug)]
pub(crate) struct Watch {
    closed: oneshot::Receiver<Closed>,
    exit: oneshot::Receiver<Death>,
}

/// What a worker does with its calls at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It runs, or waits for a core.
    Computing,
    /// A handler waits for something else.
    Waiting,
    /// It waits for calls: what is outstanding on it is on its way.
    Nothing,
}

impl<T: Ticket> Worker<T> {
    /// Forks a worker and waits until it is ready. Returns how long that took as well.
    pub(crate) async fn start(
        template: &Template,
        package: &Arc<str>,
        sink: &OutputSink,
        timeout: Duration,
    ) -> Result<(Arc<Self>, Watch, Duration), StartError> {
        let made = descriptors::worker()
            .map_err(|source| StartError::System { what: "make a worker's descriptors", source })?;
        Self::born(template, Becomes::Worker, made, package, sink, timeout).await
    }

    /// The same for one session: `temporary` is a directory that only it shall see, and `layer` what sees to that.
    pub(crate) async fn start_alone(
        template: &Template,
        (temporary, layer): (PathBuf, Option<OwnedFd>),
        package: &Arc<str>,
        sink: &OutputSink,
        timeout: Duration,
    ) -> Result<(Arc<Self>, Watch, Duration), StartError> {
        let (ours, Theirs(mut theirs)) = descriptors::worker()
            .map_err(|source| StartError::System { what: "make a worker's descriptors", source })?;
        theirs.extend(layer);
        let becomes = Becomes::Alone { temporary };
        Self::born(template, becomes, (ours, Theirs(theirs)), package, sink, timeout).await
    }

    /// Forks a process and waits until it is ready.
    pub(super) async fn born(
        template: &Template,
        becomes: Becomes,
        (ours, theirs): (Ours, Theirs),
        package: &Arc<str>,
        sink: &OutputSink,
        timeout: Duration,
    ) -> Result<(Arc<Self>, Watch, Duration), StartError> {
        let begin = Instant::now();
        let system = |what: &'static str| move |source: std::io::Error| StartError::System { what, source };
        let role = becomes.role();
        // Asked before it is forked: what it inherits is what its template was then, or better.
        let is_low = template.is_low();
        let forked = template.fork(becomes, theirs).await?;
        let pid = forked.pid;
        let has_imported = !template.ready().exports.is_empty();
        let is_low = if is_low && has_imported {
            priority::raise(pid);
            false
        } else {
            is_low
        };
        let member = template.member().worker(pid);
        let pidfd = Pid::from_raw(pid.cast_signed())
            .ok_or(StartError::Ended)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).map_err(|_| StartError::Ended))?;
        let guard = KillUnlessReady(Some(&pidfd));
        let seen: Arc<OnceLock<Weak<Channel<T>>>> = Arc::default();
        let origin = origin(package, role, pid, Arc::clone(&seen));
        let tail = Arc::clone(&origin.tail);
        sink.follow(&origin, ours.stdout, ours.stderr);
        let main = UnixStream::from_std(ours.main).map_err(system("use a worker's socket"))?;
        let mut hearing = pin!(first_frame(main));
        let soon = if is_low { timeout.min(priority::PATIENCE) } else { timeout };
        let heard = match tokio::time::timeout(soon, &mut hearing).await {
            Err(_) if is_low => {
                priority::raise(pid);
                tokio::time::timeout(timeout, hearing).await
            }
            heard => heard,
        };
        let (main, ready) = heard.map_err(|_| StartError::Slow(timeout))??;
        if is_low {
            priority::raise(pid);
        }
        std::mem::forget(guard);
        let (channel, closed) = Channel::new(main, ours.side, ours.journal);
        // Set once, here; a second worker has its own cell.
        drop(seen.set(Arc::downgrade(&channel)));
        let worker = Self { pid, channel, ready, tail, since: begin, pidfd, member, cause: Mutex::new(None) };
        Ok((Arc::new(worker), Watch { closed, exit: forked.exit }, begin.elapsed()))
    }

    /// Ends the process; the first cause given is the one that callers are told.
    pub(crate) fn kill(&self, cause: Death) {
        self.cause.lock().get_or_insert(cause);
        // Gone already is what was wanted.
        pidfd_send_signal(&self.pidfd, Signal::KILL).ok();
    }

    /// It will be ended for this cause, whatever it does until then: nobody should begin anything in it any more.
    pub(crate) fn condemn(&self, cause: Death) {
        self.cause.lock().get_or_insert(cause);
    }

    /// Whether its end is decided.
    pub(crate) fn is_condemned(&self) -> bool {
        self.cause.lock().is_some()
    }

    /// Asks the process to end when it has nothing left to do; that it does is no accident.
    pub(crate) fn retire(&self) {
        self.cause.lock().get_or_insert(Death::Retired);
        self.channel.stop();
    }

    /// What it does now; `None`: it is gone. Costs some ten microseconds.
    pub(crate) fn doing(&self) -> Option<Doing> {
        let before = self.channel.journal.progress();
        if before.resting {
            return Some(Doing::Nothing);
        }
        let runnable = usage::is_runnable(self.pid)?;
        // Of one whose call has ended while it was looked at nothing is known.
        let same = self.channel.journal.progress() == before;
        Some(match (runnable, same) {
            (true, _) => Doing::Computing,
            (false, true) => Doing::Waiting,
            (false, false) => Doing::Nothing,
        })
    }

    /// Asks for the Python stacks of all threads, on the worker's standard error.
    pub(crate) fn dump_stacks(&self) {
        pidfd_send_signal(&self.pidfd, Signal::USR2).ok();
    }

    /// Waits for the end, settles all outstanding calls and tells why it ended.
    pub(crate) async fn ended(&self, watch: Watch) -> Arc<Death> {
        let Watch { mut closed, mut exit } = watch;
        let status = tokio::select! {
            closed = &mut closed => {
                if let Ok(Closed::Garbage(what)) = closed {
                    self.kill(Death::Garbage(what));
                }
                // A worker that closed its socket but lives on is of no use.
                let waited = tokio::time::timeout(STATUS_WAIT, &mut exit).await;
                match waited {
                    Ok(Ok(death)) => Some(death),
                    Ok(Err(_)) => None,
                    Err(_) => {
                        self.kill(Death::Vanished);
                        None
                    }
                }
            }
            status = &mut exit => match status {
                Ok(death) => {
                    // Its end is told on another way than its answers, some of which may not be read yet.
                    let unread = self.channel.is_attached().then_some(&mut closed);
                    if let Some(unread) = unread
                        && let Ok(Ok(Closed::Garbage(what))) = tokio::time::timeout(LAST_WORDS, unread).await
                    {
                        self.kill(Death::Garbage(what));
                    }
                    Some(death)
                }
                // The template is gone: the socket's end is what is left to wait for, and before the first call
                // nobody reads the socket.
                Err(_) => {
                    self.channel.attach(&Handle::current());
                    drop((&mut closed).await);
                    None
                }
            },
        };
        let cause = self.member.sentence(status.as_ref()).or_else(|| self.cause.lock().clone());
        let death = Arc::new(cause.or(status).unwrap_or(Death::Vanished));
        self.kill(Death::Vanished);
        self.channel.settle(&death);
        death
    }
}

struct KillUnlessReady<'a>(Option<&'a OwnedFd>);

impl Drop for KillUnlessReady<'_> {
    fn drop(&mut self) {
        if let Some(pidfd) = self.0.take() {
            pidfd_send_signal(pidfd, Signal::KILL).ok();
        }
    }
}

fn origin<T: Ticket>(
    package: &Arc<str>,
    role: &'static str,
    pid: u32,
    channel: Arc<OnceLock<Weak<Channel<T>>>>,
) -> Origin {
    let call = move || channel.get()?.upgrade()?.speaking();
    Origin { package: Arc::clone(package), pid, role, call: Some(Arc::new(call)), tail: Arc::default() }
}

/// Reads `READY` or `FAILED`; a worker sends nothing else before its first call.
async fn first_frame(mut main: UnixStream) -> Result<(std::os::unix::net::UnixStream, Ready), StartError> {
    let system = |source| StartError::System { what: "hear the worker", source };
    let mut buffer = BytesMut::new();
    let mut decoder = Decoder::default();
    let frame = loop {
        if let Some(frame) = decoder
            .next(&mut buffer)
            .map_err(|error| StartError::Fork(format!("the worker's first frame: {error}")))?
        {
            break frame;
        }
        if main.read_buf(&mut buffer).await.map_err(system)? == 0 {
            return Err(StartError::Ended);
        }
    };
    let broken = |error: serde_json::Error| StartError::Fork(format!("the worker's first frame: {error}"));
    if frame.header.kind == Kind::Failed {
        let failure: ImportFailure = serde_json::from_slice(&frame.payload).map_err(broken)?;
        return Err(StartError::Import(failure));
    }
    if frame.header.kind != Kind::Ready {
        return Err(StartError::Fork("the worker's first frame is not READY".to_owned()));
    }
    let ready = serde_json::from_slice(&frame.payload).map_err(broken)?;
    Ok((main.into_std().map_err(system)?, ready))
}

impl<T> std::fmt::Debug for Worker<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("pid", &self.pid).finish_non_exhaustive()
    }
}
