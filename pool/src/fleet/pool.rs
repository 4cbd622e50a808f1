//! The front door: packages in, agents out, calls answered.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use par_proto::ids::{AgentId, Digest, PackageId, PackageName};
use parking_lot::Mutex;
use prometheus::Registry;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{
    book::Book,
    call::Call,
    directory::{Agent, Directory},
    event::{EventKind, EventSink},
    follower::{Follower, RegistrySettings},
    generation::FleetSettings,
    homes::Homes,
    installers::{InstallerPool, pool as installer_pool},
    lodging::Lodgings,
    metrics::PoolMetrics,
    obituary::ObituarySink,
    outcome::{Answer, Outcome},
    receipt::Receipts,
    rollout::{RolloutSettings, Turn},
    sessions::SessionSettings,
    share::{Shares, Verdict},
    state::StateFile,
    status::{AgentStatus, Failure, PackageStatus},
};
use crate::{
    package::{PackageSettings, PullError, Signature, Source, Step, Street},
    process::{self, OutputSink, Roots, SandboxSettings, Shield, Spent, TemplateSettings, close_cages},
};

/// What the pool needs to know; decided before it starts.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// For the street.
    pub packages: PackageSettings,
    /// State that survives a restart, locks and the worker's code live below it.
    pub data_dir: PathBuf,
    /// Most mounted packages.
    pub max_packages: usize,
    /// Longest call unless the export says otherwise.
    pub request_timeout: Duration,
    /// Most calls that run or wait, over all packages.
    pub max_concurrent: usize,
    /// Longest import of a package, and longest start of what serves its surfaces.
    pub import_timeout: Duration,
    /// Idle workers beyond the minimum end after this time.
    pub idle_ttl: Duration,
    /// Longest expected wait in a busy worker before an idle one is woken instead; zero spreads calls evenly.
    pub pack_budget: Duration,
    /// `--dev`: same id with other bytes replaces without `force`; directory sources are watched by the caller.
    pub dev: bool,
    /// What packages may reach.
    pub sandbox: SandboxSettings,
    /// Who is told what happens to packages and agents.
    pub events: EventSink,
    /// Who is told how processes end.
    pub obituaries: ObituarySink,
    /// How versions replace each other.
    pub rollout: RolloutSettings,
    /// How many sessions there may be.
    pub sessions: SessionSettings,
    /// One more id for the first package and its main agent: `AGENT_APP_ID`.
    pub alias: Option<Box<str>>,
    /// The registry index, if there is one.
    pub registry: Option<RegistrySettings>,
}

/// How a package is loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Digest that the bytes must have.
    pub sha256: Option<Digest>,
    /// Replace a mounted package of the same id whose bytes differ.
    pub force: bool,
    /// Remember it over a restart (management API), or not (sources of the command line, which come back anyway).
    pub remember: bool,
    /// Its detached signature, if it came with the request.
    pub signature: Option<Signature>,
}

/// A package that is mounted now.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its id.
    pub package_id: PackageId,
    /// Its agents' full ids, private ones included.
    pub agents: Vec<AgentId>,
    /// False if exactly these bytes were mounted already.
    pub created: bool,
    /// What served the name before, if anything did and does no longer.
    pub former: Option<PackageId>,
}

/// Why a package was not mounted. Whatever was mounted before still is.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It failed at a step: 422 `package_invalid`.
    #[error(transparent)]
    Refused(#[from] PullError),
    /// The same id is mounted with other bytes: 409 `conflict`.
    #[error("{0} is mounted with other bytes; load it with force to replace it")]
    Conflict(PackageId),
    /// `MAX_PACKAGES` are mounted: 422 `package_invalid` at step `mount`.
    #[error("{limit} packages are mounted, which is the limit; {package} was refused")]
    Full {
        /// The refused one: its id, or its source if it was not even fetched.
        package: String,
        /// `MAX_PACKAGES`.
        limit: usize,
    },
    /// Another version was asked for while this one waited for its turn: 409 `conflict`.
    #[error("{0} was not brought in: something newer of the same name was asked for meanwhile")]
    Superseded(PackageId),
    /// The runtime is going down: 503 `stopping`.
    #[error("the runtime is stopping")]
    Stopping,
}

impl LoadError {
    /// Where it failed and why, for clients.
    pub fn step(&self) -> (Step, String) {
        match self {
            Self::Refused(error) => (error.step, error.detail.clone()),
            Self::Conflict(_) | Self::Full { .. } | Self::Superseded(_) | Self::Stopping => {
                (Step::Mount, self.to_string())
            }
        }
    }

    /// The code of the problem.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::Full { .. } => "package_invalid",
            Self::Conflict(_) | Self::Superseded(_) => "conflict",
            Self::Stopping => "stopping",
        }
    }
}

/// A package that was taken away.
#[derive(Debug, Clone)]
pub struct Unloaded {
    /// Its id.
    pub package_id: PackageId,
    /// Calls that were still running when it was taken out of the table; they are drained.
    pub draining: usize,
    /// Whether the index names it, which brings it back with the next poll.
    pub indexed: bool,
}

/// All packages of this process.
#[derive(Debug)]
pub struct Pool {
    pub(crate) settings: PoolSettings,
    pub(crate) street: Street,
    pub(crate) fleet: FleetSettings,
    pub(crate) directory: ArcSwap<Directory>,
    pub(crate) book: Mutex<Book>,
    pub(crate) state_file: StateFile,
    pub(crate) turns: Mutex<HashMap<PackageName, Arc<Turn>>>,
    pub(crate) tickets: AtomicU64,
    pub(crate) receipts: Receipts,
    /// The sources of the start, in order.
    pub(crate) sources: OnceLock<Vec<Source>>,
    pub(crate) follower: OnceLock<Follower>,
    pub(crate) installers: InstallerPool,
    /// No more rollouts; those under way are dropped.
    pub(crate) stopping: CancellationToken,
    pub(super) shares: Shares,
    pub(super) answered: AtomicU64,
}

impl Pool {
    /// Makes an empty pool. Background work runs on the calling runtime, agents' output goes to `sink`.
    ///
    /// # Errors
    /// If the data directory cannot be used, or the registry has metrics of our names already.
    pub fn new(settings: PoolSettings, registry: &Registry, sink: OutputSink) -> std::io::Result<Arc<Self>> {
        let make = |path: PathBuf| std::fs::create_dir_all(&path).and_then(|()| path.canonicalize());
        let data_dir = make(settings.data_dir.clone())?;
        let cache_dir = make(settings.packages.cache_dir.clone())?;
        let worker = data_dir.join("worker");
        let (program, node) = (process::PYTHON.write(&worker)?, process::NODE.write(&worker)?);
        let nursery = settings.packages.loaders.nursery().map(std::path::Path::to_path_buf);
        let roots = Roots::make(&data_dir)?;
        let code = [&program, &node].into_iter().filter_map(|file| file.ancestors().nth(2));
        let shared = code.map(std::path::Path::to_path_buf).chain(nursery.clone()).collect();
        let background = Handle::current();
        let metrics = PoolMetrics::register(registry).map_err(std::io::Error::other)?;
        let (state_file, state) = StateFile::open(data_dir.join("state.json"))?;
        let hidden = [data_dir.clone(), cache_dir];
        let shield = Shield::new(settings.sandbox.clone(), &hidden, shared, roots);
        let street = Street::new(settings.packages.clone(), Some(shield.for_installers()));
        let code = program.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
        let street = street.map_err(std::io::Error::other)?.serving(code);
        let receipts = Receipts::open(data_dir.join("rollouts.json"));
        let follower = settings.registry.clone().map(Follower::new).map(OnceLock::from).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let fleet = FleetSettings {
            template: TemplateSettings {
                program,
                node,
                nursery,
                shield,
                import_timeout: settings.import_timeout,
                dev: settings.dev,
                sink,
            },
            idle_ttl: settings.idle_ttl,
            pack_budget: settings.pack_budget,
            cores,
            homes: Arc::new(Homes::new(background.clone())),
            sessions: Lodgings::open(data_dir.join("sessions.jsonl"), settings.sessions.caps)?,
            metrics: Arc::new(metrics),
            obituaries: settings.obituaries.clone(),
            exchange: Arc::default(),
            meter: Arc::default(),
            background,
        };
        Ok(Arc::new(Self {
            street,
            fleet,
            directory: ArcSwap::default(),
            book: Mutex::new(Book::new(state, settings.alias.clone())),
            state_file,
            turns: Mutex::default(),
            tickets: AtomicU64::new(0),
            receipts,
            sources: OnceLock::new(),
            follower,
            installers: installer_pool()?,
            stopping: CancellationToken::new(),
            shares: Shares::new(settings.max_concurrent),
            answered: AtomicU64::new(0),
            settings,
        }))
    }

    /// The threads that serve requests register here.
    pub fn homes(&self) -> &Homes {
        &self.fleet.homes
    }

    /// The table of agents as it is now.
    pub fn directory(&self) -> arc_swap::Guard<Arc<Directory>> {
        self.directory.load()
    }

    /// Longest call unless the export says otherwise.
    pub fn request_timeout(&self) -> Duration {
        self.settings.request_timeout
    }

    /// Sends one call and waits for its end; dropping the future cancels it.
    pub async fn call(&self, agent: &Agent, call: Call) -> Answer {
        let generation = &agent.mount.generation;
        let (verdict, _flight) = self.shares.enter(call.tenant.as_ref());
        let admitted = match verdict {
            Verdict::Enter => true,
            Verdict::Displace => self.displace(),
            Verdict::Refuse => false,
        };
        if !admitted {
            let lane = generation.lane(call.export);
            let retry_after = generation.expected_wait(lane, call.tenant.as_ref());
            let outcome = Outcome::AtLimit { retry_after };
            return Answer { outcome, queued: Duration::ZERO, spent: Spent::default(), pid: 0 };
        }
        let begin = Instant::now();
        let mut call = call;
        let answer = match call.session.take() {
            None => generation.call(call).await,
            Some(claim) => Box::pin(self.call_in_session(agent, call, claim)).await,
        };
        generation.totals.count(begin.elapsed(), answer.outcome.is_fault());
        self.answered.fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// Switches an agent on or off (`None`: toggles). Returns the new value; `None`: no such agent.
    /// `id` is any id of the contract, private agents included.
    pub fn set_enabled(&self, id: &str, enabled: Option<bool>) -> Option<(AgentId, bool)> {
        let agent = Arc::clone(self.directory.load().find(id)?);
        let mut book = self.book.lock();
        let now = book.switch_agent(&agent.id, enabled);
        self.save(&book);
        drop(book);
        let kind = EventKind::Switched { agent: agent.id.clone(), enabled: now };
        self.settings.events.tell(agent.id.package.name.as_str(), kind);
        tracing::info!(event = if now { "agent_enabled" } else { "agent_disabled" }, agent_id = %agent.id);
        Some((agent.id.clone(), now))
    }

    /// Every mounted generation: active ones first, parked ones last.
    pub fn packages(&self) -> Vec<PackageStatus> {
        self.directory.load().standing().iter().map(|seated| seated.mount.generation.status(seated)).collect()
    }

    /// Sources that could not be mounted.
    pub fn failures(&self) -> Vec<Failure> {
        self.book.lock().failures.values().cloned().collect()
    }

    /// Every agent, private ones included.
    pub fn agents(&self) -> Vec<AgentStatus> {
        self.directory.load().agents().iter().map(|agent| agent.status()).collect()
    }

    /// One agent by any of its ids, private ones included.
    pub fn agent(&self, id: &str) -> Option<AgentStatus> {
        self.directory.load().find(id).map(|agent| agent.status())
    }

    /// Calls that run or wait now.
    pub fn in_flight(&self) -> usize {
        self.shares.total()
    }

    /// Calls answered since the start.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Begins no more rollouts and drops those under way; calls are answered on.
    pub fn halt(&self) {
        self.stopping.cancel();
    }

    /// Ends all processes: waits for running calls up to `grace`.
    pub async fn stop(&self, grace: Duration) {
        self.halt();
        let standing = self.directory.load().standing().to_vec();
        let ends = standing.iter().map(async |seated| {
            seated.mount.generation.finish_calls(grace).await;
            seated.mount.generation.end(Duration::ZERO).await;
        });
        futures_util::future::join_all(ends).await;
        close_cages().await;
    }

    pub(crate) fn publish(&self, book: &mut Book) {
        self.show(book);
        self.save(book);
    }

    /// Makes the table of what is mounted and exchanges it for the one that calls see. Tells how long the exchange took.
    pub(crate) fn show(&self, book: &mut Book) -> Duration {
        let table = Arc::new(book.directory());
        let began = Instant::now();
        let former = self.directory.swap(table);
        let took = began.elapsed();
        drop(former);
        took
    }

    pub(crate) fn save(&self, book: &Book) {
        if let Err(error) = self.state_file.write(&book.state) {
            tracing::error!(event = "state_unsaved", %error, "what changed now may be lost with a restart");
        }
    }

    pub(crate) fn fail(&self, source: String, id: Option<&PackageId>, error: &LoadError) {
        let (step, detail) = error.step();
        let (output, hint) = match error {
            LoadError::Refused(error) => (error.log.as_str(), error.hint.as_deref()),
            LoadError::Conflict(_)
            | LoadError::Full { .. }
            | LoadError::Superseded(_)
            | LoadError::Stopping => ("", None),
        };
        let package = id.map(ToString::to_string);
        let step_text = step.text();
        tracing::warn!(event = "package_failed", source, package, step = step_text, output, hint, "{detail}");
        let failure = Failure {
            source: source.clone(),
            name: id.map(|id| id.name.to_string()),
            version: id.map(|id| id.version.to_string()),
            step,
            code: error.code(),
            detail,
            since: SystemTime::now(),
        };
        self.fleet.metrics.pulls.with_label_values(&["failed"]).inc();
        self.book.lock().failures.insert(source, failure);
    }
}
