//! The Pixell Agent Runtime: a pingora gateway in front of a warm pool of Python agents.

// The futures of a rollout contain those of the S3 client, whose types are nested deeper than the default allows.
#![recursion_limit = "256"]

mod app;
mod auth;
mod cli;
mod config;
mod control;
mod edge;
mod inner;
mod lifecycle;
mod observe;
mod problem;
mod route;
mod watch;
mod webhooks;

fn main() -> std::process::ExitCode {
    cli::main()
}
