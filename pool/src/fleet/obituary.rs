//! How a process came to its end, for whoever explains what it took with it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{generation::Generation, ticket::CallTicket};
use crate::process::{Death, Tail, Worker, begins_dump};

/// How long what a dead process has printed is waited for. Its pipes end with it, unless it has left children.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// The end of a process that nobody wanted.
#[derive(Debug, Clone, Serialize)]
pub struct Obituary {
    /// `name@version`.
    pub package: String,
    /// Number of the generation.
    pub generation: u64,
    /// Its process id.
    pub worker: u32,
    /// `worker`, or `primary`: it served surfaces.
    pub role: &'static str,
    /// The label of the metric: `exit signal timeout oom processes garbage vanished`.
    pub cause: &'static str,
    /// The cause in words.
    pub detail: String,
    /// Calls that it had answered.
    pub answered: u64,
    /// How long it lived.
    #[serde(rename = "lived_seconds", serialize_with = "seconds")]
    pub lived: Duration,
    /// When it ended.
    #[serde(serialize_with = "unix_seconds")]
    pub at: SystemTime,
    /// Where it was, if it could say so: the dump of its stacks.
    pub stack: Vec<String>,
    /// What it had printed last before that.
    pub output: Vec<String>,
}

/// Where obituaries go. Called from a task: it must not block.
#[derive(Clone)]
pub struct ObituarySink(pub Arc<dyn Fn(Obituary) + Send + Sync>);

impl ObituarySink {
    /// Nobody reads them.
    pub fn none() -> Self {
        Self(Arc::new(drop))
    }
}

impl fmt::Debug for ObituarySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObituarySink")
    }
}

/// One process that has ended.
pub(super) struct Deceased<'a> {
    pub(super) worker: u32,
    pub(super) role: &'static str,
    pub(super) answered: u64,
    pub(super) lived: Duration,
    pub(super) tail: &'a Tail,
}

impl<'a> Deceased<'a> {
    pub(super) fn worker(worker: &'a Worker<CallTicket>) -> Self {
        Self {
            worker: worker.pid,
            role: "worker",
            answered: worker.channel.answered(),
            lived: worker.since.elapsed(),
            tail: &worker.tail,
        }
    }
}

impl Generation {
    /// Writes what is known of an end, in the log and for whoever explains it, when all that the process has printed is
    /// there.
    pub(super) async fn bury(&self, deceased: Deceased<'_>, death: &Death) {
        let at = SystemTime::now();
        deceased.tail.whole(LAST_WORDS).await;
        let lines = deceased.tail.lines();
        let package = self.installed.package.id.to_string();
        let event = if deceased.role == "primary" { "primary_died" } else { "worker_died" };
        tracing::warn!(
            event,
            package,
            generation = self.number,
            worker = deceased.worker,
            cause = death.label(),
            output = lines.join("\n"),
            "{death}"
        );
        let (output, stack) = parted(lines);
        (self.settings.obituaries.0)(Obituary {
            package,
            generation: self.number,
            worker: deceased.worker,
            role: deceased.role,
            cause: death.label(),
            detail: death.to_string(),
            answered: deceased.answered,
            lived: deceased.lived,
            at,
            stack,
            output,
        });
    }
}

/// What was printed, and the dump of stacks behind it.
fn parted(mut lines: Vec<String>) -> (Vec<String>, Vec<String>) {
    let at = lines.iter().position(|line| begins_dump(line)).unwrap_or(lines.len());
    let stack = lines.split_off(at);
    (lines, stack)
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn unix_seconds<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64());
    serializer.serialize_f64(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dump_of_stacks_is_parted_from_what_was_printed_before() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        for (printed, dump) in [
            (
                "one\ntwo",
                "Fatal Python error: Segmentation fault\nCurrent thread 0x7f (most recent call first):",
            ),
            ("one", "Thread 0x7f [monitor] (most recent call first):\n  File \"a.py\", line 3 in f\nlater"),
            ("", "The main thread, most recent call first:\n    at f (a.js:1:2)"),
            ("one\nThe thread", ""),
        ] {
            let both = [lines(printed), lines(dump)].concat();
            assert_eq!(parted(both), (lines(printed), lines(dump)));
        }
    }
}
