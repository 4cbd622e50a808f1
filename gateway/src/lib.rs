//! The Pixell Agent Runtime: a pingora gateway in front of a warm pool of Python agents.
//!
//! The program is [`run`]; nothing else of it is for others. It is a library so that what reads strangers' bytes can
//! be fuzzed by itself (`fuzz/`).

// The futures of a rollout contain those of the S3 client, whose types are nested deeper than the default allows.
#![recursion_limit = "256"]

mod a2a;
mod app;
mod auth;
mod billing;
mod claim;
mod cli;
mod config;
mod control;
mod edge;
mod exit;
mod gathering;
mod host;
mod inner;
mod lifecycle;
mod limit;
mod live;
mod meter;
mod observe;
mod ports;
mod problem;
mod program;
mod route;
mod service_manager;
mod single;
mod sockets;
mod tls;
mod ui;
mod upgrade;
mod watch;
mod webhooks;

#[cfg(fuzzing)]
pub mod fuzzing;

/// Does what the command line says, and tells how it ended.
pub fn run() -> std::process::ExitCode {
    cli::main()
}
