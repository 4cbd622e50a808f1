//! Bytes to installed package, one value per step:
//! `Source ▸ Fetched ▸ Unpacked ▸ Installed`. A step that fails leaves nothing behind and names itself.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use par_proto::ids::Digest;

pub mod environment;
pub(crate) mod errand;
pub mod fetch;
pub mod loader;
pub mod manifest;
pub mod pull;
pub mod signature;
pub mod source;
pub mod store;
pub mod tree;
pub mod unpack;
pub mod variables;

pub use environment::{Confine, Python, forget_resolutions, pythons};
pub use fetch::{Document, Remote, S3Settings, Validator};
pub use loader::{Loader, LoaderWorker, Loaders};
pub use manifest::adapter::{Adapter, AdapterRule};
pub use manifest::checked::{
    Entry, Export, Handler, HealthCheck, Kit, Package, Permissions, PythonWanted, Runtime, SessionMode,
    SessionPolicy, StartMode, Surfaces, UiSurface, WorkerPolicy,
};
pub use manifest::schema::{Misfit, Patience, Schema, Unfit};
pub use pull::Street;
pub use signature::{Keyring, SignaturePolicy};
pub use source::{Location, Signature, Source, SourceError};
pub use store::Pin;

/// What the street needs to know; all of it is decided before the first package.
#[derive(Debug, Clone)]
pub struct PackageSettings {
    /// Environments and layers live below this directory.
    pub data_dir: PathBuf,
    /// Content-addressed packages live here.
    pub cache_dir: PathBuf,
    /// Largest package in bytes, as downloaded.
    pub max_package_bytes: u64,
    /// Whole time of one download, all its tries included.
    pub download_timeout: Duration,
    /// Longest silence of a server before a try counts as failed.
    pub download_idle_timeout: Duration,
    /// How often a server is asked that says that there is nothing, or not for us: rights and objects of a deployment
    /// that has just begun may come a moment later. At least 1.
    pub tries_of_refused: u32,
    /// Most bytes of packages kept in `cache_dir`; what is in use stays beyond that.
    pub max_cache_bytes: u64,
    /// Where `s3://` leads.
    pub s3: S3Settings,
    /// Whether packages must be signed, and by whom.
    pub signatures: SignaturePolicy,
    /// Whole time of one environment.
    pub install_timeout: Duration,
    /// A directory of wheels; when given, nothing is fetched from an index.
    pub wheelhouse: Option<PathBuf>,
    /// `uv`, if it was found.
    pub uv: Option<PathBuf>,
    /// Interpreters to choose from; empty: those on PATH.
    pub pythons: Vec<PathBuf>,
    /// What runs packages of other languages.
    pub loaders: Loaders,
    /// Variables of our own environment that agents get (`PAR_PASS_ENV`), already selected.
    pub pass_env: BTreeMap<String, String>,
    /// Which packages get an adapter without asking for it.
    pub adapters: Vec<AdapterRule>,
}

/// The steps that a package passes, in order. The text is the `step` of problem documents and log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Getting the bytes.
    Fetch,
    /// Comparing digest and signature.
    Verify,
    /// Reading the archive.
    Unpack,
    /// Understanding `agent.yaml`.
    Manifest,
    /// Building the environment.
    Environment,
    /// Importing the code into a template.
    Template,
    /// Asking a first worker.
    Probe,
    /// Starting what serves its surfaces.
    Serve,
    /// Making it visible.
    Mount,
}

impl Step {
    /// The step as text.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Verify => "verify",
            Self::Unpack => "unpack",
            Self::Manifest => "manifest",
            Self::Environment => "environment",
            Self::Template => "template",
            Self::Probe => "probe",
            Self::Serve => "serve",
            Self::Mount => "mount",
        }
    }
}

impl Step {
    /// The phase of a start that it belongs to, as boot events name it.
    pub const fn phase(self) -> &'static str {
        match self {
            Self::Fetch => "download",
            Self::Verify => "verify",
            Self::Unpack | Self::Manifest => "extract",
            Self::Environment => "install",
            Self::Template | Self::Probe | Self::Mount => "load",
            Self::Serve => "serve",
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

/// What a caller may want to tell apart among failures of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nothing is there: a missing file, 404, 410.
    Missing,
    /// It is not for us: permissions, 401, 403.
    Forbidden,
    /// There is more of it than is allowed.
    TooLarge,
    /// It did not become ready in its time.
    Late,
    /// A surface of the package could not be served, although its code could be imported.
    Surface,
    /// This host or we ourselves: the disk, the system, the sandbox.
    Host,
    /// Anything else.
    Other,
}

/// A package that was refused or could not be had. `detail` is one sentence that names the cause, fit for clients
/// (no paths of the host beyond the package's own files, no credentials); `log` has the rest.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{step}: {detail}")]
pub struct PullError {
    /// Where it failed.
    pub step: Step,
    /// The cause, for clients.
    pub detail: String,
    /// Output of tools, paths and chains, for the log; may be empty.
    pub log: String,
    /// Advice, if there is one.
    pub hint: Option<String>,
    /// Whether another try may succeed without a change (timeouts, resets, 5xx).
    pub transient: bool,
    /// What sort of failure it is, where somebody decides by it.
    pub cause: Cause,
}

impl PullError {
    /// A refusal that no retry cures.
    pub fn refused(step: Step, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { step, detail, log: String::new(), hint: None, transient: false, cause: Cause::Other }
    }

    /// A failure that may go away.
    pub fn transient(step: Step, detail: impl Into<String>) -> Self {
        Self { transient: true, ..Self::refused(step, detail) }
    }

    /// What our own disk refused: `what` in general, and a full disk by its name. A full disk is transient, because
    /// somebody makes room without touching the package; nothing retries it at once.
    pub fn disk(step: Step, what: impl Into<String>, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded) {
            Self::transient(step, format!("{}: no space left on the disk", what.into()))
                .with_log(error.to_string())
        } else {
            Self::refused(step, what).with_log(error.to_string())
        }
        .because(Cause::Host)
    }

    /// Says what sort of failure it is.
    #[must_use]
    pub fn because(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// Adds what only the log should see.
    #[must_use]
    pub fn with_log(mut self, log: impl Into<String>) -> Self {
        self.log = log.into();
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A package on disk, read-only, its manifest understood; nothing of it has been executed.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// The manifest.
    pub package: Arc<Package>,
    /// SHA-256 of the archive, or of a directory's sorted content.
    pub digest: Digest,
    /// Directory of the package's files.
    pub root: PathBuf,
    /// Keeps `root` in the store.
    pub pin: Arc<Pin>,
    /// What is odd but not refused, one sentence each.
    pub warnings: Vec<String>,
    /// Time per step so far.
    pub steps: Vec<(Step, Duration)>,
    /// When it was fetched.
    pub fetched_at: SystemTime,
}

/// What runs a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// The interpreter of its environment.
    Python(PathBuf),
    /// A loader.
    Loader(Arc<Loader>),
}

impl Program {
    /// Its loader, if it has one.
    pub fn loader(&self) -> Option<&Loader> {
        match self {
            Self::Python(_) => None,
            Self::Loader(loader) => Some(loader),
        }
    }
}

/// A package with everything it needs to run.
#[derive(Debug, Clone)]
pub struct Installed {
    /// The manifest.
    pub package: Arc<Package>,
    /// Digest of the package.
    pub digest: Digest,
    /// Directory of the package's files.
    pub root: PathBuf,
    /// Keeps `root` in the store.
    pub pin: Arc<Pin>,
    /// What runs it.
    pub program: Program,
    /// Import path in order: root, `src`, `src/a2a` (where they exist), project layer. The environment's own
    /// site-packages come with the interpreter.
    pub sys_path: Vec<PathBuf>,
    /// Behind the site-packages: what surfaces are served with, and what the manifest asks for by name, if the package
    /// does not bring it.
    pub kits: Vec<PathBuf>,
    /// The worker's whole environment, in the precedence of the contract. PAR's secrets are not in it.
    pub variables: BTreeMap<String, String>,
    /// Directories that the code must be able to read: root, environment, layer, kits, interpreter.
    pub readable: Vec<PathBuf>,
    /// What is odd but not refused.
    pub warnings: Vec<String>,
    /// Time per step.
    pub steps: Vec<(Step, Duration)>,
}
