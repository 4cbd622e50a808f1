//! From an installed package to a generation with a warm worker: template, verdict about fork, first worker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    backoff::Backoff,
    generation::{FleetSettings, Generation, Health},
    obituary::Deceased,
    primaries::{self, Primaries},
    slots::Slots,
    solitary::Solitary,
    status::ForkStatus,
    supervisor,
    totals::Totals,
};
use crate::{
    package::{Cause, Installed, PullError, StartMode, Step, errand},
    process::{
        Cage, Death, SandboxError, SandboxLevel, SandboxMode, StartError, Template, Worker, kill_group,
    },
};

/// Longest that the ends of a generation's workers are spread over.
const ALL_APART: Duration = Duration::from_secs(1);

impl Generation {
    /// Starts template and first worker. A package that cannot be forked safely falls back to workers that import for
    /// themselves, unless its manifest insists.
    pub(crate) async fn start(
        number: u64,
        installed: Installed,
        settings: FleetSettings,
    ) -> Result<Arc<Self>, PullError> {
        let begin = Instant::now();
        let policy = installed.package.workers.clone();
        let loader = installed.program.loader().map(|loader| format!("loader {}", loader.name));
        if let Some(loader) = loader.as_ref().filter(|_| policy.start == StartMode::Fork) {
            let detail =
                format!("the manifest says workers.start: fork, but workers of {loader} are started");
            return Err(PullError::refused(Step::Template, detail));
        }
        let mut preload = loader.is_none() && policy.start != StartMode::Spawn;
        let spawn = loader.unwrap_or_else(|| "the manifest says workers.start: spawn".to_owned());
        let mut fork = ForkStatus {
            method: if preload { "fork" } else { "spawn" },
            reason: (!preload).then_some(spawn),
        };
        let sandboxed = settings.template.shield.settings();
        let cage = Arc::new(Cage::new(installed.package.id.to_string(), sandboxed, policy.memory_mb));
        let lodging = settings.template.shield.lodge(&installed, &settings.background);
        let mut template = started(&installed, preload, &settings, &cage).await?;
        let sandbox = template.sandbox().clone();
        tell(&installed, &sandbox, settings.template.shield.settings().mode);
        let mut facts = template.ready().exports.clone();
        let verdict = template.ready().fork.clone();
        if let Some(verdict) = verdict.filter(|verdict| preload && !verdict.safe) {
            let reason = verdict.reason.unwrap_or_else(|| "it is not safe to fork it".to_owned());
            if policy.start == StartMode::Fork {
                return Err(PullError::refused(
                    Step::Template,
                    format!("the manifest says workers.start: fork, but {reason}"),
                ));
            }
            tracing::info!(
                event = "fork_unsafe",
                package = %installed.package.id,
                reason,
                "workers import for themselves"
            );
            kill_group(template.pid());
            preload = false;
            fork = ForkStatus { method: "spawn", reason: Some(reason) };
            template = started(&installed, preload, &settings, &cage).await?;
        }
        let template = Arc::new(template);
        let threads = installed.package.exports.iter().map(|export| export.threads).max().unwrap_or(1);
        let concurrency =
            installed.package.exports.iter().map(|export| export.concurrency).max().unwrap_or(100);
        let package: Arc<str> = Arc::from(installed.package.id.to_string());
        let mut installed = installed;
        installed.steps.push((Step::Template, begin.elapsed()));
        let begin = Instant::now();
        let worker = first_worker(&template, &installed, &settings, fork.method).await?;
        if let Some((worker, _)) = worker.as_ref().filter(|_| facts.is_empty()) {
            facts.clone_from(&worker.ready.exports);
        }
        let serving = primaries::first(&template, &settings, &installed, &package).await;
        let serving = serving.map_err(|error| {
            kill_group(template.pid());
            refusal(&error, Step::Serve)
        })?;
        installed.steps.push((Step::Serve, begin.elapsed()));
        let generation = Arc::new(Self {
            number,
            facts,
            fork,
            sandbox,
            preload,
            threads,
            slots: Slots::new(threads, concurrency, settings.pack_budget),
            solitary: Solitary::default(),
            primaries: Primaries::default(),
            template_pid: AtomicU32::new(template.pid()),
            template: tokio::sync::Mutex::new(Some(template)),
            cage,
            lodging,
            health: Mutex::new(Health {
                backoff: Backoff::default(),
                last_error: None,
                next_start: Instant::now(),
            }),
            starting: AtomicUsize::new(0),
            at_cap: tokio::sync::watch::Sender::new(policy.max == Some(1)),
            troubled: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            waits: Arc::default(),
            answered: AtomicU64::new(0),
            totals: Totals::default(),
            history: Mutex::default(),
            ending: tokio::sync::watch::Sender::new(false),
            installed,
            settings,
        });
        if let Some((worker, watch)) = worker {
            generation.seat(worker, watch);
        }
        for born in serving {
            generation.seat_primary(born);
        }
        generation.settings.background.spawn(supervisor::run(Arc::clone(&generation)));
        Ok(generation)
    }

    /// Starts one more worker, and a new template first if the old one is gone.
    pub(crate) async fn start_worker(self: &Arc<Self>) -> Result<(), StartError> {
        self.starting.fetch_add(1, Ordering::Relaxed);
        let _starting = Starting(&self.starting);
        let template = self.living_template().await?;
        let package: Arc<str> = Arc::from(self.installed.package.id.to_string());
        let timeout = self.settings.template.import_timeout;
        let (worker, watch, took) = Worker::start(&template, &package, self.sink(), timeout).await?;
        self.settings.metrics.worker_start.with_label_values(&[self.fork.method]).observe(took.as_secs_f64());
        if *self.ending.borrow() {
            worker.kill(Death::Retired);
        }
        self.seat(worker, watch);
        Ok(())
    }

    /// From now on calls wait for what its template forks.
    pub(super) async fn raise(&self) {
        if let Some(template) = self.template.lock().await.as_ref() {
            template.raise();
        }
    }

    pub(super) async fn living_template(self: &Arc<Self>) -> Result<Arc<Template>, StartError> {
        let mut held = self.template.lock().await;
        if *self.ending.borrow() {
            return Err(StartError::Ended);
        }
        if let Some(template) = held.as_ref().filter(|template| template.is_alive()) {
            return Ok(Arc::clone(template));
        }
        let settings = &self.settings.template;
        let template = Arc::new(Template::start(&self.installed, self.preload, settings, &self.cage).await?);
        template.raise();
        self.template_pid.store(template.pid(), Ordering::Relaxed);
        tracing::info!(event = "template_started", package = %self.installed.package.id, pid = template.pid());
        *held = Some(Arc::clone(&template));
        Ok(template)
    }

    fn seat(self: &Arc<Self>, worker: Arc<Worker<super::ticket::CallTicket>>, watch: crate::process::Watch) {
        let key = self.slots.add(Arc::clone(&worker));
        let generation = Arc::clone(self);
        self.settings.background.spawn(async move {
            let before = worker.channel.answered();
            let death = worker.ended(watch).await;
            // First, so that calls that wait for it know why it is gone.
            generation.bereave(&worker, &death);
            generation.slots.remove(key);
            generation.mourn(&death, worker.channel.answered() > before);
            generation.tell_of(&worker, &death).await;
        });
    }

    /// Counts an end, and lets the next start wait if this one came before the first answer.
    pub(super) fn mourn(&self, death: &Death, answered: bool) {
        let package = self.installed.package.id.to_string();
        self.settings.metrics.worker_exits.with_label_values(&[package.as_str(), death.label()]).inc();
        if *death == Death::Retired || *self.ending.borrow() {
            return;
        }
        let mut health = self.health.lock();
        health.last_error = Some(death.to_string());
        if !answered {
            health.backoff = health.backoff.failed();
            health.next_start = Instant::now() + health.backoff.delay();
            self.troubled.store(true, Ordering::Relaxed);
        }
        drop(health);
        self.slots.pressure.notify_one();
    }

    /// Tells of an end that nobody wanted.
    pub(super) async fn tell_of(&self, worker: &Worker<super::ticket::CallTicket>, death: &Death) {
        if *death != Death::Retired && !*self.ending.borrow() {
            self.bury(Deceased::worker(worker), death).await;
        }
    }

    /// Lets running calls end, at most for `grace`.
    pub(crate) async fn finish_calls(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        while self.in_flight() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends all processes of this generation: primaries together, then workers one after the other, `apart` or closer if
    /// they are many, then the template with all that is left. Calls that still run go on until their worker's turn.
    pub(crate) async fn end(&self, apart: Duration) {
        self.ending.send_replace(true);
        self.dismiss_primaries().await;
        self.slots.close();
        let seats = self.slots.snapshot().seats;
        let workers = seats.into_iter().map(|seat| seat.worker).chain(self.solitary.workers());
        let workers: Vec<_> = workers.collect();
        let apart = apart.min(ALL_APART / u32::try_from(workers.len()).unwrap_or(u32::MAX).max(1));
        for worker in workers {
            worker.kill(Death::Retired);
            pause(apart).await;
        }
        // Only while the template lives is the number of its group surely its own.
        if let Some(template) = self.template.lock().await.take().filter(|template| template.is_alive()) {
            kill_group(template.pid());
            pause(apart).await;
        }
        // What left the group, too. Nobody waits for it, and it looks at every process of the host some times.
        let cage = Arc::clone(&self.cage);
        if let Err(error) = errand::run(move || cage.close()).await {
            let package = &self.installed.package.id;
            tracing::error!(event = "cage_open", %package, "its end failed: {error}");
        }
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

struct Starting<'a>(&'a AtomicUsize);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What confines a package, and what it asked for, for whoever looks through the log later.
fn tell(installed: &Installed, sandbox: &SandboxLevel, mode: SandboxMode) {
    let package = &installed.package.id;
    let (level, layers, missing) = (sandbox.level, sandbox.layers.join(" "), sandbox.missing.join(" "));
    let permissions = &installed.package.permissions;
    let (read, write) = (permissions.fs_read.join(" "), permissions.fs_write.join(" "));
    // Who switched it off knows, and was warned at the start.
    if sandbox.is_full() || mode == SandboxMode::Off {
        tracing::info!(event = "sandbox", %package, level, layers, fs_read = read, fs_write = write, "confined");
    } else {
        tracing::warn!(
            event = "sandbox_weak",
            %package,
            level,
            layers,
            missing,
            fs_read = read,
            fs_write = write,
            "this kernel cannot enforce all of the sandbox"
        );
    }
}

/// A package of surfaces alone has none: nothing is there that it could answer.
async fn first_worker(
    template: &Template,
    installed: &Installed,
    settings: &FleetSettings,
    method: &str,
) -> Result<Option<(Arc<Worker<super::ticket::CallTicket>>, crate::process::Watch)>, PullError> {
    if installed.package.exports.is_empty() {
        return Ok(None);
    }
    let package: Arc<str> = Arc::from(installed.package.id.to_string());
    let (sink, timeout) = (&settings.template.sink, settings.template.import_timeout);
    let (worker, watch, took) = Worker::start(template, &package, sink, timeout).await.map_err(|error| {
        kill_group(template.pid());
        refusal(&error, Step::Probe)
    })?;
    settings.metrics.worker_start.with_label_values(&[method]).observe(took.as_secs_f64());
    Ok(Some((worker, watch)))
}

async fn started(
    installed: &Installed,
    preload: bool,
    settings: &FleetSettings,
    cage: &Cage,
) -> Result<Template, PullError> {
    Template::start(installed, preload, &settings.template, cage)
        .await
        .map_err(|error| refusal(&error, Step::Template))
}

fn refusal(error: &StartError, step: Step) -> PullError {
    let log = match error {
        StartError::Import(failure) => failure.traceback.clone(),
        StartError::System { source, .. } | StartError::Sandbox(SandboxError::System(source)) => {
            source.to_string()
        }
        StartError::Sandbox(SandboxError::Missing { .. } | SandboxError::Refused { .. })
        | StartError::Slow(_)
        | StartError::Ended
        | StartError::Fork(_) => String::new(),
    };
    PullError::refused(step, error.to_string()).because(cause(error)).with_log(log)
}

/// Whose fault it is that a process did not start: the package's, unless another sort is told.
fn cause(error: &StartError) -> Cause {
    match error {
        StartError::Import(failure) if failure.phase == "sandbox" => Cause::Host,
        StartError::Import(failure) if failure.phase == "surface" => Cause::Surface,
        StartError::Import(_) | StartError::Ended => Cause::Other,
        StartError::Slow(_) => Cause::Late,
        StartError::Sandbox(_) | StartError::System { .. } | StartError::Fork(_) => Cause::Host,
    }
}
