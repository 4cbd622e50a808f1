//! Workers of isolated sessions: each forked for one session, outside of the slots, and never used for another.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use parking_lot::Mutex;

use super::{generation::Generation, lodging::loss, nook::Nook, seat::Seated};
use crate::{
    process::{Death, StartError, Watch, Worker},
    session::Ending,
};

/// The workers of one generation's isolated sessions.
#[derive(Debug, Default)]
pub(crate) struct Solitary {
    workers: Mutex<Vec<Seated>>,
    running: AtomicUsize,
    /// How many were ever begun.
    begun: AtomicU64,
}

/// One of them that was just forked.
#[derive(Debug)]
pub(crate) struct Alone {
    pub(crate) worker: Seated,
    watch: Watch,
    nook: Option<Nook>,
}

/// A call that runs in one of them.
#[derive(Debug)]
pub(crate) struct Running(Arc<Generation>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.solitary.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Solitary {
    /// All of them.
    pub(crate) fn workers(&self) -> Vec<Seated> {
        self.workers.lock().clone()
    }

    /// A number that no other one has had.
    pub(super) fn next(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a call runs in one of them.
    pub(crate) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }
}

impl Generation {
    /// Forks a worker for one session. It is watched from [`Generation::seat_alone`] on.
    pub(crate) async fn start_alone(self: &Arc<Self>) -> Result<Alone, StartError> {
        let template = self.living_template().await?;
        let package: Arc<str> = Arc::from(self.installed.package.id.to_string());
        let timeout = self.settings.template.import_timeout;
        let nook = self
            .nook(&template)
            .await
            .map_err(|source| StartError::System { what: "make a session's temporary directory", source })?;
        let (nook, layer) = nook.unzip();
        let (worker, watch, took) = match &nook {
            Some(nook) => {
                let own = (nook.path().to_path_buf(), layer.flatten());
                Worker::start_alone(&template, own, &package, self.sink(), timeout).await?
            }
            None => Worker::start(&template, &package, self.sink(), timeout).await?,
        };
        let method = self.fork.method;
        self.settings.metrics.worker_start.with_label_values(&[method]).observe(took.as_secs_f64());
        Ok(Alone { worker, watch, nook })
    }

    /// Watches a worker of its own until its end, which is that of its session too.
    pub(crate) fn seat_alone(self: &Arc<Self>, alone: Alone) {
        let Alone { worker, watch, nook } = alone;
        self.solitary.workers.lock().push(Arc::clone(&worker));
        if *self.ending.borrow() {
            worker.kill(Death::Retired);
        }
        let generation = Arc::clone(self);
        self.settings.background.spawn(async move {
            let before = worker.channel.answered();
            let death = worker.ended(watch).await;
            drop(nook);
            generation.solitary.workers.lock().retain(|other| !Arc::ptr_eq(other, &worker));
            generation.bereave(&worker, &death);
            generation.mourn(&death, worker.channel.answered() > before);
            generation.tell_of(&worker, &death).await;
        });
    }

    /// The sessions of a worker that is dead are lost.
    pub(crate) fn bereave(&self, worker: &Seated, death: &Death) {
        let ending = Ending::Lost(loss(death));
        self.settings
            .sessions
            .end_all(ending, |seen| seen.handle.worker().is_some_and(|held| Arc::ptr_eq(&held, worker)));
    }

    /// Counts a call in a worker of its own.
    pub(crate) fn run_alone(self: &Arc<Self>) -> Running {
        if self.solitary.running.fetch_add(1, Ordering::Relaxed) == 0 {
            self.slots.wake();
        }
        Running(Arc::clone(self))
    }
}
