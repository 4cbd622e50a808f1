//! What a generation tells about itself.

use std::{collections::HashSet, sync::atomic::Ordering};

use super::{
    book::Place,
    directory::{Seated, surfaces},
    generation::Generation,
    metrics::PoolMetrics,
    pool::Pool,
    receipt::Kept,
    status::{PackageStatus, WorkerStatus},
};
use crate::process::usage;

impl Generation {
    /// `active`, `draining`, `crash_loop` or `error`.
    pub fn state(&self) -> &'static str {
        if *self.ending.borrow() {
            return "draining";
        }
        if !self.troubled.load(Ordering::Relaxed) {
            return "active";
        }
        let looping = self.health.lock().backoff.is_loop();
        if looping && self.slots.snapshot().seats.is_empty() { "crash_loop" } else { "active" }
    }

    /// Everything about a mounted package. Reads `/proc` for every process: for people, not for the hot path.
    pub(crate) fn status(&self, seated: &Seated) -> PackageStatus {
        let mount = &seated.mount;
        let now = self.slots.snapshot();
        let mut workers: Vec<WorkerStatus> = now
            .seats
            .iter()
            .map(|seat| WorkerStatus {
                pid: seat.worker.pid,
                state: match (seat.retiring, seat.outstanding) {
                    (true, _) => "retiring",
                    (false, 0) => "idle",
                    (false, _) => "busy",
                },
                outstanding: seat.outstanding,
                answered: seat.worker.channel.answered(),
                sessions: seat.sessions,
            })
            .collect();
        workers.extend(self.solitary.workers().iter().map(|worker| WorkerStatus {
            pid: worker.pid,
            state: "isolated",
            // One at a time.
            outstanding: u32::from(worker.channel.with_ticket(worker.channel.started(), |_| ()).is_some()),
            answered: worker.channel.answered(),
            sessions: 1,
        }));
        let template = self.template_pid.load(Ordering::Relaxed);
        let primaries = self.primary_pids();
        let pids = workers.iter().map(|worker| worker.pid).chain(primaries.iter().copied()).chain([template]);
        let package = mount.package();
        PackageStatus {
            id: mount.id.clone(),
            state: match (self.state(), seated.place) {
                ("active", Place::Beside) => "beside",
                ("active", Place::Parked { .. }) => "parked",
                (state, Place::Active | Place::Beside | Place::Parked { .. }) => state,
            },
            active: seated.place.is_active(),
            traffic: (seated.weight > 0).then_some(seated.weight),
            digest: self.installed.digest,
            generation: self.number,
            source: mount.source.clone(),
            queue_depth: now.waiting.iter().sum(),
            runtime: package.runtime.to_string(),
            fork: self.fork.clone(),
            sandbox: self.sandbox.clone(),
            pss_bytes: pids.filter_map(usage::proportional).sum(),
            agents: mount.agents(),
            surfaces: surfaces(package),
            last_error: self.health.lock().last_error.clone(),
            warnings: self.installed.warnings.clone(),
            steps: self
                .installed
                .steps
                .iter()
                .map(|(step, time)| (step.text(), time.as_secs_f64()))
                .collect(),
            workers,
            primaries,
        }
    }

    pub(crate) fn refresh_metrics(&self, metrics: &PoolMetrics, package: &str) {
        let now = self.slots.snapshot();
        let busy = now.seats.iter().filter(|seat| seat.outstanding > 0).count();
        let count = |state: &str, n: usize| {
            metrics.workers.with_label_values(&[package, state]).set(i64::try_from(n).unwrap_or(i64::MAX));
        };
        count("busy", busy);
        count("idle", now.seats.len() - busy);
        count("isolated", self.solitary.workers().len());
        count("starting", self.starting.load(Ordering::Relaxed));
        let waiting: usize = now.waiting.iter().sum();
        metrics.queue_depth.with_label_values(&[package]).set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let ratio = busy as f64 / now.seats.len().max(1) as f64;
        metrics.slots_busy.with_label_values(&[package]).set(ratio);
    }
}

impl Pool {
    /// Receipts of rollouts, newest first.
    pub fn rollouts(&self) -> Vec<Kept> {
        self.receipts.all()
    }

    /// One receipt.
    pub fn rollout(&self, id: &str) -> Option<Kept> {
        self.receipts.one(id)
    }

    /// Brings the gauges up to date; to be called before they are read.
    pub fn refresh_metrics(&self) {
        let metrics = &self.fleet.metrics;
        metrics.workers.reset();
        metrics.slots_busy.reset();
        metrics.queue_depth.reset();
        let directory = self.directory.load();
        let standing: HashSet<String> =
            directory.standing().iter().map(|seated| seated.mount.id.to_string()).collect();
        metrics.forget(|package| !standing.contains(package));
        for seated in directory.standing() {
            seated.mount.generation.refresh_metrics(metrics, &seated.mount.id.to_string());
        }
    }
}
