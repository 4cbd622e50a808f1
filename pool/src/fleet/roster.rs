//! Every process of every package, with what it takes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use serde::Serialize;

use super::{
    generation::Generation,
    pool::Pool,
    snapshot::{Load, SeatView},
    ticket::CallTicket,
};
use crate::process::{Worker, usage};

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It has imported the package and forks the others.
    Template,
    /// It answers calls.
    Worker,
    /// It answers the calls of one session.
    Isolated,
    /// It serves surfaces.
    Primary,
}

/// One process. What the kernel does not tell of it is none: it has just ended.
#[derive(Debug, Clone, Serialize)]
pub struct Process {
    /// `name@version`.
    pub package: String,
    /// Number of the generation.
    pub generation: u64,
    /// Process id.
    pub pid: u32,
    /// What it is for.
    pub role: Role,
    /// `idle`, `busy`, `retiring`.
    pub state: &'static str,
    /// Calls outstanding.
    pub outstanding: u32,
    /// Calls answered.
    pub answered: u64,
    /// Sessions that live in it.
    pub sessions: u32,
    /// Since its start; none for templates.
    pub age_seconds: Option<f64>,
    /// Time on the processor since its start.
    pub cpu_seconds: Option<f64>,
    /// Resident memory, shared pages included.
    pub rss_bytes: Option<u64>,
    /// Proportional set: shared pages divided among those that share them.
    pub pss_bytes: Option<u64>,
}

/// How busy a generation is.
#[derive(Debug, Clone, Serialize)]
pub struct Busy {
    /// `name@version`.
    pub package: String,
    /// Its number.
    pub generation: u64,
    /// Its slots and its queue.
    #[serde(flatten)]
    pub load: Load,
}

impl Generation {
    /// How busy it is: one short lock.
    pub fn load(&self) -> Load {
        self.slots.load()
    }

    /// What one of its workers has printed last; nothing if it is gone.
    pub fn last_words(&self, pid: u32) -> Vec<String> {
        let alone = || self.solitary.workers().into_iter().find(|worker| worker.pid == pid);
        if let Some(worker) = self.slots.worker(pid).or_else(alone) {
            return worker.tail.lines();
        }
        let primaries = self.primaries.seats.load();
        primaries.iter().find(|one| one.pid == pid).map(|one| one.tail().lines()).unwrap_or_default()
    }

    fn processes(&self, package: &str) -> Vec<Process> {
        let process = |pid: u32, role: Role, since: Option<Instant>| Process {
            package: package.to_owned(),
            generation: self.number,
            pid,
            role,
            state: "idle",
            outstanding: 0,
            answered: 0,
            sessions: 0,
            age_seconds: since.map(|since| since.elapsed().as_secs_f64()),
            cpu_seconds: usage::processor_seconds(pid),
            rss_bytes: usage::resident(pid),
            pss_bytes: usage::proportional(pid),
        };
        let of = |worker: &Arc<Worker<CallTicket>>, role, outstanding, sessions| Process {
            state: if outstanding > 0 { "busy" } else { "idle" },
            outstanding,
            answered: worker.channel.answered(),
            sessions,
            ..process(worker.pid, role, Some(worker.since))
        };
        let shared = |seat: &SeatView| {
            let seated = of(&seat.worker, Role::Worker, seat.outstanding, seat.sessions);
            Process { state: if seat.retiring { "retiring" } else { seated.state }, ..seated }
        };
        let alone = |worker: &Arc<Worker<CallTicket>>| {
            // One at a time.
            let runs = worker.channel.with_ticket(worker.channel.started(), |_| ()).is_some();
            of(worker, Role::Isolated, u32::from(runs), 1)
        };
        let template = Some(self.template_pid.load(Ordering::Relaxed)).filter(|pid| *pid != 0);
        let mut all: Vec<Process> =
            template.map(|pid| process(pid, Role::Template, None)).into_iter().collect();
        all.extend(self.slots.snapshot().seats.iter().map(shared));
        all.extend(self.solitary.workers().iter().map(alone));
        let primaries = self.primaries.seats.load();
        all.extend(
            primaries.iter().map(|primary| process(primary.pid, Role::Primary, Some(primary.since()))),
        );
        all
    }
}

impl Pool {
    /// Every process of every package. Reads `/proc` for each of them, up to a millisecond: for people.
    pub fn processes(&self) -> Vec<Process> {
        let standing = self.directory.load().standing().to_vec();
        let of = |seated: &super::directory::Seated| {
            seated.mount.generation.processes(&seated.mount.id.to_string())
        };
        standing.iter().flat_map(of).collect()
    }

    /// How busy every generation is.
    pub fn loads(&self) -> Vec<Busy> {
        let directory = self.directory.load();
        let of = |seated: &super::directory::Seated| {
            let generation = &seated.mount.generation;
            let (package, load) = (seated.mount.id.to_string(), generation.load());
            Busy { package, generation: generation.number, load }
        };
        directory.standing().iter().map(of).collect()
    }
}
