//! The words of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::examples;
use crate::config::{
    Flags,
    raw::{self, Setting},
};

/// Runs agent packages.
#[derive(Debug, Parser)]
#[command(
    name = "par",
    version,
    about = "Pixell Agent Runtime: packages in, agents out",
    after_help = examples::PAR,
    max_term_width = 100
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What `par` can do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run packages
    #[command(after_help = examples::SERVE)]
    Serve(Settings),
    /// Validate configuration and environment; tells all faults at once
    #[command(after_help = examples::CHECK)]
    Check(Settings),
    /// Show what can be configured
    #[command(after_help = examples::CONFIG)]
    Config {
        #[command(subcommand)]
        task: ConfigTask,
    },
    /// Look whether this host can do what the configuration asks of it; tells what to do where it cannot
    #[command(after_help = examples::DOCTOR)]
    Doctor {
        #[command(flatten)]
        settings: Settings,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what PAR understands of a package, without running it
    #[command(after_help = examples::INSPECT)]
    Inspect {
        /// A package file, a package directory or https://…
        #[arg(value_name = "FILE")]
        package: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the packages of a running par
    #[command(after_help = examples::PACKAGES)]
    Packages(Remote),
    /// List the agents of a running par
    #[command(after_help = examples::AGENTS)]
    Agents(Remote),
    /// Mount a package in a running par
    #[command(after_help = examples::LOAD)]
    Load {
        /// A package file, a package directory or https://…; `#sha256=<hex>` may follow
        source: String,
        /// Digest that the bytes must have
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        /// Replace a package of the same id whose bytes differ
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take a package out of a running par
    #[command(after_help = examples::UNLOAD)]
    Unload {
        /// name@version
        package: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Look at all sources now and bring in what has changed
    #[command(after_help = examples::RELOAD)]
    Reload {
        /// Only this package
        package: Option<String>,
        /// Try again what failed, undo rollbacks, unmount what is gone whatever the share
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Bring back the generation of a package that was replaced last
    #[command(after_help = examples::ROLLBACK)]
    Rollback {
        /// Name of the package
        package: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Switch an agent on
    #[command(after_help = examples::ENABLE)]
    Enable {
        /// Any id of the agent
        agent: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Switch an agent off
    #[command(after_help = examples::DISABLE)]
    Disable {
        /// Any id of the agent
        agent: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Have a running par become another binary, without refusing a connection
    #[command(after_help = examples::UPGRADE)]
    Upgrade {
        /// The binary; default: the file that it was started from, which may be another one by now
        #[arg(long, value_name = "PATH")]
        binary: Option<PathBuf>,
        /// How long to wait until it is ready
        #[arg(long = "timeout", value_name = "TIME", default_value = "5m")]
        patience: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show recent log lines of a running par, or change what it logs
    #[command(after_help = examples::LOGS)]
    Logs(LogsWanted),
    /// Show what was used, from a running par or from its data directory
    #[command(after_help = examples::USAGE)]
    Usage(UsageWanted),
    /// Decide about the dependencies of packages
    #[command(after_help = examples::ENV)]
    Env {
        #[command(subcommand)]
        task: EnvTask,
    },
    /// Write a completion script for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write pages of the manual
    #[command(after_help = examples::MAN)]
    Man {
        /// Where a page for each command is written; without it, the page of par itself is shown
        #[arg(value_name = "DIRECTORY")]
        directory: Option<PathBuf>,
    },
}

/// What `serve` is told; `check` takes the same, so that a whole command line can be checked.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Packages: .apkg files, package directories, directories of packages, https://…; `#sha256=<hex>` may follow
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
    /// Development: loopback only, readable logs, directory sources are rolled out on change
    #[arg(long)]
    dev: bool,
    /// Address of the HTTP port [variable: HOST]
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true)]
    host: Option<String>,
    /// HTTP port [variable: PORT]
    #[arg(long, allow_hyphen_values = true)]
    port: Option<String>,
    /// Metrics port [variable: METRICS_PORT]
    #[arg(long, value_name = "PORT", allow_hyphen_values = true)]
    metrics_port: Option<String>,
    /// State that survives a restart [variable: PAR_DATA_DIR]
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<String>,
    /// Configuration file, see conf/par.yaml [variable: PAR_CONFIG]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// TLS of the HTTP port: self-signed, off, or auto: with the files of TLS_CERT and TLS_KEY [variable: PAR_TLS]
    #[arg(long, value_name = "MODE")]
    tls: Option<String>,
}

/// Which `par` is asked, and how it is answered.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Local socket of the running par [variable: PAR_SOCKET]
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    /// Its data directory [variable: PAR_DATA_DIR]
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<String>,
    /// Its configuration file [variable: PAR_CONFIG]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Which lines.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct LogsWanted {
    #[command(subcommand)]
    pub(super) task: Option<LogsTask>,
    /// Lines of this agent or package
    #[arg(long)]
    pub(super) agent: Option<String>,
    /// Lines of this request
    #[arg(long, value_name = "ID")]
    pub(super) request_id: Option<String>,
    /// This level or a more severe one
    #[arg(long)]
    pub(super) level: Option<String>,
    /// Go on with new lines
    #[arg(short, long)]
    pub(super) follow: bool,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// What can be shown of the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigTask {
    /// Write the reference of all settings as Markdown: names, values, defaults, what they are for
    #[command(after_help = examples::REFERENCE)]
    Reference,
}

/// What can be done with the dependencies of packages.
#[derive(Debug, Subcommand)]
pub(super) enum EnvTask {
    /// Let the next install of each set of requirements look for newer versions; what runs, runs on
    #[command(after_help = examples::REFRESH)]
    Refresh {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// Which data directory.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The data directory [variable: PAR_DATA_DIR]
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<String>,
    /// The configuration file [variable: PAR_CONFIG]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What can be done about lines besides reading them.
#[derive(Debug, Subcommand)]
pub(super) enum LogsTask {
    /// Show or change the level while par runs
    #[command(after_help = examples::LEVEL)]
    Level {
        /// off, error, warn, info, debug, trace; default: as configured. Without it, levels are shown
        level: Option<String>,
        /// Only this module, `access` or `agent_output`
        #[arg(long, value_name = "NAME", requires = "level")]
        target: Option<String>,
        /// Time after which it falls back to what is configured, e.g. 10m
        #[arg(long = "for", value_name = "TIME", requires = "level")]
        lasts: Option<String>,
        /// Everything as configured
        #[arg(long, conflicts_with = "level")]
        reset: bool,
        #[command(flatten)]
        remote: Remote,
    },
}

/// What else is done with usage.
#[derive(Debug, Subcommand)]
pub(super) enum UsageTask {
    /// Compare what was used, what was billed, and what the billing side has counted
    #[command(after_help = examples::VERIFY)]
    Verify {
        /// Window by window as well: hour or day, of UTC. Names those that differ
        #[arg(long, value_name = "WINDOW", value_parser = ["hour", "day"])]
        by: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Which usage.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct UsageWanted {
    #[command(subcommand)]
    pub(super) task: Option<UsageTask>,
    /// From this time on: a date, RFC 3339, seconds since 1970, or so long ago like 24h
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<String>,
    /// tenant, agent, version, outcome, day, hour; separated by commas
    #[arg(long, value_name = "NAMES", default_value = "agent")]
    pub(super) by: String,
    /// Of this tenant alone
    #[arg(long)]
    pub(super) tenant: Option<String>,
    /// What was recorded of one request, by its X-Request-ID
    #[arg(long, value_name = "ID", conflicts_with_all = ["since", "until", "tenant", "csv"])]
    pub(super) request: Option<String>,
    /// Every recorded call that is kept, as JSON lines, from the data directory
    #[arg(long, conflicts_with_all = ["by", "request", "csv"])]
    pub(super) calls: bool,
    /// As CSV
    #[arg(long, conflicts_with = "json")]
    pub(super) csv: bool,
    #[command(flatten)]
    pub(super) remote: Remote,
}

fn given(settings: &[(&'static Setting, &Option<String>)]) -> Vec<(&'static Setting, String)> {
    settings.iter().filter_map(|(setting, text)| Some((*setting, (*text).clone()?))).collect()
}

impl Settings {
    /// As the configuration takes them.
    pub(super) fn flags(&self) -> Flags {
        Flags {
            settings: given(&[
                (&raw::HOST, &self.host),
                (&raw::PORT, &self.port),
                (&raw::METRICS_PORT, &self.metrics_port),
                (&raw::DATA_DIR, &self.data_dir),
                (&raw::TLS_MODE, &self.tls),
            ]),
            file: self.config.clone(),
            dev: self.dev,
            sources: self.sources.clone(),
        }
    }
}

impl Place {
    /// As the configuration takes them.
    pub(super) fn flags(&self) -> Flags {
        Flags {
            settings: given(&[(&raw::DATA_DIR, &self.data_dir)]),
            file: self.config.clone(),
            ..Flags::default()
        }
    }
}

impl Remote {
    /// As the configuration takes them.
    pub(super) fn flags(&self) -> Flags {
        Flags {
            settings: given(&[(&raw::SOCKET, &self.socket), (&raw::DATA_DIR, &self.data_dir)]),
            file: self.config.clone(),
            ..Flags::default()
        }
    }
}
