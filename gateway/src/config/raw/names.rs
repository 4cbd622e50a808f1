//! The one list of settings, each by all of its names.

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
    STRIPE_KEY = "billing.stripe_key", "STRIPE_KEY";
    STRIPE_API_URL = "billing.api_url", "STRIPE_API_URL";
    STRIPE_STREAM_URL = "billing.stream_url";
    STRIPE_WEBHOOK_SECRET = "billing.webhook_secret", "STRIPE_WEBHOOK_SECRET";
    BILLING_API = "billing.api";
    BILLING_EVERY = "billing.every";
    BILLING_WINDOW = "billing.window";
    BILLING_SINCE = "billing.since";
    BILLING_CUSTOMERS = "billing.customers";
    BILLING_CUSTOMER_CLAIMS = "billing.customer_claims";
    BILLING_NOT_BILLED = "billing.not_billed";
    BILLING_REQUESTS = "billing.meter_requests";
    BILLING_INPUT_TOKENS = "billing.meter_input_tokens";
    BILLING_OUTPUT_TOKENS = "billing.meter_output_tokens";
    BILLING_COMPUTE_SECONDS = "billing.meter_compute_seconds";
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
