//! What a session lives in: a share of a worker, or a worker of its own.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::Semaphore;

use super::{bound::Bound, directory::Mount, seat::Seated};
use crate::{
    package::SessionMode,
    process::{Death, Primary, usage},
    session::{Ending, Held, Keeper, Limits, Loss, Turn},
};

/// Time for a worker to run to its end after its session, before it is killed.
const FAREWELL: Duration = Duration::from_secs(2);

/// Sessions of the pool.
pub(crate) type Lodgings = Keeper<Lodging>;

/// The turn of a call in its session.
pub(crate) type SessionTurn = Turn<Lodging>;

/// Where calls of a session go.
#[derive(Debug, Clone)]
pub(crate) enum Home {
    /// To a worker that keeps others as well.
    Shared(Arc<Bound>),
    /// To a worker that nobody else has.
    Own(Seated),
}

/// A session's place in the fleet.
pub(crate) struct Lodging {
    /// Of the session; never used again.
    pub(crate) number: u64,
    /// Full id of the agent that opened it.
    pub(crate) agent: Arc<str>,
    /// The version in which it lives, whatever replaces that.
    pub(crate) mount: Arc<Mount>,
    /// Its calls, in the order in which they came, one at a time. Closed when it is over.
    pub(crate) queue: Arc<Semaphore>,
    /// Calls that were sent to its worker.
    pub(crate) calls: AtomicU64,
    /// Proportional set of its own worker when it was measured, after so many calls.
    measured: Mutex<(u64, u64)>,
    /// Name of the call that had its turn last; calls that are nested in it have the same.
    running: Mutex<Option<Arc<str>>>,
    over: OnceLock<Ending>,
    home: Mutex<Option<Home>>,
    /// The process that serves its requests at surfaces, from the first one on.
    desk: OnceLock<Arc<Primary>>,
    _counted: Counted,
}

/// One session in the gauge.
#[derive(Debug)]
pub(crate) struct Counted(IntGauge);

impl Counted {
    /// Counts one more until it is dropped.
    pub(crate) fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Lodging {
    pub(crate) fn new(number: u64, agent: Arc<str>, mount: Arc<Mount>, counted: Counted) -> Self {
        Self {
            number,
            agent,
            mount,
            queue: Arc::new(Semaphore::new(1)),
            calls: AtomicU64::new(0),
            measured: Mutex::new((0, 0)),
            running: Mutex::new(None),
            over: OnceLock::new(),
            home: Mutex::new(None),
            desk: OnceLock::new(),
            _counted: counted,
        }
    }

    /// `sticky` or `isolated`.
    pub(crate) fn mode(&self) -> SessionMode {
        self.mount.package().session.mode
    }

    /// How long its version lets it live.
    pub(crate) fn limits(mount: &Mount) -> Limits {
        let policy = &mount.package().session;
        Limits { idle_ttl: policy.idle_ttl, max_ttl: policy.max_ttl }
    }

    /// A call has its turn.
    pub(crate) fn begin(&self, request_id: &Arc<str>) {
        *self.running.lock() = Some(Arc::clone(request_id));
    }

    /// Whether the call of this name has its turn now.
    pub(crate) fn is_in(&self, request_id: &str) -> bool {
        self.queue.available_permits() == 0 && self.running.lock().as_deref() == Some(request_id)
    }

    /// How it ended, if it did.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.over.get().copied()
    }

    /// Where its calls go; nowhere before the first one.
    pub(crate) fn home(&self) -> Option<Home> {
        self.home.lock().clone()
    }

    /// Moves it in. False: it is over, and the home was let go.
    pub(crate) fn settle(&self, home: Home) -> bool {
        let mut held = self.home.lock();
        match self.ending() {
            None => {
                *held = Some(home);
                true
            }
            Some(ending) => {
                drop(held);
                self.let_go(&home, ending);
                false
            }
        }
    }

    /// Its worker, if it has one.
    pub(crate) fn worker(&self) -> Option<Seated> {
        self.home.lock().as_ref().map(|home| match home {
            Home::Shared(bound) => Arc::clone(&bound.worker),
            Home::Own(worker) => Arc::clone(worker),
        })
    }

    /// Process id of its worker, or of what serves its surface.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.worker().map(|worker| worker.pid).or_else(|| self.desk.get().map(|primary| primary.pid))
    }

    /// The process that serves its requests at surfaces; the first of them chooses.
    pub(crate) fn desk(&self, choose: impl FnOnce() -> Option<Arc<Primary>>) -> Option<Arc<Primary>> {
        if let Some(primary) = self.desk.get() {
            return Some(Arc::clone(primary));
        }
        let chosen = choose()?;
        // Two first requests at once: the one that was quicker has chosen for both.
        Some(Arc::clone(self.desk.get_or_init(|| chosen)))
    }

    /// Whether what served its surface is gone, and with it what that knew.
    pub(crate) fn is_bereft(&self) -> bool {
        self.desk.get().is_some_and(|primary| !self.mount.generation.is_serving(primary))
    }

    /// Bytes that its end would free, as far as it was measured. What a shared worker would free cannot be told
    /// beforehand.
    pub(crate) fn weight(&self) -> u64 {
        self.measured.lock().1
    }

    /// Whether its own worker has worked since it was measured.
    pub(crate) fn is_unmeasured(&self) -> bool {
        self.measured.lock().0 != self.calls.load(Ordering::Relaxed)
    }

    /// Measures its own worker.
    pub(crate) fn measure(&self) {
        let calls = self.calls.load(Ordering::Relaxed);
        let bytes = match self.home() {
            Some(Home::Own(worker)) => usage::own(worker.pid).unwrap_or(0),
            Some(Home::Shared(_)) | None => 0,
        };
        *self.measured.lock() = (calls, bytes);
    }

    fn let_go(&self, home: &Home, ending: Ending) {
        match (home, ending) {
            // Its worker is told when the last call in it is over, too.
            (Home::Shared(_), Ending::Idle | Ending::Aged | Ending::Lost(_)) => {}
            (Home::Own(worker), Ending::Lost(_)) => worker.kill(Death::Retired),
            (Home::Own(worker), Ending::Idle | Ending::Aged) => {
                worker.retire();
                let worker = Arc::clone(worker);
                self.mount.generation.settings.background.spawn(async move {
                    tokio::time::sleep(FAREWELL).await;
                    worker.kill(Death::Retired);
                });
            }
        }
    }
}

impl std::fmt::Debug for Lodging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lodging").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Held for Lodging {
    fn over(&self, ending: Ending) {
        if self.over.set(ending).is_err() {
            return;
        }
        let package = &self.mount.id;
        let (session, cause) = (self.number, ending.text());
        tracing::info!(event = "session_ended", %package, session, cause, "{ending}");
        self.queue.close();
        let home = self.home.lock().take();
        if let Some(home) = home {
            self.let_go(&home, ending);
        }
    }
}

/// What a worker's death means to the sessions that lived in it.
pub(crate) fn loss(death: &Death) -> Loss {
    match death {
        Death::OutOfMemory { .. } => Loss::Oom,
        Death::Retired => Loss::Shutdown,
        Death::Exited(_)
        | Death::Signalled(_)
        | Death::Timeout
        | Death::Crowded { .. }
        | Death::Garbage(_)
        | Death::Vanished => Loss::Crash,
    }
}
