//! The binary under test, without the surroundings of a test run.

use std::{path::PathBuf, process::Command};

/// Variables that would change what `par` does; a test sets those that it means.
const CLEARED: &[&str] = &[
    "AGENT_APP_ID",
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "BASE_PATH",
    "BOOT_BUDGET_MS",
    "BOOT_FAILURE_COUNT",
    "DEPLOYMENT_ID",
    "MULTIPLEXED",
    "PACKAGE_SHA256",
    "PACKAGE_URL",
    "ROOT_ROUTES",
    "RUNTIME_MODE",
    "PORT",
    "METRICS_PORT",
    "A2A_PORT",
    "REST_PORT",
    "UI_PORT",
    "HOST",
    "PACKAGES_URLS",
    "PACKAGE_CACHE_DIR",
    "MAX_CACHE_SIZE_MB",
    "REGISTRY_URL",
    "REGISTRY_POLL_INTERVAL",
    "REGISTRY_WEBHOOK_SECRET",
    "S3_BUCKET",
    "S3_ENDPOINT_URL",
    "TRUSTED_KEYS",
    "VERIFY_SIGNATURES",
    "WEBHOOK_URL",
    "WEBHOOK_SECRET",
    "PAR_CONFIG",
    "PAR_DATA_DIR",
    "PAR_SOCKET",
    "PAR_PASS_ENV",
    "PAR_OPERATOR_TOKEN",
    "WHEELHOUSE_DIR",
    "LOG_LEVEL",
    "OIDC_ISSUER",
    "OIDC_AUDIENCE",
    "STRIPE_KEY",
    "TLS_CERT",
    "TLS_KEY",
    "PAR_TLS",
    "RUST_LOG",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "ALL_PROXY",
];

/// The binary under test without the surroundings of a test run.
pub(crate) fn par_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_par"));
    undisturbed(&mut command);
    command
}

/// The same through another program that ends by becoming it: `unshare -m … par`.
pub(crate) fn par_command_through(words: &[String]) -> Command {
    let Some((program, rest)) = words.split_first() else { return par_command() };
    let mut command = Command::new(program);
    command.args(rest).arg(env!("CARGO_BIN_EXE_par"));
    undisturbed(&mut command);
    command
}

fn undisturbed(command: &mut Command) {
    for name in CLEARED {
        command.env_remove(name);
    }
    // Without it a test without credentials would ask an address of the cloud and wait.
    command.env("LOG_FORMAT", "json").env("AWS_EC2_METADATA_DISABLED", "true");
}

/// `$XDG_CACHE_HOME/par/tests`.
pub(crate) fn shared_cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache");
    base.unwrap_or_else(home).join("par/tests")
}
