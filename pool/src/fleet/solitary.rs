//! Workers of isolated sessions: each forked for one session, outside of the slots, and never used for another.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;

use super::{generation::Generation, lodging::loss, seat::Seated};
use crate::{
    process::{Death, StartError, Watch, Worker},
    session::Ending,
};

/// The workers of one generation's isolated sessions.
#[derive(Debug, Default)]
pub(crate) struct Solitary {
    workers: Mutex<Vec<Seated>>,
    running: AtomicUsize,
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

    /// Whether a call runs in one of them.
    pub(crate) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }
}

impl Generation {
    /// Forks a worker for one session. It is watched from [`Generation::seat_alone`] on.
    pub(crate) async fn start_alone(self: &Arc<Self>) -> Result<(Seated, Watch), StartError> {
        let template = self.living_template().await?;
        let package: Arc<str> = Arc::from(self.installed.package.id.to_string());
        let timeout = self.settings.template.import_timeout;
        let (worker, watch, took) = Worker::start(&template, &package, self.sink(), timeout).await?;
        let method = self.fork.method;
        self.settings.metrics.worker_start.with_label_values(&[method]).observe(took.as_secs_f64());
        Ok((worker, watch))
    }

    /// Watches a worker of its own until its end, which is that of its session too.
    pub(crate) fn seat_alone(self: &Arc<Self>, worker: Seated, watch: Watch) {
        self.solitary.workers.lock().push(Arc::clone(&worker));
        if *self.ending.borrow() {
            worker.kill(Death::Retired);
        }
        let generation = Arc::clone(self);
        self.settings.background.spawn(async move {
            let before = worker.channel.answered();
            let death = worker.ended(watch).await;
            generation.solitary.workers.lock().retain(|other| !Arc::ptr_eq(other, &worker));
            generation.bereave(&worker, &death);
            generation.mourn(&worker, &death, worker.channel.answered() > before);
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
