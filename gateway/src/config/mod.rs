//! Command line, environment and file in; one checked [`Config`] out, or every fault at once.
//!
//! `raw.rs` knows the names, `parse.rs` the texts, `check.rs` the rules.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use par_pool::{
    fleet::{RegistrySettings, RolloutSettings, SessionSettings},
    package::{AdapterRule, Loader, S3Settings, SignaturePolicy, Source},
    process::SandboxSettings,
};
use url::Url;

mod billing;
mod check;
mod connections;
mod fault;
mod given;
mod handbook;
pub(crate) mod identity;
mod limits;
mod metering;
mod parse;
mod pass_env;
mod pool;
pub(crate) mod raw;
mod reference;
mod secret;
pub(crate) mod single;
pub(crate) mod telemetry;
pub(crate) mod tls;
mod web;

pub(crate) use billing::{BillingApi, BillingSettings};
pub(crate) use connections::{Connections, HostPattern, Hosts};
pub(crate) use fault::{Fault, Faults, Origin};
pub(crate) use given::Given;
pub(crate) use handbook::reference;
pub(crate) use limits::{Allowance, Allowances, Rate};
pub(crate) use metering::{Metering, OnFull};
pub(crate) use raw::{Environment, Flags};
pub(crate) use secret::Secret;
pub(crate) use single::Single;
pub(crate) use web::Cors;

/// Everything that is decided before the start. Nothing in it changes later: what can change while the process runs is
/// made of another one of these (`live/`).
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// `--dev`: loopback only, readable logs, errors and tracebacks shown, any path may be loaded.
    pub(crate) dev: bool,
    /// What only single mode has; none: host mode.
    pub(crate) single: Option<Single>,
    /// Where calls arrive.
    pub(crate) http: SocketAddr,
    /// Where gRPC calls arrive.
    pub(crate) a2a: SocketAddr,
    /// TLS of these ports, if it is on.
    pub(crate) tls: Option<tls::Tls>,
    /// Where metrics are read.
    pub(crate) metrics: SocketAddr,
    /// What a connection may take, and whom its peer may speak for.
    pub(crate) connections: Connections,
    /// Threads of the edge.
    pub(crate) threads: usize,
    /// State that survives a restart; absolute.
    pub(crate) data_dir: PathBuf,
    /// The local socket of the management API; absolute.
    pub(crate) socket: PathBuf,
    /// What is mounted at the start: arguments, then `PACKAGES_URLS`; directories of packages are already listed. In
    /// single mode: the one package.
    pub(crate) sources: Vec<Source>,
    /// What is listed at the start and mounted at its first call.
    pub(crate) lazy: Vec<Source>,
    /// For the street from source to installed package.
    pub(crate) packages: Packages,
    /// The index that says what is mounted, if there is one.
    pub(crate) registry: Option<RegistrySettings>,
    /// Who knows one of these may say that the index has changed; none: nobody may.
    pub(crate) registry_secrets: Vec<Secret>,
    /// How versions replace each other.
    pub(crate) rollout: RolloutSettings,
    /// How many sessions there may be.
    pub(crate) sessions: SessionSettings,
    /// What packages may reach of this host.
    pub(crate) sandbox: SandboxSettings,
    /// Who is told what happens to packages and agents.
    pub(crate) webhooks: Option<Webhooks>,
    /// Who may prove who calls; none: identity is off.
    pub(crate) identity: Option<identity::IdentitySettings>,
    /// For workers.
    pub(crate) pool: Workers,
    /// What a request may take.
    pub(crate) limits: Limits,
    /// What tenants and agents may take.
    pub(crate) allowances: Allowances,
    /// What is kept of what calls use; none: nothing is.
    pub(crate) metering: Option<Metering>,
    /// What of it is billed; none: nothing is.
    pub(crate) billing: Option<BillingSettings>,
    /// How the end goes.
    pub(crate) shutdown: Shutdown,
    /// What is logged, and how.
    pub(crate) log: Log,
    /// Where traces and metrics are sent.
    pub(crate) telemetry: telemetry::Telemetry,
    /// What pages of other origins may do; none: nothing.
    pub(crate) cors: Option<Cors>,
    /// Whether callers see the messages of their agents' errors.
    pub(crate) expose_errors: bool,
    /// Whether results are checked against `output_schema`.
    pub(crate) validate_output: bool,
    /// An operator token that was given; none: one is made at the start.
    pub(crate) operator_token: Option<Secret>,
    /// What is odd but not wrong, one sentence each.
    pub(crate) warnings: Vec<String>,
    /// What all this was read from.
    pub(crate) given: Given,
}

/// Limits and places of packages.
#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "`max_packages` is the name of the contract")]
pub(crate) struct Packages {
    /// Content-addressed packages.
    pub(crate) cache_dir: PathBuf,
    /// Size from which unused packages are collected.
    pub(crate) max_cache_bytes: u64,
    /// Most mounted packages.
    pub(crate) max_packages: usize,
    /// Largest package, as downloaded or uploaded.
    pub(crate) max_package_bytes: u64,
    /// Whole time of one download.
    pub(crate) download_timeout: Duration,
    /// Longest silence of a server within it.
    pub(crate) download_idle_timeout: Duration,
    /// Whole time of one environment.
    pub(crate) install_timeout: Duration,
    /// Wheels for installs without a network.
    pub(crate) wheelhouse: Option<PathBuf>,
    /// Directories below which `load {"path"}` may read outside `--dev`; absolute.
    pub(crate) load_roots: Vec<PathBuf>,
    /// Where `s3://` leads.
    pub(crate) s3: S3Settings,
    /// Whether packages must be signed, and by whom.
    pub(crate) signatures: SignaturePolicy,
    /// Which packages get an adapter without asking for it.
    pub(crate) adapters: Vec<AdapterRule>,
}

/// A receiver of webhooks.
#[derive(Clone)]
pub(crate) struct Webhooks {
    /// Where letters go. It may contain a token: only its host is shown.
    pub(crate) url: Url,
    /// Each letter is signed with each of them; at least one, `whsec_` and base64, or a plain text.
    pub(crate) secrets: Vec<Secret>,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks")
            .field("host", &self.url.host_str())
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}

/// How workers are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workers {
    /// Longest import of a package, and longest start of what serves its surfaces.
    pub(crate) import_timeout: Duration,
    /// Idle workers beyond the minimum end after this time.
    pub(crate) idle_ttl: Duration,
    /// Longest expected wait in a busy worker before an idle one is woken instead.
    pub(crate) pack_budget: Duration,
    /// Interpreters to choose from; empty: those on PATH.
    pub(crate) pythons: Vec<PathBuf>,
    /// What runs packages of other languages.
    pub(crate) loaders: Vec<Loader>,
    /// The installer, if one was found; none: pip.
    pub(crate) uv: Option<PathBuf>,
    /// Variables of our own environment that agents get.
    pub(crate) pass_env: BTreeMap<String, String>,
}

/// What a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Longest call unless the export says otherwise.
    pub(crate) request_timeout: Duration,
    /// Most calls that run or wait.
    pub(crate) max_concurrent: usize,
    /// Largest body of a call.
    pub(crate) body_bytes: u64,
    /// Whole time in which a body must arrive.
    pub(crate) body_timeout: Duration,
    /// Bytes a second below which a body is too slow; 0: any is fast enough.
    pub(crate) body_rate: u64,
    /// Largest head of a request.
    pub(crate) header_bytes: u64,
    /// Of bodies that are forms.
    pub(crate) forms: Forms,
}

/// Limits of `multipart/form-data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forms {
    /// Largest body.
    pub(crate) bytes: u64,
    /// Largest file.
    pub(crate) file_bytes: u64,
    /// Largest field that is no file, except `input`.
    pub(crate) field_bytes: u64,
    /// Most parts, files and others.
    pub(crate) parts: usize,
}

/// How the end goes: 503 and still accepting for `delay`, then no more accepting and at most `grace` for the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shutdown {
    /// Time in which load balancers notice.
    pub(crate) delay: Duration,
    /// Time for calls that run.
    pub(crate) grace: Duration,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    /// The least level.
    pub(crate) level: tracing::Level,
    /// The form on stdout.
    pub(crate) format: LogFormat,
    /// Lines that `GET /runtime/logs` can go back.
    pub(crate) recent_lines: usize,
    /// Fewer access lines of what went well; none: all of them.
    pub(crate) sampling: Option<Sampling>,
    /// `agentAppId` of every line.
    pub(crate) agent_app_id: Option<String>,
    /// `deploymentId` of every line.
    pub(crate) deployment_id: Option<String>,
}

/// Which access lines of what went well are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sampling {
    /// So many a second, all of them.
    pub(crate) after: u32,
    /// Beyond that, one of so many.
    pub(crate) one_in: u32,
}

/// The form of log lines on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Config {
    /// Reads and checks everything. Of the file system, directories that must exist are asked for
    /// and files of keys and tokens are read; nothing is created.
    pub(crate) fn load(flags: &Flags, environment: &Environment) -> Result<Self, Faults> {
        check::check(flags, environment)
    }

    /// Whether somebody beyond this machine can reach the HTTP port.
    pub(crate) fn is_public(&self) -> bool {
        !self.http.ip().is_loopback()
    }

    /// Where the generated operator token is kept.
    pub(crate) fn operator_token_file(&self) -> PathBuf {
        self.data_dir.join("operator.token")
    }

    /// Where quotas of the day survive a restart.
    pub(crate) fn quotas_file(&self) -> PathBuf {
        self.data_dir.join("quotas.json")
    }
}

/// The local socket of a running `par`, for the commands that talk to it: only the settings that name it are read,
/// so that another fault of the configuration does not stop them.
pub(crate) fn socket(flags: &Flags, environment: &Environment) -> Result<PathBuf, Faults> {
    check::socket(flags, environment)
}

/// The data directory, for commands that read it where no `par` runs. [`socket`] tells what is wrong with its setting.
pub(crate) fn data_dir(flags: &Flags, environment: &Environment) -> PathBuf {
    check::data_dir(flags, environment)
}

/// Whether packages must be signed, and by whom, for commands that need no more: faults of other settings do not stop
/// them. A file of settings that cannot be read, or has unknown keys, does: it may have said something about this.
pub(crate) fn signatures(flags: &Flags, environment: &Environment) -> Result<SignaturePolicy, Faults> {
    check::signatures(flags, environment)
}

/// A time as settings are written: `500ms`, `90`, `10m`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    parse::time(text)
}

/// A time as settings are written, in whole seconds: `90`, `90s`, `10m`, `1h`.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    parse::time(text).map(|time| time.as_secs())
}

const fn listen(host: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(host, port)
}
