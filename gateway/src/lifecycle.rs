//! From the start to the end of the process: ready when every source was looked at, or the one agent answers; stopped in the order that loses
//! nothing: 503, a delay for the load balancer, no more accepting, running calls finish, workers end.

use std::{
    path::PathBuf,
    process,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use par_pool::fleet::Pool;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    billing::Billing,
    config::Shutdown,
    control::{Readiness, ShutdownSwitch},
    edge::{FIRST_WORD, InFlight},
    exit::Exit,
    live::Shared,
    meter::Meter,
    observe::{LogSink, telemetry::Telemetry},
    service_manager::ServiceManager,
    upgrade::{Fallback, Upgrade},
    webhooks::Webhooks,
};

/// How far the life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    /// 503, still accepting.
    Leaving,
    /// No more accepting.
    Draining,
}

/// Whether everything that was promised answers.
type Promised = Box<dyn Fn() -> bool + Send + Sync>;

/// The life of the process.
pub(crate) struct Lifecycle {
    phase: watch::Sender<Phase>,
    promised: OnceLock<Promised>,
    leaving: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
    /// Whether the end is in favour of a successor.
    succeeded: AtomicBool,
    exit: AtomicU8,
}

/// What is ended, in this order.
pub(crate) struct Ends {
    /// The packages.
    pub(crate) pool: Arc<Pool>,
    /// Requests that are being answered.
    pub(crate) in_flight: InFlight,
    /// Settings in force; what was used today is written once more.
    pub(crate) live: Shared,
    /// What calls have used; added up once more.
    pub(crate) meter: Option<Arc<Meter>>,
    /// What is billed.
    pub(crate) billing: Option<Arc<Billing>>,
    /// Webhooks out.
    pub(crate) webhooks: Option<Arc<Webhooks>>,
    /// What is sent by itself.
    pub(crate) telemetry: Telemetry,
    /// The log.
    pub(crate) sink: LogSink,
    /// Who is told that this ends.
    pub(crate) manager: ServiceManager,
    /// What the process becomes, if it does.
    pub(crate) upgrade: Arc<Upgrade>,
    /// What it was, if its start fails.
    pub(crate) fallback: Fallback,
    /// Files that go.
    pub(crate) leftovers: Leftovers,
}

/// Files that go with the process.
#[derive(Debug)]
pub(crate) struct Leftovers {
    /// The socket of the management side.
    pub(crate) control: PathBuf,
    /// The local socket, if it is ours; a successor keeps it.
    pub(crate) local: Option<PathBuf>,
}

/// How long webhooks that are being sent may take, and so what is sent to receivers of traces and metrics.
const LETTERS: Duration = Duration::from_secs(2);

/// How long the last log lines may take to leave.
const FLUSH: Duration = Duration::from_secs(1);

/// Time in which busy connections end with their answers, and streams that would go on for ever by themselves, before
/// nothing is accepted any more: a client that calls again and again does so within it. It adds nothing to the pause of an
/// upgrade.
const PARTING: Duration = Duration::from_millis(300);

/// Looks in which nobody asks before a successor takes over.
const QUIET: u32 = 5;

/// How long requests that were cut may take to be recorded: their workers are gone, and they end by that.
const LAST_RECORDS: Duration = Duration::from_millis(200);

/// Time between two looks at what is still running.
const LOOK: Duration = Duration::from_millis(5);

impl Lifecycle {
    /// Running, not ready.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            phase: watch::channel(Phase::Running).0,
            promised: OnceLock::new(),
            leaving: Arc::default(),
            draining: Arc::default(),
            succeeded: AtomicBool::new(false),
            exit: AtomicU8::new(Exit::Done.number()),
        })
    }

    /// What readiness asks; until then nothing is ready.
    pub(crate) fn promise(&self, kept: impl Fn() -> bool + Send + Sync + 'static) {
        // Set once, by the start.
        self.promised.set(Box::new(kept)).ok();
    }

    /// The end will be this one, and without the delay for load balancers: they have never been sent anybody.
    pub(crate) fn fail(&self, exit: Exit) {
        self.exit.store(exit.number(), Ordering::Relaxed);
    }

    /// Waits for the begin of the stop.
    pub(crate) async fn leaves(&self) {
        // The sender lives as long as the process.
        self.phase.subscribe().wait_for(|phase| *phase >= Phase::Leaving).await.ok();
    }

    /// True as soon as the stop has begun; for the hot path.
    pub(crate) fn leaving(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.leaving)
    }

    /// True as soon as nothing new is begun.
    pub(crate) fn draining(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.draining)
    }

    /// Turns signals into the graceful stop; a second one ends the process at once. The processes of agents end with
    /// their sockets.
    pub(crate) async fn obey_signals(self: Arc<Self>) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if self.succeeded.swap(false, Ordering::Relaxed) {
                tracing::warn!(event = "upgrade_called_off", "the runtime stops instead");
                continue;
            }
            if *self.phase.borrow() > Phase::Running {
                process::exit(1);
            }
            self.begin();
        }
    }

    /// Waits for the stop, then ends everything in order and exits: with 0, unless the start has failed.
    pub(crate) async fn end(self: Arc<Self>, shutdown: Shutdown, ends: Ends) {
        let Ends {
            pool,
            in_flight,
            live,
            meter,
            billing,
            webhooks,
            telemetry,
            sink,
            manager,
            upgrade,
            fallback,
            leftovers,
        } = ends;
        self.leaves().await;
        let successor = upgrade.chosen().filter(|_| self.is_succeeded());
        let exit = self.exit.load(Ordering::Relaxed);
        let goes_back = exit != Exit::Done.number() && fallback.is_there();
        // A service that goes on is not stopping; it is ready again when its successor is.
        if successor.is_some() || goes_back {
            manager.reloading();
        } else {
            manager.stopping();
        }
        let is_told = exit == Exit::Done.number() && successor.is_none();
        let delay = if is_told { shutdown.delay } else { Duration::ZERO };
        tracing::info!(
            event = "stopping",
            delay_seconds = delay.as_secs_f64(),
            in_flight = in_flight.count()
        );
        pool.halt();
        tokio::time::sleep(delay).await;
        if successor.is_some() {
            // Busy connections are told to end with their next answer, so that few meet the end while they ask.
            tokio::time::sleep(PARTING).await;
        } else {
            self.draining.store(true, Ordering::Relaxed);
        }
        upgrade.leave(successor.is_some());
        self.phase.send_replace(Phase::Draining);
        let deadline = Instant::now() + shutdown.grace;
        if successor.is_some() {
            tokio::time::sleep(FIRST_WORD).await;
        }
        match &successor {
            Some(_) => drained(|| upgrade.awaited(), deadline, QUIET).await,
            None => drained(|| in_flight.count(), deadline, 0).await,
        }
        let cut = in_flight.count();
        pool.stop(Duration::ZERO).await;
        // What was cut ends now, and owes its record until it has.
        drained(|| in_flight.count(), Instant::now() + LAST_RECORDS, 0).await;
        if let Some(limiter) = &live.load().limiter {
            limiter.save();
        }
        if let Some(billing) = billing {
            billing.stop(LETTERS);
        }
        if let Some(meter) = meter {
            meter.stop(LETTERS);
        }
        if let Some(webhooks) = webhooks {
            // What is not sent now is sent after the next start.
            webhooks.stop(deadline.saturating_duration_since(Instant::now()).min(LETTERS)).await;
        }
        telemetry.stop(deadline.saturating_duration_since(Instant::now()).min(LETTERS)).await;
        let is_called_off = successor.is_some() && !self.is_succeeded();
        if is_called_off {
            manager.stopping();
        }
        // Whoever has asked for the end meanwhile gets it.
        let successor = successor.filter(|_| !is_called_off);
        let local = leftovers.local.filter(|_| successor.is_none() && !goes_back);
        for path in local.into_iter().chain([leftovers.control]) {
            // A socket that is gone already is what was wanted.
            std::fs::remove_file(path).ok();
        }
        tracing::info!(event = "stopped", calls_cut = cut, exit);
        sink.flush(FLUSH);
        if let Some(successor) = successor {
            let error = upgrade.execute(&successor, &sink);
            tracing::error!(event = "upgrade_failed", %error, "this process can become nothing");
            sink.flush(FLUSH);
            process::exit(Exit::Failed.number().into());
        }
        if goes_back {
            fallback.take(&format!("its start has ended with {exit}, and the log says why"), Some(&sink));
        }
        process::exit(exit.into());
    }

    /// Begins the end; once is enough.
    fn leave(&self, is_succeeded: bool) {
        self.phase.send_if_modified(|phase| {
            let first = *phase == Phase::Running;
            if first {
                *phase = Phase::Leaving;
                self.succeeded.store(is_succeeded, Ordering::Relaxed);
                self.leaving.store(true, Ordering::Relaxed);
            }
            first
        });
    }

    /// Whether the end is in favour of a successor.
    fn is_succeeded(&self) -> bool {
        self.succeeded.load(Ordering::Relaxed)
    }

    /// For pingora: says when to stop accepting.
    pub(crate) fn signal(&self) -> Box<dyn ShutdownSignalWatch> {
        Box::new(Signal(self.phase.subscribe()))
    }
}

/// Waits until nothing is answered any more, in so many looks in a row behind the first: a connection that was about to
/// ask when it was told to end may ask once more.
async fn drained(running: impl Fn() -> usize, deadline: Instant, quiet: u32) {
    let mut looks = 0;
    while looks <= quiet && Instant::now() < deadline {
        looks = if running() > 0 { 0 } else { looks + 1 };
        if looks <= quiet {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl ShutdownSwitch for Lifecycle {
    fn begin(&self) {
        self.leave(false);
    }

    fn succeed(&self) {
        self.leave(true);
    }

    fn ready(&self) -> Readiness {
        if *self.phase.borrow() > Phase::Running {
            return if self.is_succeeded() { Readiness::Leaving } else { Readiness::Stopping };
        }
        if self.promised.get().is_some_and(|kept| kept()) { Readiness::Ready } else { Readiness::Starting }
    }
}

struct Signal(watch::Receiver<Phase>);

#[async_trait]
impl ShutdownSignalWatch for Signal {
    async fn recv(&self) -> ShutdownSignal {
        let mut phase = self.0.clone();
        // The sender lives as long as the process.
        phase.wait_for(|phase| *phase >= Phase::Draining).await.ok();
        ShutdownSignal::GracefulTerminate
    }
}
