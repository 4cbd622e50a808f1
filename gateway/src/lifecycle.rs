//! From the start to the end of the process: ready when every source was looked at, stopped in the order that loses
//! nothing: 503, a delay for the load balancer, no more accepting, running calls finish, workers end.

use std::{
    process,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
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
    config::Shutdown,
    control::{Readiness, ShutdownSwitch},
    edge::InFlight,
    limit::Limiter,
    observe::LogSink,
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

/// The life of the process.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    phase: watch::Sender<Phase>,
    pool: OnceLock<Arc<Pool>>,
    leaving: Arc<AtomicBool>,
}

/// What is ended, in this order.
pub(crate) struct Ends {
    /// The packages.
    pub(crate) pool: Arc<Pool>,
    /// Requests that are being answered.
    pub(crate) in_flight: InFlight,
    /// What was used today; written once more.
    pub(crate) limiter: Option<Arc<Limiter>>,
    /// Webhooks out.
    pub(crate) webhooks: Option<Arc<Webhooks>>,
    /// The log.
    pub(crate) sink: LogSink,
    /// Files that go.
    pub(crate) leftovers: Vec<std::path::PathBuf>,
}

/// How long webhooks that are being sent may take.
const LETTERS: Duration = Duration::from_secs(2);

/// How long the last log lines may take to leave.
const FLUSH: Duration = Duration::from_secs(1);

/// Time between two looks at what is still running.
const LOOK: Duration = Duration::from_millis(5);

impl Lifecycle {
    /// Running, not ready.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            phase: watch::channel(Phase::Running).0,
            pool: OnceLock::new(),
            leaving: Arc::default(),
        })
    }

    /// The pool whose readiness is asked.
    pub(crate) fn watch_pool(&self, pool: Arc<Pool>) {
        // Set once, by the start.
        self.pool.set(pool).ok();
    }

    /// True as soon as the stop has begun; for the hot path.
    pub(crate) fn leaving(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.leaving)
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
            if *self.phase.borrow() > Phase::Running {
                process::exit(1);
            }
            self.begin();
        }
    }

    /// Waits for the stop, then ends everything in order and exits with 0.
    pub(crate) async fn end(self: Arc<Self>, shutdown: Shutdown, ends: Ends) {
        let Ends { pool, in_flight, limiter, webhooks, sink, leftovers } = ends;
        let mut phase = self.phase.subscribe();
        if phase.wait_for(|phase| *phase >= Phase::Leaving).await.is_err() {
            return;
        }
        tracing::info!(
            event = "stopping",
            delay_seconds = shutdown.delay.as_secs_f64(),
            in_flight = in_flight.count()
        );
        pool.halt();
        tokio::time::sleep(shutdown.delay).await;
        self.phase.send_replace(Phase::Draining);
        let deadline = Instant::now() + shutdown.grace;
        while in_flight.count() > 0 && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
        let cut = in_flight.count();
        pool.stop(Duration::ZERO).await;
        if let Some(limiter) = limiter {
            limiter.save();
        }
        if let Some(webhooks) = webhooks {
            // What is not sent now is sent after the next start.
            webhooks.stop(deadline.saturating_duration_since(Instant::now()).min(LETTERS)).await;
        }
        for path in leftovers {
            // A socket that is gone already is what was wanted.
            std::fs::remove_file(path).ok();
        }
        tracing::info!(event = "stopped", calls_cut = cut);
        sink.flush(FLUSH);
        process::exit(0);
    }

    /// For pingora: says when to stop accepting.
    pub(crate) fn signal(&self) -> Box<dyn ShutdownSignalWatch> {
        Box::new(Signal(self.phase.subscribe()))
    }
}

impl ShutdownSwitch for Lifecycle {
    fn begin(&self) {
        self.phase.send_if_modified(|phase| {
            let first = *phase == Phase::Running;
            if first {
                *phase = Phase::Leaving;
                self.leaving.store(true, Ordering::Relaxed);
            }
            first
        });
    }

    fn ready(&self) -> Readiness {
        if *self.phase.borrow() > Phase::Running {
            return Readiness::Stopping;
        }
        if self.pool.get().is_some_and(|pool| pool.is_settled()) {
            Readiness::Ready
        } else {
            Readiness::Starting
        }
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
