//! Raw to checked: every rule is applied and every fault collected before anything is given back.

use std::{
    collections::BTreeMap,
    fmt::Display,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf, absolute},
    time::Duration,
};

use par_pool::package::{SignaturePolicy, Source};
use serde::de::DeserializeOwned;

use super::{
    BillingSettings, Config, Environment, Fault, Faults, Flags, Forms, Given, Limits, Origin, Packages,
    Secret, Shutdown, Webhooks, Workers, listen, parse, pass_env,
    pool::{find_uv, is_executable},
    raw::{self, Raw, Setting, Written},
};

mod adapters;
mod billing;
mod connections;
mod entry;
mod identity;
mod limits;
mod loaders;
mod log;
mod metering;
mod registry;
mod rollout;
mod sandbox;
mod sessions;
mod signatures;
mod single;
mod sinks;
mod telemetry;
mod tls;
mod web;
mod webhooks;

/// Longest path of a Unix socket; the kernel's `sun_path` holds 108 bytes with the terminating zero.
const SOCKET_PATH: usize = 107;

/// Collects values and faults. A value that is wrong is replaced by its default, which is never used: the faults
/// end the check.
struct Check<'a> {
    raw: Raw,
    environment: &'a Environment,
    faults: Vec<Fault>,
}

pub(super) fn check(flags: &Flags, environment: &Environment) -> Result<Config, Faults> {
    let mut check = Check::new(flags, environment);
    let mut warnings = Vec::new();
    let is_single = check.is_single(&mut warnings);

    let dev = flags.dev;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let host = check.value(
        &raw::HOST,
        if dev { loopback } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) },
        parse::address,
    );
    let metrics_host = check.value(&raw::METRICS_HOST, host, parse::address);
    if dev {
        for (setting, address) in [(&raw::HOST, host), (&raw::METRICS_HOST, metrics_host)] {
            if !address.is_loopback() {
                check.fault(setting, format!("--dev serves on loopback only, not on {address}"));
            }
        }
    }
    let ports = check.ports(is_single);
    let data_dir = check.data_dir();
    let socket = check.socket(&data_dir);
    let packages = check.packages(&data_dir, &mut warnings);
    let sources =
        if is_single { check.package(&flags.sources, &mut warnings) } else { check.sources(&flags.sources) };
    let single = is_single.then(|| check.single(host, ports.ui));
    let identity = check.identity(dev, &mut warnings);
    // Whoever is known may still be a stranger to the agent's author.
    let exposed = identity.is_none();
    let metering = check.metering();
    let mut config = Config {
        dev,
        http: listen(host, ports.http),
        a2a: listen(host, ports.a2a),
        tls: check.tls(&mut warnings),
        metrics: listen(metrics_host, ports.metrics),
        connections: check.connections(),
        threads: check.value(&raw::THREADS, default_threads(), parse::count),
        socket,
        sources,
        lazy: if is_single {
            Vec::new()
        } else {
            check.list(&raw::LAZY, expand).into_iter().flatten().collect()
        },
        packages,
        registry: check.registry().filter(|_| !is_single),
        registry_secrets: check.registry_secrets(),
        rollout: check.rollout(),
        sessions: check.sessions(),
        sandbox: check.sandbox(&data_dir, raw::file(flags, environment), &mut warnings),
        webhooks: check.webhooks(&mut warnings),
        identity,
        pool: check.workers(is_single),
        limits: Limits {
            request_timeout: check.value(&raw::REQUEST_TIMEOUT, Duration::from_secs(30), parse::limit),
            max_concurrent: check.value(&raw::MAX_CONCURRENT, 500, parse::count),
            body_bytes: check.value(&raw::BODY_BYTES, 10 << 20, parse::bytes),
            body_timeout: check.value(&raw::BODY_TIMEOUT, Duration::from_secs(30), parse::limit),
            body_rate: check.body_rate(),
            header_bytes: check.value(&raw::HEADER_BYTES, 64 << 10, parse::bytes),
            forms: Forms {
                bytes: check.value(&raw::FORM_BYTES, 100 << 20, parse::bytes),
                file_bytes: check.value(&raw::FORM_FILE_BYTES, 100 << 20, parse::bytes),
                field_bytes: check.value(&raw::FORM_FIELD_BYTES, 1 << 20, parse::bytes),
                parts: check.value(&raw::FORM_PARTS, 100, parse::count),
            },
        },
        allowances: check.allowances(),
        billing: check.billing(metering.is_some()),
        metering,
        shutdown: Shutdown {
            delay: check.value(&raw::SHUTDOWN_DELAY, Duration::ZERO, parse::time),
            grace: check.value(&raw::SHUTDOWN_GRACE, Duration::from_secs(30), parse::time),
        },
        log: check.log(dev, single.as_ref().map(|single| single.agent_app_id.clone())),
        telemetry: check.telemetry(single.as_ref().map(|single| single.agent_app_id.as_str()), &mut warnings),
        cors: check.cors(),
        expose_errors: check.value(&raw::EXPOSE_ERRORS, exposed, parse::boolean),
        validate_output: check.value(&raw::VALIDATE_OUTPUT, dev, parse::boolean),
        operator_token: check.operator_token(),
        single,
        data_dir,
        warnings: Vec::new(),
        given: Given::new(flags, environment, check.raw.written()),
    };
    config.warnings = warnings;
    keep_secrets(&mut config);
    if check.faults.is_empty() { Ok(config) } else { Err(Faults(check.faults)) }
}

/// Our own secrets may stand in variables of any name.
fn keep_secrets(config: &mut Config) {
    let own: Vec<&Secret> = (config.identity.iter().flat_map(super::identity::IdentitySettings::secrets))
        .chain(&config.registry_secrets)
        .chain(config.webhooks.iter().flat_map(|receiver| &receiver.secrets))
        .chain(&config.operator_token)
        .chain(config.telemetry.secrets())
        .chain(config.billing.iter().flat_map(BillingSettings::secrets))
        .collect();
    config.pool.pass_env.retain(|_, value| !own.iter().any(|one| one.reveal() == value.trim()));
}

pub(super) fn socket(flags: &Flags, environment: &Environment) -> Result<PathBuf, Faults> {
    let mut check = Check::new(flags, environment);
    check.faults.clear();
    let data_dir = check.data_dir();
    let socket = check.socket(&data_dir);
    if check.faults.is_empty() { Ok(socket) } else { Err(Faults(check.faults)) }
}

pub(super) fn data_dir(flags: &Flags, environment: &Environment) -> PathBuf {
    Check::new(flags, environment).data_dir()
}

pub(super) fn signatures(flags: &Flags, environment: &Environment) -> Result<SignaturePolicy, Faults> {
    let mut check = Check::new(flags, environment);
    let policy = check.signatures(&mut Vec::new());
    if check.faults.is_empty() { Ok(policy) } else { Err(Faults(check.faults)) }
}

/// The sources that one text names.
fn expand(text: &str) -> Result<Vec<Source>, String> {
    Source::expand(text).map_err(|error| error.to_string())
}

/// A quarter of the cores: the edge needs about 15 µs a call where a worker needs 25 or more.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 4).max(1))
}

impl<'a> Check<'a> {
    fn new(flags: &Flags, environment: &'a Environment) -> Self {
        let mut raw = Raw::gather(flags, environment);
        let faults = std::mem::take(&mut raw.faults);
        Self { raw, environment, faults }
    }

    /// Notes what is wrong with a setting, under the name it was given by. One that was not given is blamed by its
    /// variable.
    fn fault(&mut self, setting: &Setting, problem: impl Display) {
        let origin = self.raw.get(setting).map_or(Origin::Environment, |(_, origin)| origin.clone());
        let name = origin.name(setting).to_owned();
        self.faults.push(Fault { name, origin, problem: problem.to_string() });
    }

    fn parsed<T>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let parsed = match self.raw.get(setting)? {
            (Written::One(text), _) => parse(text.trim()),
            (Written::Many(_) | Written::Tree(_), _) => Err("must be one value, not a list".to_owned()),
        };
        parsed.map_err(|problem| self.fault(setting, problem)).ok()
    }

    fn value<T>(&mut self, setting: &Setting, default: T, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.parsed(setting, parse).unwrap_or(default)
    }

    /// A text of which an empty one counts as not given, as container tools write unset variables.
    fn text(&mut self, setting: &Setting) -> Option<String> {
        self.parsed(setting, |text| Ok(text.to_owned())).filter(|text| !text.is_empty())
    }

    /// A list: a sequence in the file, separated by commas elsewhere.
    fn list<T>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let items = match self.raw.get(setting) {
            // Trees have checks of their own.
            None | Some((Written::Tree(_), _)) => return Vec::new(),
            Some((Written::Many(items), _)) => items.clone(),
            Some((Written::One(text), _)) => text.split(',').map(str::to_owned).collect(),
        };
        let mut values = Vec::new();
        for item in items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()) {
            match parse(item) {
                Ok(value) => values.push(value),
                Err(problem) => self.fault(setting, problem),
            }
        }
        values
    }

    /// A tree of the file, read by the names of `T`. Elsewhere than in the file nobody can write one.
    fn tree<T: DeserializeOwned>(&mut self, setting: &Setting) -> Option<T> {
        let (written, _) = self.raw.get(setting)?;
        let read = match written {
            Written::Tree(tree) => serde_yaml::from_value(tree.clone()).map_err(|error| error.to_string()),
            Written::One(_) | Written::Many(_) => Err("must be written in the file".to_owned()),
        };
        read.map_err(|problem| self.fault(setting, problem)).ok()
    }

    /// Notes faults within a tree.
    fn tell(&mut self, setting: &Setting, told: Vec<entry::Told>) {
        let origin = self.raw.get(setting).map_or(Origin::Environment, |(_, origin)| origin.clone());
        let faults = told.into_iter().map(|(name, problem)| Fault { name, origin: origin.clone(), problem });
        self.faults.extend(faults);
    }

    /// A path, made absolute.
    fn path(&mut self, setting: &Setting) -> Option<PathBuf> {
        let text = self.text(setting)?;
        absolute(&text).map_err(|error| self.fault(setting, format!("{text:?}: {error}"))).ok()
    }

    fn data_dir(&mut self) -> PathBuf {
        if let Some(given) = self.path(&raw::DATA_DIR) {
            return given;
        }
        let directory = |name: &str| {
            self.environment.get(name).map(PathBuf::from).filter(|directory| directory.is_absolute())
        };
        if let Some(state) = directory("XDG_STATE_HOME") {
            return state.join("par");
        }
        directory("HOME").map_or_else(|| PathBuf::from("/var/lib/par"), |home| home.join(".local/state/par"))
    }

    fn socket(&mut self, data_dir: &Path) -> PathBuf {
        let socket = self.path(&raw::SOCKET).unwrap_or_else(|| data_dir.join("par.sock"));
        let length = socket.as_os_str().len();
        if length > SOCKET_PATH {
            self.fault(
                &raw::SOCKET,
                format!(
                    "{} has {length} bytes; the path of a socket may have {SOCKET_PATH}",
                    socket.display()
                ),
            );
        }
        socket
    }

    fn sources(&mut self, arguments: &[String]) -> Vec<Source> {
        let mut sources = Vec::new();
        for argument in arguments {
            match expand(argument) {
                Ok(found) => sources.extend(found),
                Err(problem) => {
                    self.faults.push(Fault { name: "SOURCE".to_owned(), origin: Origin::Flag, problem });
                }
            }
        }
        sources.extend(self.list(&raw::SOURCES, expand).into_iter().flatten());
        sources
    }

    fn packages(&mut self, data_dir: &Path, warnings: &mut Vec<String>) -> Packages {
        let wheelhouse = self.path(&raw::WHEELHOUSE);
        if let Some(missing) = wheelhouse.as_deref().filter(|directory| !directory.is_dir()) {
            self.fault(&raw::WHEELHOUSE, format!("{} is not a directory", missing.display()));
        }
        let root = |text: &str| absolute(text).map_err(|error| format!("{text:?}: {error}"));
        Packages {
            cache_dir: self.path(&raw::CACHE_DIR).unwrap_or_else(|| data_dir.join("packages")),
            max_cache_bytes: self.value(&raw::MAX_CACHE_MB, 1024 << 20, parse::mebibytes),
            max_packages: self.value(&raw::MAX_PACKAGES, 100, parse::count),
            max_package_bytes: self.value(&raw::MAX_PACKAGE_MB, 100 << 20, parse::mebibytes),
            download_timeout: self.value(&raw::DOWNLOAD_TIMEOUT, Duration::from_secs(60), parse::limit),
            download_idle_timeout: self.value(
                &raw::DOWNLOAD_IDLE_TIMEOUT,
                Duration::from_secs(15),
                parse::limit,
            ),
            install_timeout: self.value(&raw::INSTALL_TIMEOUT, Duration::from_secs(300), parse::limit),
            wheelhouse,
            load_roots: self.list(&raw::LOAD_ROOTS, root),
            s3: self.s3(),
            signatures: self.signatures(warnings),
            adapters: self.package_adapters(),
        }
    }

    fn workers(&mut self, is_single: bool) -> Workers {
        let program = |text: &str| {
            let path = absolute(text).map_err(|error| format!("{text:?}: {error}"))?;
            if is_executable(&path) { Ok(path) } else { Err(format!("{text:?} is not a program")) }
        };
        let pythons = self.list(&raw::PYTHON, program);
        let uv = match self.text(&raw::UV) {
            Some(_) => self.parsed(&raw::UV, program),
            None => find_uv(&pythons, self.environment),
        };
        let globs = self.list(&raw::PASS_ENV, pass_env::glob);
        let pass_env: BTreeMap<_, _> = if is_single && self.raw.get(&raw::PASS_ENV).is_none() {
            pass_env::everything(self.environment)
        } else {
            pass_env::select(&globs, self.environment)
        };
        Workers {
            import_timeout: self.value(&raw::IMPORT_TIMEOUT, Duration::from_secs(120), parse::limit),
            idle_ttl: self.value(&raw::IDLE_TTL, Duration::from_secs(60), parse::limit),
            pack_budget: self.value(&raw::PACK_BUDGET, Duration::from_millis(1), parse::time),
            pythons,
            loaders: self.loaders(),
            uv,
            pass_env,
        }
    }

    /// In the environment the token itself, in the file the name of a file that holds it.
    fn operator_token(&mut self) -> Option<Secret> {
        let given = self.text(&raw::OPERATOR_TOKEN)?;
        let from_file = matches!(self.raw.get(&raw::OPERATOR_TOKEN), Some((_, Origin::File(_))));
        let token = if from_file {
            match std::fs::read_to_string(&given) {
                Ok(text) => text.trim().to_owned(),
                Err(error) => {
                    self.fault(&raw::OPERATOR_TOKEN, format!("{given:?} cannot be read: {error}"));
                    return None;
                }
            }
        } else {
            given
        };
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.fault(&raw::OPERATOR_TOKEN, "the token must be visible ASCII characters without spaces");
            return None;
        }
        Some(Secret::new(token))
    }
}

#[cfg(test)]
mod tests;
