//! A command that runs to its end, and what it said.

use std::process::{Command, Stdio};

use serde_json::Value;

/// What a command of the command line said.
#[derive(Debug)]
pub(crate) struct Output {
    /// Exit code; -1 for a signal.
    pub(crate) code: i32,
    /// The result.
    pub(crate) stdout: String,
    /// Everything else.
    pub(crate) stderr: String,
}

impl Output {
    /// Runs a command to its end.
    pub(crate) async fn of(mut command: Command) -> Self {
        let run = move || command.stdin(Stdio::null()).output().expect("the binary under test");
        let output = tokio::task::spawn_blocking(run).await.expect("it ran");
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// stdout as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}
