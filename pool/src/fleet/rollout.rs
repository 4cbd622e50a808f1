//! One rollout: bytes are fetched, verified, installed, started and probed as green; only then the table changes.
//! Whatever fails, blue serves on. Rollouts of one name come one after the other, and the newest wanted one wins over
//! those that still wait.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use par_proto::ids::{Digest, PackageId, PackageName};
use parking_lot::Mutex;

use super::{
    course::{Course, tell},
    event::EventKind,
    generation::Generation,
    installers::Installing,
    pool::{LoadError, Loaded, Pool},
    probe::probe,
    receipt::{Cause, Receipt, RolloutOutcome},
};
use crate::package::{PullError, Source, Step, Unpacked, errand};

/// How rollouts go; decided before the start.
#[derive(Debug, Clone)]
pub struct RolloutSettings {
    /// How long a replaced generation is kept warm for a rollback.
    pub rollback_ttl: Duration,
    /// How many of them are kept per package.
    pub parked: usize,
    /// How long a generation that goes may finish its calls.
    pub drain_timeout: Duration,
    /// How long a new generation is watched after the switch; zero: not at all.
    pub bake_window: Duration,
    /// Calls before it is judged.
    pub bake_min_calls: u64,
    /// Percent points of failed calls more than before from which it is taken back.
    pub bake_error_points: f64,
    /// Its p99 over the former one from which it is taken back; none: p99 does not count.
    pub bake_p99_ratio: Option<f64>,
}

impl Default for RolloutSettings {
    fn default() -> Self {
        Self {
            rollback_ttl: Duration::from_secs(3600),
            parked: 2,
            drain_timeout: Duration::from_secs(600),
            bake_window: Duration::from_secs(60),
            bake_min_calls: 20,
            bake_error_points: 5.0,
            bake_p99_ratio: None,
        }
    }
}

/// Failed bytes that are remembered: more than any index names in a day. Trying each once more is all that is lost.
const REFUSED: usize = 10_000;

/// A package that is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) source: Source,
    pub(crate) cause: Cause,
    /// Place in source order.
    pub(crate) order: u64,
    /// Try what failed before, and replace what has the same id and other bytes.
    pub(crate) force: bool,
    /// Bring it back after a restart.
    pub(crate) remember: bool,
    /// Take the bytes from the store if they are still there, whatever the source says now.
    pub(crate) recall: bool,
    /// The name and version that were announced, which the package must have.
    pub(crate) named: Option<PackageId>,
    /// Place among requests; of those that wait for one name the highest wins.
    pub(crate) ticket: u64,
}

/// The rollouts of one name: one at a time.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    lock: tokio::sync::Mutex<()>,
    /// The newest request, and the bytes that it is about.
    newest: Mutex<Option<(u64, Digest)>>,
}

impl Turn {
    fn want(&self, ticket: u64, digest: Digest) {
        let mut newest = self.newest.lock();
        if newest.is_none_or(|(other, _)| other <= ticket) {
            *newest = Some((ticket, digest));
        }
    }

    /// Whether somebody has asked for other bytes since.
    fn is_over(&self, ticket: u64, digest: Digest) -> bool {
        self.newest.lock().is_some_and(|(other, wanted)| other > ticket && wanted != digest)
    }
}

impl Pool {
    /// Brings in what is wanted and keeps a receipt. What was mounted before serves until green has answered.
    pub(crate) async fn roll_out(self: &Arc<Self>, wanted: &Wanted) -> Result<Loaded, LoadError> {
        let mut course = Course::begin(wanted.cause);
        if let (Some(id), Some(digest)) = (&wanted.named, wanted.source.sha256) {
            course.name(id, digest);
        }
        let rolled = tokio::select! {
            biased;
            () = self.stopping.cancelled() => Err(LoadError::Stopping),
            rolled = self.attempt(wanted, &mut course) => rolled,
        };
        match &rolled {
            Ok(_) => self.fleet.metrics.pulls.with_label_values(&["ok"]).inc(),
            Err(error) => self.note_failure(wanted, error, course.receipt).await,
        }
        rolled
    }

    async fn attempt(self: &Arc<Self>, wanted: &Wanted, course: &mut Course) -> Result<Loaded, LoadError> {
        // What an index announces and other bytes answer is not asked for at every poll.
        self.known_as_bad(wanted, wanted.source.sha256.filter(|_| wanted.named.is_some()), Step::Verify)?;
        let unpacked = self.bytes(wanted).await?;
        let id = unpacked.package.id.clone();
        if let Some(named) = wanted.named.as_ref().filter(|named| **named != id) {
            let detail = format!("the package says it is {id}, it was announced as {named}");
            return Err(PullError::refused(Step::Manifest, detail).into());
        }
        course.name(&id, unpacked.digest);
        self.known_as_bad(wanted, Some(unpacked.digest), Step::Unpack)?;
        let turn = self.turn(&id.name);
        let digest = unpacked.digest;
        turn.want(wanted.ticket, digest);
        tell(&id, &unpacked.steps, &[Step::Fetch, Step::Verify, Step::Unpack]);
        let waiting = Instant::now();
        let _one_at_a_time = turn.lock.lock().await;
        course.step("queue", waiting.elapsed());
        if wanted.cause != Cause::Start && turn.is_over(wanted.ticket, digest) {
            return Err(LoadError::Superseded(id));
        }
        if let Some(same) = self.already(&unpacked, wanted)? {
            course.receipt = None;
            return Ok(same);
        }
        self.announce(course);
        if let Some(parked) = self.warm(&unpacked, wanted) {
            return self.go_live(&parked, wanted, course);
        }
        let green = self.green(unpacked, course).await?;
        let kill = EndUnlessMounted(Some(Arc::clone(&green)));
        let loaded = self.go_live(&green, wanted, course)?;
        kill.disarm();
        Ok(loaded)
    }

    /// The package of a source, unpacked.
    async fn bytes(&self, wanted: &Wanted) -> Result<Unpacked, PullError> {
        self.street.foresee();
        let kept = match wanted.source.sha256.filter(|_| wanted.recall) {
            Some(digest) => self.street.recall(digest).await,
            None => None,
        };
        match kept {
            Some(unpacked) => Ok(unpacked),
            None => self.street.fetch(&wanted.source).await,
        }
    }

    /// From files to a generation that has answered.
    async fn green(&self, unpacked: Unpacked, course: &mut Course) -> Result<Arc<Generation>, LoadError> {
        let id = unpacked.package.id.clone();
        course.steps(&unpacked.steps);
        let waiting = Instant::now();
        let _installing: Installing = self
            .installers
            .get()
            .await
            .map_err(|error| PullError::transient(Step::Environment, error.to_string()))?;
        course.step("queue", waiting.elapsed());
        let began = Instant::now();
        let installed = self.street.install(unpacked).await?;
        course.step("environment", began.elapsed());
        tell(&id, &installed.steps, &[Step::Environment]);
        let number = self.next_number();
        let began = Instant::now();
        let generation = Generation::start(number, installed, self.fleet.clone()).await?;
        course.step("template", began.elapsed());
        let kill = EndUnlessMounted(Some(Arc::clone(&generation)));
        tell(&id, &generation.installed.steps, &[Step::Template, Step::Serve]);
        let began = Instant::now();
        probe(&generation, self.settings.request_timeout).await?;
        course.step("probe", began.elapsed());
        let began = Instant::now();
        self.match_blue(&generation).await;
        generation.raise().await;
        course.step("warm", began.elapsed());
        kill.disarm();
        Ok(generation)
    }

    /// Starts as many workers as blue keeps busy, and one more, and takes over what is known of the calls, so that those
    /// of the first moment need not wait for growth.
    async fn match_blue(&self, green: &Arc<Generation>) {
        let most = self.fleet.cores as usize * 2;
        let blue = self
            .book
            .lock()
            .active(&green.installed.package.id.name)
            .map(|mount| Arc::clone(&mount.generation));
        let Some(blue) = blue else { return };
        green.slots.learn_from(&blue.slots);
        let now = blue.slots.snapshot();
        let busy = now.seats.iter().filter(|seat| seat.outstanding > 0).count();
        let wanted = (busy + 1).min(now.seats.len()).min(most);
        let more = green.installed.package.workers.max.map_or(wanted, |max| wanted.min(max as usize));
        // One that does not start is started when calls wait for it.
        // One after the other: each takes some milliseconds of a processor, and calls want the rest.
        for _ in 1..more {
            if green.start_worker().await.is_err() {
                return;
            }
        }
    }

    /// What is mounted already, and whether there is room.
    fn already(&self, unpacked: &Unpacked, wanted: &Wanted) -> Result<Option<Loaded>, LoadError> {
        let id = &unpacked.package.id;
        let mut book = self.book.lock();
        match book.serving(id) {
            Some(mount) if mount.generation.installed.digest == unpacked.digest && !wanted.force => {
                let loaded =
                    Loaded { package_id: id.clone(), agents: mount.agents(), created: false, former: None };
                let active = book.active(&id.name).is_some_and(|active| active.id == *id);
                // Loading what is beside makes it the one that serves.
                if !active && wanted.cause != Cause::Start {
                    return Ok(None);
                }
                book.failures.remove(&wanted.source.to_string());
                Ok(Some(loaded))
            }
            Some(_) if !self.may_replace(wanted) => Err(LoadError::Conflict(id.clone())),
            None if book.active(&id.name).is_none() && book.count() >= self.settings.max_packages => {
                Err(LoadError::Full { package: id.to_string(), limit: self.settings.max_packages })
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Whether other bytes may take the place of the same id. The index, a source that is looked at again and a changed
    /// directory say what is right.
    const fn may_replace(&self, wanted: &Wanted) -> bool {
        match wanted.cause {
            Cause::Index
            | Cause::FirstCall
            | Cause::Directory
            | Cause::Reload
            | Cause::Rollback
            | Cause::Bake => true,
            Cause::Start | Cause::Load | Cause::Upload => wanted.force || self.settings.dev,
        }
    }

    /// A generation of exactly these bytes that is still warm: parked, or beside the active one.
    fn warm(&self, unpacked: &Unpacked, wanted: &Wanted) -> Option<Arc<Generation>> {
        if wanted.force {
            return None;
        }
        let book = self.book.lock();
        let id = &unpacked.package.id;
        book.of_name(&id.name)
            .map(|standing| &standing.mount)
            .filter(|mount| mount.id == *id && mount.generation.installed.digest == unpacked.digest)
            .filter(|mount| mount.generation.state() == "active")
            .max_by_key(|mount| mount.generation.number)
            .map(|mount| Arc::clone(&mount.generation))
    }

    /// Refuses bytes that failed before at `from` or a later step, unless asked for with force.
    fn known_as_bad(&self, wanted: &Wanted, digest: Option<Digest>, from: Step) -> Result<(), PullError> {
        let Some(digest) = digest.filter(|_| !wanted.force) else { return Ok(()) };
        match self.book.lock().refused.get(&digest).filter(|error| error.step >= from) {
            Some(error) => Err(error.clone().with_hint(
                "these bytes failed before and are not tried again until they change or with force",
            )),
            None => Ok(()),
        }
    }

    async fn note_failure(self: &Arc<Self>, wanted: &Wanted, error: &LoadError, receipt: Option<Receipt>) {
        let outcome = match error {
            LoadError::Superseded(_) => RolloutOutcome::Superseded,
            LoadError::Refused(_) | LoadError::Conflict(_) | LoadError::Full { .. } | LoadError::Stopping => {
                RolloutOutcome::Failed
            }
        };
        let id = receipt.as_ref().map(|receipt| receipt.to.id.clone());
        let (step, detail) = error.step();
        if let (Some(receipt), LoadError::Refused(refused)) = (&receipt, error)
            && !refused.transient
            && step >= Step::Verify
        {
            let mut book = self.book.lock();
            if book.refused.len() >= REFUSED {
                book.refused.clear();
            }
            book.refused.insert(receipt.to.digest, refused.clone());
        }
        if outcome == RolloutOutcome::Failed {
            self.fail(wanted.source.to_string(), id.as_ref(), error);
            let package = id.as_ref().map_or_else(|| wanted.source.to_string(), |id| id.name.to_string());
            let kind =
                EventKind::Failed { source: wanted.source.to_string(), id, step, detail: detail.clone() };
            self.settings.events.tell(&package, kind);
        }
        let Some(mut receipt) = receipt else { return };
        receipt.step = Some(step.text());
        receipt.reason = Some(detail);
        receipt.from =
            self.book.lock().active(&receipt.package).map(|mount| super::receipt::side(&mount.generation));
        self.close(receipt, outcome).await;
    }

    /// Ends a receipt, counts it and keeps it.
    pub(crate) async fn close(self: &Arc<Self>, mut receipt: Receipt, outcome: RolloutOutcome) {
        receipt.end(outcome);
        self.count(&receipt);
        self.receipts.keep(&receipt);
        self.save_receipts().await;
    }

    pub(crate) fn count(&self, receipt: &Receipt) {
        let metrics = &self.fleet.metrics;
        metrics.rollouts.with_label_values(&[receipt.package.as_str(), receipt.outcome.text()]).inc();
        for (step, seconds) in &receipt.steps {
            metrics.rollout_step.with_label_values(&[step]).observe(*seconds);
        }
    }

    pub(crate) async fn save_receipts(self: &Arc<Self>) {
        let pool = Arc::clone(self);
        // A panic in it has been told already; receipts are history.
        errand::run(move || pool.receipts.save()).await.ok();
    }

    fn announce(&self, course: &Course) {
        if let Some(receipt) = &course.receipt {
            self.receipts.keep(receipt);
        }
    }

    fn turn(&self, name: &PackageName) -> Arc<Turn> {
        Arc::clone(self.turns.lock().entry(name.clone()).or_default())
    }

    fn next_number(&self) -> u64 {
        let mut book = self.book.lock();
        book.state.generation += 1;
        book.state.generation
    }

    /// A place among requests.
    pub(crate) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }
}

/// Ends a generation that was started but not mounted.
struct EndUnlessMounted(Option<Arc<Generation>>);

impl EndUnlessMounted {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for EndUnlessMounted {
    fn drop(&mut self) {
        if let Some(generation) = self.0.take() {
            let background = generation.settings.background.clone();
            background.spawn(async move { generation.end(Duration::ZERO).await });
        }
    }
}
