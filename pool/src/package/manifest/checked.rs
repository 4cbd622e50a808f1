//! The manifest as meant: no Option that cannot be None, no text for a number.

use std::{collections::BTreeMap, fmt, time::Duration};

use par_proto::ids::{ExportId, PackageId};

use super::schema::Schema;

/// A package as its manifest describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// `name@version`.
    pub id: PackageId,
    /// For people.
    pub description: String,
    /// For people.
    pub author: Option<String>,
    /// Agents in the order of the manifest.
    pub exports: Vec<Export>,
    /// The export that the bare package id names: the entrypoint's, or the only one.
    pub main_export: Option<ExportId>,
    /// What its code is written for.
    pub runtime: Runtime,
    /// Role that every agent needs unless it names its own.
    pub role_required: Option<String>,
    /// Probe after the import.
    pub healthcheck: Option<HealthCheck>,
    /// Session policy.
    pub session: SessionPolicy,
    /// Worker policy.
    pub workers: WorkerPolicy,
    /// What else it offers.
    pub surfaces: Surfaces,
    /// Environments of ours that it asks for, each once.
    pub kits: Vec<Kit>,
    /// What the sandbox lets it do.
    pub permissions: Permissions,
    /// Whether `Authorization` reaches the agent.
    pub forward_authorization: bool,
    /// Variables with `${…}` unresolved.
    pub environment: BTreeMap<String, String>,
    /// `dependencies` of the manifest, used when the package has no requirements of its own.
    pub dependencies: Vec<String>,
}

/// What a package's code is written for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runtime {
    /// Python: `(major, minor)` wanted, and whether newer minors are fine without a warning.
    Python(PythonWanted),
    /// Anything else that there is a loader for, as written.
    Loader(String),
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Python(PythonWanted::Any) => f.write_str("python"),
            Self::Python(PythonWanted::Minor(major, minor)) => write!(f, "python{major}.{minor}"),
            Self::Python(PythonWanted::Range(range)) => write!(f, "python{range}"),
            Self::Loader(name) => f.write_str(name),
        }
    }
}

/// The interpreter that a package asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PythonWanted {
    /// Nothing said.
    Any,
    /// `python3.11`: that minor, else the nearest newer with a warning.
    Minor(u8, u8),
    /// `{python: ">=3.9"}`: a list of comparisons as written.
    Range(String),
}

/// An environment of ours, for what a package needs and does not bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kit {
    /// An ASGI server, and FastAPI for functions that mount on an application they are given.
    Rest,
    /// gRPC for Python.
    A2a,
    /// numpy, pandas and matplotlib.
    Data,
}

/// `module:attribute`. Of packages for a loader, the module is a path below the root as the loader understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// Dotted module, or a path.
    pub module: String,
    /// Attribute, dots for nested ones.
    pub attribute: String,
}

/// One agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// Its id in the package.
    pub id: ExportId,
    /// For people; the id if the manifest has none.
    pub name: String,
    /// For people.
    pub description: String,
    /// What is called.
    pub handler: Handler,
    /// Reached only by other agents.
    pub private: bool,
    /// Role needed: its own, else the package's.
    pub role_required: Option<String>,
    /// What inputs must fit.
    pub input_schema: Option<Schema>,
    /// What results should fit.
    pub output_schema: Option<Schema>,
    /// Longest call; none: the runtime's.
    pub timeout: Option<Duration>,
    /// Calls at once on one worker's loop, for `async def`.
    pub concurrency: u32,
    /// Calls at once on one worker's threads, for `def`.
    pub threads: u32,
}

/// A call that a fresh generation must answer.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    /// The agent asked.
    pub export: ExportId,
    /// Its input.
    pub input: serde_json::Value,
    /// What must come back, if anything particular.
    pub expect: Option<serde_json::Value>,
}

/// How sessions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionMode {
    /// Calls are stateless.
    None,
    /// A worker keeps the sessions given to it.
    Sticky,
    /// A session has a worker of its own.
    Isolated,
}

/// Session policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPolicy {
    /// How they are kept.
    pub mode: SessionMode,
    /// End after this time without work.
    pub idle_ttl: Duration,
    /// End after this time in any case.
    pub max_ttl: Duration,
}

/// How workers are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartMode {
    /// Fork if that is safe.
    Auto,
    /// Fork, or refuse.
    Fork,
    /// Every worker imports for itself.
    Spawn,
}

/// Worker policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerPolicy {
    /// Warm workers always.
    pub min: u32,
    /// Most workers; none: what memory allows.
    pub max: Option<u32>,
    /// How they are started.
    pub start: StartMode,
    /// Memory of one worker in MB.
    pub memory_mb: u64,
}

/// How a surface is entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// `module:function`, called; what it returns decides.
    Function(Handler),
    /// `module:attribute`, an ASGI application.
    Application(Handler),
}

/// Static files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UiSurface {
    /// Directory below the root.
    pub path: String,
    /// Prefix of its routes.
    pub base_path: String,
    /// Whether no role is needed.
    pub public: bool,
}

/// What a package offers besides calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surfaces {
    /// ASGI.
    pub rest: Option<Entry>,
    /// gRPC.
    pub a2a: Option<Entry>,
    /// Files.
    pub ui: Option<UiSurface>,
    /// Workers that serve surfaces.
    pub workers: u32,
}

impl Surfaces {
    /// Whether one of them needs a process: files do not.
    pub fn are_served(&self) -> bool {
        self.rest.is_some() || self.a2a.is_some()
    }
}

/// What the sandbox lets a package do; as written, enforced by the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permissions {
    /// Readable paths beyond its own.
    pub fs_read: Vec<String>,
    /// Writable paths beyond its temporary directory.
    pub fs_write: Vec<String>,
    /// `None`: any; else the ports that it may connect to (empty: none).
    pub net_connect: Option<Vec<u16>>,
    /// Ports that it may listen on over TCP; `None`: any. Without a word: none.
    pub net_bind: Option<Vec<u16>>,
    /// Whether it may start programs.
    pub subprocess: bool,
}
