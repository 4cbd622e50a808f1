//! Settings as written: command line, environment and file in, one text per setting out, with its origin.
//!
//! [`ALL`] is the one list of names. A key of the file that is not in it is a fault; nothing is parsed here.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use serde_yaml::Value;

use super::{
    fault::{Fault, Origin},
    reference,
};

/// One setting by all of its names. What it means, its unit and its default are told in `conf/par.yaml`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Key of the file, sections joined by dots.
    pub(crate) key: &'static str,
    /// Variable of the environment.
    pub(crate) variable: Option<&'static str>,
    /// Flag of `par serve`, or of the commands that talk to it.
    pub(crate) flag: Option<&'static str>,
}

macro_rules! settings {
    ($($name:ident = $key:literal $(, $variable:literal $(, $flag:literal)?)?;)*) => {
        $(#[allow(missing_docs, reason = "the key says it; conf/par.yaml explains it")]
        pub(crate) const $name: Setting = Setting {
            key: $key,
            variable: settings!(@option $($variable)?),
            flag: settings!(@option $($($flag)?)?),
        };)*

        /// Every setting.
        pub(crate) const ALL: &[Setting] = &[$($name),*];
    };
    (@option) => { None };
    (@option $text:literal) => { Some($text) };
}

settings! {
    HOST = "server.host", "HOST", "--host";
    PORT = "server.port", "PORT", "--port";
    THREADS = "server.threads";
    A2A_PORT = "server.a2a_port", "A2A_PORT";
    AGENT_APP_ID = "single.agent_app_id", "AGENT_APP_ID";
    PACKAGE_URL = "single.package_url", "PACKAGE_URL";
    PACKAGE_SHA256 = "single.package_sha256", "PACKAGE_SHA256";
    BASE_PATH = "single.base_path", "BASE_PATH";
    ROOT_ROUTES = "single.root_routes", "ROOT_ROUTES";
    MULTIPLEXED = "single.multiplexed", "MULTIPLEXED";
    REST_PORT = "single.rest_port", "REST_PORT";
    UI_PORT = "single.ui_port", "UI_PORT";
    BOOT_BUDGET = "single.boot_budget_ms", "BOOT_BUDGET_MS";
    BOOT_FAILURES = "single.boot_failures", "BOOT_FAILURE_COUNT";
    TRUSTED_PROXIES = "server.trusted_proxies";
    HOSTS = "server.hosts";
    MAX_CONNECTIONS = "server.max_connections";
    MAX_CONNECTIONS_PER_ADDRESS = "server.max_connections_per_address";
    HEADER_TIMEOUT = "server.header_timeout";
    IDLE_TIMEOUT = "server.idle_timeout";
    TLS_MODE = "tls.mode", "PAR_TLS", "--tls";
    TLS_CERT = "tls.cert", "TLS_CERT";
    TLS_KEY = "tls.key", "TLS_KEY";
    TLS_CLIENT_CA = "tls.client_ca";
    TLS_CLIENT_AUTH = "tls.client_auth";
    CORS_ORIGINS = "cors.origins";
    CORS_METHODS = "cors.methods";
    CORS_HEADERS = "cors.headers";
    CORS_CREDENTIALS = "cors.credentials";
    CORS_MAX_AGE = "cors.max_age";
    OIDC_ISSUER = "identity.issuer", "OIDC_ISSUER";
    OIDC_AUDIENCE = "identity.audience", "OIDC_AUDIENCE";
    ISSUERS = "identity.issuers";
    ADAPTERS = "identity.adapters";
    ALGORITHMS = "identity.algorithms";
    LEEWAY = "identity.leeway";
    CLAIM_SUBJECT = "identity.subject_claims";
    CLAIM_TENANT = "identity.tenant_claims";
    CLAIM_ROLES = "identity.role_claims";
    CLAIM_SCOPES = "identity.scope_claims";
    OPERATOR_ROLES = "identity.operator_roles";
    VIEWER_ROLES = "identity.viewer_roles";
    IDENTITY_CA = "identity.ca";
    CACHED_TOKENS = "identity.cached_tokens";
    METRICS_HOST = "metrics.host", "METRICS_HOST";
    METRICS_PORT = "metrics.port", "METRICS_PORT", "--metrics-port";
    METERING = "metering.enabled";
    METERING_ON_FULL = "metering.on_full";
    METERING_FSYNC = "metering.fsync_interval";
    METERING_SEGMENT = "metering.segment_bytes";
    METERING_JOURNAL_TIME = "metering.journal_time";
    METERING_JOURNAL_BYTES = "metering.journal_bytes";
    METERING_MINUTES = "metering.minutes_kept";
    METERING_LEDGER = "metering.ledger_kept";
    METRICS_EXPORTER = "metrics.exporter", "OTEL_METRICS_EXPORTER";
    METRICS_ENDPOINT = "metrics.endpoint", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
    METRICS_PROTOCOL = "metrics.protocol", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL";
    METRICS_HEADERS = "metrics.headers", "OTEL_EXPORTER_OTLP_METRICS_HEADERS";
    METRICS_TIMEOUT = "metrics.timeout_ms", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT";
    METRICS_INTERVAL = "metrics.interval_ms", "OTEL_METRIC_EXPORT_INTERVAL";
    METRICS_PATIENCE = "metrics.export_timeout_ms", "OTEL_METRIC_EXPORT_TIMEOUT";
    METRICS_SINKS = "metrics.sinks", "PAR_METRICS_SINKS";
    OTLP_DISABLED = "otlp.disabled", "OTEL_SDK_DISABLED";
    OTLP_ENDPOINT = "otlp.endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT";
    OTLP_PROTOCOL = "otlp.protocol", "OTEL_EXPORTER_OTLP_PROTOCOL";
    OTLP_HEADERS = "otlp.headers", "OTEL_EXPORTER_OTLP_HEADERS";
    OTLP_TIMEOUT = "otlp.timeout_ms", "OTEL_EXPORTER_OTLP_TIMEOUT";
    OTLP_COMPRESSION = "otlp.compression", "OTEL_EXPORTER_OTLP_COMPRESSION";
    OTLP_CERTIFICATE = "otlp.certificate", "OTEL_EXPORTER_OTLP_CERTIFICATE";
    OTLP_CLIENT_CERTIFICATE = "otlp.client_certificate", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
    OTLP_CLIENT_KEY = "otlp.client_key", "OTEL_EXPORTER_OTLP_CLIENT_KEY";
    OTLP_SERVICE_NAME = "otlp.service_name", "OTEL_SERVICE_NAME";
    OTLP_RESOURCE = "otlp.resource_attributes", "OTEL_RESOURCE_ATTRIBUTES";
    TRACES_EXPORTER = "traces.exporter", "OTEL_TRACES_EXPORTER";
    TRACES_ENDPOINT = "traces.endpoint", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    TRACES_PROTOCOL = "traces.protocol", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
    TRACES_HEADERS = "traces.headers", "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
    TRACES_TIMEOUT = "traces.timeout_ms", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT";
    TRACES_SAMPLER = "traces.sampler", "OTEL_TRACES_SAMPLER";
    TRACES_SAMPLER_ARG = "traces.sampler_arg", "OTEL_TRACES_SAMPLER_ARG";
    TRACES_DELAY = "traces.delay_ms", "OTEL_BSP_SCHEDULE_DELAY";
    TRACES_PATIENCE = "traces.export_timeout_ms", "OTEL_BSP_EXPORT_TIMEOUT";
    TRACES_QUEUE = "traces.queue", "OTEL_BSP_MAX_QUEUE_SIZE";
    TRACES_BATCH = "traces.batch", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
    DATA_DIR = "data_dir", "PAR_DATA_DIR", "--data-dir";
    SOCKET = "socket", "PAR_SOCKET", "--socket";
    SOURCES = "packages.sources", "PACKAGES_URLS";
    CACHE_DIR = "packages.cache_dir", "PACKAGE_CACHE_DIR";
    MAX_CACHE_MB = "packages.max_cache_mb", "MAX_CACHE_SIZE_MB";
    MAX_PACKAGES = "packages.max_packages", "MAX_PACKAGES";
    MAX_PACKAGE_MB = "packages.max_package_mb", "MAX_PACKAGE_SIZE_MB";
    DOWNLOAD_TIMEOUT = "packages.download_timeout", "DOWNLOAD_TIMEOUT_SECONDS";
    INSTALL_TIMEOUT = "packages.install_timeout", "INSTALL_TIMEOUT_SECONDS";
    WHEELHOUSE = "packages.wheelhouse", "WHEELHOUSE_DIR";
    LOAD_ROOTS = "packages.load_roots";
    LAZY = "packages.lazy";
    DOWNLOAD_IDLE_TIMEOUT = "packages.download_idle_timeout";
    VERIFY_SIGNATURES = "packages.verify_signatures", "VERIFY_SIGNATURES";
    TRUSTED_KEYS = "packages.trusted_keys", "TRUSTED_KEYS";
    PACKAGE_ADAPTERS = "packages.adapters";
    REGISTRY_URL = "registry.url", "REGISTRY_URL";
    REGISTRY_POLL_INTERVAL = "registry.poll_interval", "REGISTRY_POLL_INTERVAL";
    REGISTRY_WEBHOOK_SECRET = "registry.webhook_secret", "REGISTRY_WEBHOOK_SECRET";
    S3_BUCKET = "s3.bucket", "S3_BUCKET";
    S3_REGION = "s3.region", "AWS_REGION";
    S3_ENDPOINT = "s3.endpoint", "S3_ENDPOINT_URL";
    ROLLBACK_TTL = "rollout.rollback_ttl";
    PARKED = "rollout.parked";
    DRAIN_TIMEOUT = "rollout.drain_timeout";
    BAKE_WINDOW = "rollout.bake_window";
    BAKE_MIN_CALLS = "rollout.bake_min_calls";
    BAKE_ERROR_POINTS = "rollout.bake_error_points";
    BAKE_P99_RATIO = "rollout.bake_p99_ratio";
    SESSIONS_PER_PACKAGE = "sessions.per_package";
    SESSIONS_PER_TENANT = "sessions.per_tenant";
    SESSIONS_MEMORY = "sessions.memory_mb";
    WEBHOOK_URL = "webhooks.url", "WEBHOOK_URL";
    WEBHOOK_SECRET = "webhooks.secret", "WEBHOOK_SECRET";
    IMPORT_TIMEOUT = "pool.import_timeout";
    IDLE_TTL = "pool.idle_ttl";
    PACK_BUDGET = "pool.pack_budget";
    PYTHON = "pool.python";
    UV = "pool.uv";
    PASS_ENV = "pool.pass_env", "PAR_PASS_ENV";
    LOADERS = "loaders";
    REQUEST_TIMEOUT = "limits.request_timeout", "REQUEST_TIMEOUT_SECONDS";
    MAX_CONCURRENT = "limits.max_concurrent", "MAX_CONCURRENT_INVOCATIONS";
    BODY_BYTES = "limits.body_bytes";
    BODY_TIMEOUT = "limits.body_timeout";
    BODY_RATE = "limits.body_rate";
    HEADER_BYTES = "limits.header_bytes";
    FORM_BYTES = "limits.form_bytes";
    FORM_FILE_BYTES = "limits.form_file_bytes";
    FORM_FIELD_BYTES = "limits.form_field_bytes";
    FORM_PARTS = "limits.form_parts";
    GLOBAL_RATE = "limits.global_rate";
    TENANT_RATE = "limits.tenant_rate";
    TENANT_CONCURRENT = "limits.tenant_concurrent";
    TENANT_DAILY_CALLS = "limits.tenant_daily_calls";
    TENANT_DAILY_TOKENS = "limits.tenant_daily_tokens";
    AGENT_RATE = "limits.agent_rate";
    AGENT_CONCURRENT = "limits.agent_concurrent";
    TENANTS = "limits.tenants";
    AGENTS = "limits.agents";
    VALIDATE_OUTPUT = "validate_output";
    SANDBOX = "sandbox";
    SANDBOX_READ = "sandbox_read";
    SANDBOX_PROCESSES = "sandbox_processes";
    SANDBOX_FILE_BYTES = "sandbox_file_bytes";
    SHUTDOWN_DELAY = "shutdown.delay", "SHUTDOWN_DELAY_SEC";
    SHUTDOWN_GRACE = "shutdown.grace", "GRACEFUL_SHUTDOWN_TIMEOUT_SEC";
    OPERATOR_TOKEN = "operator_token_file", "PAR_OPERATOR_TOKEN";
    EXPOSE_ERRORS = "expose_errors";
    LOG_LEVEL = "log.level", "LOG_LEVEL";
    LOG_FORMAT = "log.format", "LOG_FORMAT";
    LOG_RECENT = "log.recent_lines";
    LOG_SAMPLE_AFTER = "log.sample_after";
    LOG_SAMPLE_ONE_IN = "log.sample_one_in";
    DEPLOYMENT_ID = "deployment_id", "DEPLOYMENT_ID";
}

/// Settings whose value is a tree of the file: their checks read it with the names that they know.
const TREES: &[&Setting] =
    &[&ISSUERS, &ADAPTERS, &TENANTS, &AGENTS, &LOADERS, &PACKAGE_ADAPTERS, &METRICS_SINKS];

/// The variables of the process, as text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process. Names and values that are no Unicode are left out, except the values of our own
    /// settings: those are kept with replacement characters, so that a check can refuse them.
    pub(crate) fn of_process() -> Self {
        Self::from_os(std::env::vars_os())
    }

    fn from_os(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        Self(
            variables
                .filter_map(|(name, value)| {
                    let name = name.into_string().ok()?;
                    let ours = ALL.iter().any(|setting| setting.variable == Some(name.as_str()));
                    match value.into_string() {
                        Ok(value) => Some((name, value)),
                        Err(value) if ours => Some((name, value.to_string_lossy().into_owned())),
                        Err(_) => None,
                    }
                })
                .collect(),
        )
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    /// Settings that were given as flags.
    pub(crate) settings: Vec<(&'static Setting, String)>,
    /// `-c`.
    pub(crate) file: Option<PathBuf>,
    /// `--dev`.
    pub(crate) dev: bool,
    /// Sources, in order.
    pub(crate) sources: Vec<String>,
}

/// One value as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// A scalar.
    One(String),
    /// A sequence of scalars; only files have them.
    Many(Vec<String>),
    /// Whatever stands there, for settings that are more than a list; only files have them.
    Tree(Value),
}

/// The strongest value of every setting that was given at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raw {
    given: BTreeMap<&'static str, (Written, Origin)>,
    /// Keys that do not exist, and values that are no text.
    pub(crate) faults: Vec<Fault>,
}

impl Raw {
    /// Collects: flag over environment over file.
    pub(crate) fn gather(flags: &Flags, environment: &Environment) -> Self {
        let mut raw = Self::default();
        if let Some(path) = file(flags, environment) {
            raw.read_file(path);
        }
        for setting in ALL {
            let Some(text) = setting.variable.and_then(|name| environment.get(name)) else { continue };
            raw.given.insert(setting.key, (Written::One(text.to_owned()), Origin::Environment));
        }
        for (setting, text) in &flags.settings {
            raw.given.insert(setting.key, (Written::One(text.clone()), Origin::Flag));
        }
        raw.follow(environment);
        raw
    }

    /// Puts values in the place of references.
    fn follow(&mut self, environment: &Environment) {
        for (key, (written, origin)) in &mut self.given {
            let name =
                ALL.iter().find(|setting| setting.key == *key).map_or(*key, |setting| origin.name(setting));
            let problems = reference::follow(written, environment);
            let fault = |problem| Fault { name: name.to_owned(), origin: origin.clone(), problem };
            self.faults.extend(problems.into_iter().map(fault));
        }
    }

    /// What was written for a setting.
    pub(crate) fn get(&self, setting: &Setting) -> Option<&(Written, Origin)> {
        self.given.get(setting.key)
    }

    fn read_file(&mut self, path: PathBuf) {
        let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        let tree = read.and_then(|text| serde_yaml::from_str(&text).map_err(|error| error.to_string()));
        let origin = Origin::File(path);
        match tree {
            Ok(tree) => self.take(String::new(), tree, &origin),
            Err(problem) => self.faults.push(Fault { name: "-c".to_owned(), origin, problem }),
        }
    }

    /// Walks a tree; `prefix` is the path to it. An empty value means "not given".
    fn take(&mut self, prefix: String, tree: Value, origin: &Origin) {
        let setting = ALL.iter().find(|setting| setting.key == prefix);
        let problem = match (tree, setting) {
            (Value::Null, _) if setting.is_some() || prefix.is_empty() || is_section(&prefix) => return,
            (Value::Mapping(entries), None) if prefix.is_empty() || is_section(&prefix) => {
                for (key, value) in entries {
                    let key = scalar(&key).unwrap_or_else(|| format!("{key:?}"));
                    let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                    self.take(path, value, origin);
                }
                return;
            }
            (value, Some(setting)) if TREES.contains(&setting) => {
                self.given.insert(setting.key, (Written::Tree(value), origin.clone()));
                return;
            }
            (value, Some(setting)) => match written(&value) {
                Some(written) => {
                    self.given.insert(setting.key, (written, origin.clone()));
                    return;
                }
                None => "must be a plain value or a list of plain values".to_owned(),
            },
            (_, None) if prefix.is_empty() => "the file must hold a mapping of keys".to_owned(),
            (_, None) if is_section(&prefix) => "is a section and must hold a mapping of keys".to_owned(),
            (_, None) => unknown(&prefix),
        };
        let name = if prefix.is_empty() { "-c".to_owned() } else { prefix };
        self.faults.push(Fault { name, origin: origin.clone(), problem });
    }
}

/// The file of settings, if there is one.
pub(crate) fn file(flags: &Flags, environment: &Environment) -> Option<PathBuf> {
    flags.file.clone().or_else(|| environment.get("PAR_CONFIG").map(PathBuf::from))
}

fn is_section(path: &str) -> bool {
    ALL.iter().any(|setting| setting.key.split_once('.').is_some_and(|(section, _)| section == path))
}

fn unknown(key: &str) -> String {
    let leaf = key.rsplit('.').next().unwrap_or(key);
    let near = ALL.iter().find(|setting| setting.key.rsplit('.').next() == Some(leaf));
    match near {
        Some(setting) => format!("there is no such key; did you mean {}?", setting.key),
        None => "there is no such key".to_owned(),
    }
}

/// A plain value as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

fn written(value: &Value) -> Option<Written> {
    match value {
        Value::Sequence(items) => items.iter().map(scalar).collect::<Option<_>>().map(Written::Many),
        Value::String(_) | Value::Bool(_) | Value::Number(_) => scalar(value).map(Written::One),
        Value::Null | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

#[cfg(test)]
mod tests;
