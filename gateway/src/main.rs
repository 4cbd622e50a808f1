//! The Pixell Agent Runtime: a pingora gateway in front of a warm pool of Python agents.

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

fn main() -> std::process::ExitCode {
    cli::main()
}
