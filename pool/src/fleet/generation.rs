//! One mounted version of a package: its processes, its slots, and what is counted of it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::{
    backoff::Backoff,
    exchange::{Exchange, Waits},
    homes::Homes,
    lodging::Lodgings,
    metrics::PoolMetrics,
    obituary::ObituarySink,
    primaries::Primaries,
    slots::Slots,
    solitary::Solitary,
    status::ForkStatus,
    totals::{Tally, Totals},
};
use crate::{
    package::Installed,
    process::{
        Cage, ExportFacts, Lane, Lodging, Meter, OutputSink, SandboxLevel, Template, TemplateSettings,
    },
};

/// Settings that all generations share.
#[derive(Debug, Clone)]
pub(crate) struct FleetSettings {
    pub(crate) template: TemplateSettings,
    pub(crate) idle_ttl: Duration,
    pub(crate) pack_budget: Duration,
    pub(crate) cores: u32,
    pub(crate) homes: Arc<Homes>,
    pub(crate) metrics: Arc<PoolMetrics>,
    pub(crate) sessions: Arc<Lodgings>,
    /// What connects calls between agents, as soon as there is something.
    pub(crate) exchange: Arc<OnceLock<Arc<dyn Exchange>>>,
    /// What is told what calls have used, if anybody wants to know.
    pub(crate) meter: Arc<OnceLock<Arc<dyn Meter>>>,
    /// Who is told how processes end.
    pub(crate) obituaries: ObituarySink,
    pub(crate) background: Handle,
}

/// What may change while a generation lives.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) backoff: Backoff,
    pub(crate) last_error: Option<String>,
    pub(crate) next_start: Instant,
}

/// A running generation.
#[derive(Debug)]
pub struct Generation {
    /// Its number, ascending over the life of the data directory.
    pub number: u64,
    /// What it runs.
    pub installed: Installed,
    pub(crate) facts: Vec<ExportFacts>,
    pub(crate) fork: ForkStatus,
    pub(crate) sandbox: SandboxLevel,
    pub(crate) preload: bool,
    /// Sync calls at once on one worker.
    pub(crate) threads: u32,
    pub(crate) slots: Arc<Slots>,
    /// Workers of its isolated sessions.
    pub(crate) solitary: Solitary,
    /// What serves its surfaces.
    pub(crate) primaries: Primaries,
    pub(crate) template: tokio::sync::Mutex<Option<Arc<Template>>>,
    /// What its processes may take together.
    pub(crate) cage: Arc<Cage>,
    /// Held for as long as its processes and calls may need their directories.
    pub(crate) lodging: Lodging,
    /// Process id of the newest template.
    pub(crate) template_pid: AtomicU32,
    pub(crate) health: Mutex<Health>,
    pub(crate) starting: AtomicUsize,
    /// Whether calls wait and no worker may be added for them.
    pub(crate) at_cap: tokio::sync::watch::Sender<bool>,
    pub(crate) troubled: AtomicBool,
    pub(crate) in_flight: AtomicUsize,
    /// Calls whose handlers wait for calls of their own.
    pub(crate) waits: Arc<Waits>,
    pub(crate) answered: AtomicU64,
    pub(crate) totals: Totals,
    /// What was counted at moments of the last minutes, oldest first.
    pub(crate) history: Mutex<VecDeque<(Instant, Tally)>>,
    pub(crate) ending: tokio::sync::watch::Sender<bool>,
    pub(crate) settings: FleetSettings,
}

impl Generation {
    /// Where output of its processes goes.
    pub(crate) fn sink(&self) -> &OutputSink {
        &self.settings.template.sink
    }

    /// How calls of an export share a worker.
    pub fn lane(&self, export: u32) -> Lane {
        self.facts.get(export as usize).map_or(Lane::Sync, |facts| facts.lane)
    }

    /// Calls that run or wait.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Remembers what was counted so far, for [`Generation::recent`].
    pub(crate) fn note_history(&self) {
        let mut history = self.history.lock();
        if history.back().is_some_and(|(at, _)| at.elapsed() < HISTORY_STEP) {
            return;
        }
        history.push_back((Instant::now(), self.totals.tally()));
        while history.front().is_some_and(|(at, _)| at.elapsed() > HISTORY) {
            history.pop_front();
        }
    }

    /// What was counted in the last minutes.
    pub(crate) fn recent(&self) -> Tally {
        let now = self.totals.tally();
        let history = self.history.lock();
        // A generation that is younger than its history has all of it.
        match history.front().filter(|(at, _)| at.elapsed() > HISTORY.saturating_sub(HISTORY_STEP)) {
            Some((_, earlier)) => now.since(earlier),
            None => now,
        }
    }
}

/// How far back a generation is compared with its successor, and how often that is written down.
const HISTORY: Duration = Duration::from_secs(300);
const HISTORY_STEP: Duration = Duration::from_secs(30);
