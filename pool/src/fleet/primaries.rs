//! The processes that serve a generation's surfaces: started with it, replaced when they die.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use parking_lot::Mutex;

use super::{
    backoff::Backoff,
    call::Call,
    generation::Generation,
    obituary::Deceased,
    outcome::{Answer, Outcome},
};
use crate::process::{CallFrame, Death, Primary, Reply, StartError, Template, Watch};

/// A primary that lived so long has shown that it can: its death begins a new count.
const PROVEN: Duration = Duration::from_secs(10);

/// How long an application may take to shut itself down when its generation ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// Whether a generation's REST and A2A can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SurfaceState {
    /// It declares neither.
    NotDeclared,
    /// A process serves them.
    Ready,
    /// The process has ended, the next one is about to start.
    Starting,
    /// The processes end again and again; the next start waits.
    CrashLoop,
}

/// The primaries of one generation.
#[derive(Debug, Default)]
pub(crate) struct Primaries {
    pub(super) seats: ArcSwap<Vec<Arc<Primary>>>,
    /// Requests so far: who serves next.
    visits: AtomicUsize,
    backoff: Mutex<Backoff>,
}

/// A request at a surface; a rollout waits for its end.
#[derive(Debug)]
pub struct Visit(Arc<Generation>);

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How much a session is drawn to a process (rendezvous hashing).
fn affinity(session: &[u8], pid: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (session, pid).hash(&mut hasher);
    hasher.finish()
}

/// A primary that has just started.
pub(crate) type Born = (Arc<Primary>, Watch);

/// Starts as many primaries as the manifest wants, if it declares surfaces.
pub(crate) async fn first(
    template: &Template,
    generation: &super::generation::FleetSettings,
    installed: &crate::package::Installed,
    package: &Arc<str>,
) -> Result<Vec<Born>, StartError> {
    let surfaces = &installed.package.surfaces;
    let wanted = if surfaces.are_served() { surfaces.workers } else { 0 };
    let (sink, timeout) = (&generation.template.sink, generation.template.import_timeout);
    let starts = (0..wanted).map(|_| Primary::start(template, package, sink, timeout));
    let started = join_all(starts).await.into_iter().map(|born| {
        born.map(|(primary, watch, took)| {
            let seconds = took.as_secs_f64();
            generation.metrics.worker_start.with_label_values(&["primary"]).observe(seconds);
            (primary, watch)
        })
    });
    started.collect()
}

impl Generation {
    /// A process that serves the surfaces now; several take turns, one visit each. Requests of one session go to the same
    /// one as long as it lives, and a death moves only the sessions of who died.
    pub fn primary(&self, session: Option<&[u8]>) -> Option<Arc<Primary>> {
        let seats = self.primaries.seats.load();
        if let Some(session) = session {
            return seats.iter().max_by_key(|seat| affinity(session, seat.pid)).map(Arc::clone);
        }
        let visits = self.primaries.visits.load(Ordering::Relaxed);
        seats.get(visits.checked_rem(seats.len())?).map(Arc::clone)
    }

    /// Whether a process still serves the surfaces.
    pub(crate) fn is_serving(&self, primary: &Arc<Primary>) -> bool {
        self.primaries.seats.load().iter().any(|seat| Arc::ptr_eq(seat, primary))
    }

    /// Whether the surfaces can be reached.
    pub fn surfaces(&self) -> SurfaceState {
        if !self.installed.package.surfaces.are_served() {
            SurfaceState::NotDeclared
        } else if !self.primaries.seats.load().is_empty() {
            SurfaceState::Ready
        } else if self.primaries.backoff.lock().is_loop() {
            SurfaceState::CrashLoop
        } else {
            SurfaceState::Starting
        }
    }

    /// Process ids of the primaries.
    pub(crate) fn primary_pids(&self) -> Vec<u32> {
        self.primaries.seats.load().iter().map(|primary| primary.pid).collect()
    }

    /// Counts a request at a surface until the guard is dropped.
    pub fn visit(self: &Arc<Self>) -> Visit {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.primaries.visits.fetch_add(1, Ordering::Relaxed);
        Visit(Arc::clone(self))
    }

    /// Asks a primary for one of its A2A actions, by its place in [`crate::process::A2aFacts::actions`]; the call's
    /// export is of no account. Dropping the future cancels the action.
    pub async fn act(self: &Arc<Self>, primary: &Primary, action: u32, call: Call) -> Answer {
        let _visit = self.visit();
        let frame = CallFrame { export: action, meta: call.meta, payload: call.payload, flags: 0 };
        let home = self.settings.homes.pick();
        let account = self.account(call.tenant.as_ref());
        let (reply, started) = primary.act(&frame, call.request_id, account, call.deadline, &home).await;
        if let Some((trace, reply)) = call.trace.as_ref().zip(reply.as_ref()) {
            trace.ended(reply.used().unwrap_or_default());
        }
        let spent = reply.as_ref().map(Reply::spent).unwrap_or_default();
        let outcome = match reply {
            None => Outcome::Deadline { started },
            Some(Reply::Done { flags, meta, payload, .. }) => Outcome::Done { flags, meta, payload },
            Some(Reply::Ended { meta, .. }) => Outcome::Ended { meta },
            Some(Reply::Failed { payload, .. }) => Outcome::Failed(payload),
            Some(Reply::Cancelled { .. }) => Outcome::Deadline { started: true },
            Some(Reply::Died { death, .. }) => Outcome::Crashed(death),
            Some(Reply::Returned) => Outcome::CrashLoop { retry_after: Duration::from_secs(1) },
        };
        Answer { outcome, queued: Duration::ZERO, spent, pid: primary.pid }
    }

    /// Takes a primary into service and replaces it when it ends.
    pub(crate) fn seat_primary(self: &Arc<Self>, (primary, watch): Born) {
        let generation = Arc::clone(self);
        generation.place(&primary);
        self.settings.background.spawn(async move { generation.keep(primary, watch).await });
    }

    fn place(&self, primary: &Arc<Primary>) {
        self.primaries.seats.rcu(|seats| {
            let mut seats = Vec::clone(seats);
            seats.push(Arc::clone(primary));
            seats
        });
    }

    async fn keep(self: Arc<Self>, mut primary: Arc<Primary>, mut watch: Watch) {
        loop {
            let since = Instant::now();
            let home = self.settings.homes.pick();
            let death = primary.ended(watch, &home).await;
            self.primaries.seats.rcu(|seats| {
                seats.iter().filter(|seat| !Arc::ptr_eq(seat, &primary)).map(Arc::clone).collect::<Vec<_>>()
            });
            let package = self.installed.package.id.to_string();
            self.settings.metrics.worker_exits.with_label_values(&[package.as_str(), death.label()]).inc();
            if *self.ending.borrow() {
                return;
            }
            self.mourn_primary(Arc::clone(&primary), &death);
            self.health.lock().last_error = Some(format!("the process of the surfaces: {death}"));
            {
                let mut backoff = self.primaries.backoff.lock();
                let lived = since.elapsed() >= PROVEN;
                *backoff = if lived { Backoff::answered().failed() } else { backoff.failed() };
            }
            match self.replace().await {
                Some(born) => (primary, watch) = born,
                None => return,
            }
        }
    }

    /// Tells of its end. Its successor does not wait for that.
    fn mourn_primary(self: &Arc<Self>, primary: Arc<Primary>, death: &Arc<Death>) {
        let (generation, death) = (Arc::clone(self), Arc::clone(death));
        let lived = primary.since().elapsed();
        self.settings.background.spawn(async move {
            let (worker, tail) = (primary.pid, primary.tail());
            let deceased = Deceased { worker, role: "primary", answered: 0, lived, tail };
            generation.bury(deceased, &death).await;
        });
    }

    /// Starts primaries until one lives; `None` when the generation ends.
    async fn replace(self: &Arc<Self>) -> Option<Born> {
        let mut ending = self.ending.subscribe();
        loop {
            let delay = self.primaries.backoff.lock().delay();
            tokio::select! {
                _ = ending.wait_for(|ending| *ending) => return None,
                () = tokio::time::sleep(delay) => {}
            }
            match self.start_primary().await {
                Ok(born) => {
                    if *self.ending.borrow() {
                        born.0.kill(Death::Retired);
                        return None;
                    }
                    self.place(&born.0);
                    return Some(born);
                }
                Err(error) => {
                    if *self.ending.borrow() {
                        return None;
                    }
                    let package = &self.installed.package.id;
                    tracing::warn!(event = "primary_failed", %package, "the surfaces could not be started: {error}");
                    self.health.lock().last_error = Some(error.to_string());
                    let mut backoff = self.primaries.backoff.lock();
                    *backoff = backoff.failed();
                }
            }
        }
    }

    async fn start_primary(self: &Arc<Self>) -> Result<Born, StartError> {
        let template = self.living_template().await?;
        let package: Arc<str> = Arc::from(self.installed.package.id.to_string());
        let timeout = self.settings.template.import_timeout;
        let (primary, watch, took) = Primary::start(&template, &package, self.sink(), timeout).await?;
        self.settings.metrics.worker_start.with_label_values(&["primary"]).observe(took.as_secs_f64());
        Ok((primary, watch))
    }

    /// Lets the applications shut themselves down, for a short while. To be called when the generation is ending.
    pub(crate) async fn dismiss_primaries(&self) {
        let seats = self.primaries.seats.load_full();
        if seats.is_empty() {
            return;
        }
        for primary in seats.iter() {
            primary.retire();
        }
        let until = Instant::now() + FAREWELL;
        while !self.primaries.seats.load().is_empty() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for primary in self.primaries.seats.load().iter() {
            primary.kill(Death::Retired);
        }
    }
}
