//! Why calls failed with a 5xx, in memory: each with its worker, what that said, and how busy everything was. Ends of
//! workers come by themselves, before or after the calls that they explain; both find each other here.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use par_pool::fleet::{Load, Obituary};
use par_proto::code::Code;
use parking_lot::Mutex;
use serde::Serialize;

/// Explanations that are kept of each code, so that a flood of one does not push the others out. Eleven codes with
/// 8 KiB each come to 9 MB at the most.
const KEPT: usize = 100;

/// Ends of workers that are kept, with 32 KiB each at the most.
const DEATHS: usize = 100;

/// Most bytes of a traceback, and of lines of a worker that lives on.
const TEXT: usize = 4 << 10;

/// Why one call failed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Explanation {
    /// Ascending since the start.
    pub(crate) number: u64,
    /// When it failed.
    #[serde(serialize_with = "unix_seconds")]
    pub(crate) at: SystemTime,
    pub(crate) request_id: Arc<str>,
    pub(crate) trace_id: Option<Box<str>>,
    /// Full id of the agent, or the package whose surface was asked; none: it did not come so far.
    pub(crate) agent_id: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) generation: Option<u64>,
    pub(crate) tenant: Option<Arc<str>>,
    /// How many calls it was nested in.
    pub(crate) depth: u8,
    #[serde(serialize_with = "code_text")]
    pub(crate) code: Code,
    pub(crate) status: u16,
    /// What the log says of it; the client may have been told less.
    pub(crate) cause: String,
    /// Process id.
    pub(crate) worker: Option<u32>,
    #[serde(rename = "latency_ms", serialize_with = "milliseconds")]
    pub(crate) latency: Duration,
    #[serde(rename = "queue_ms", serialize_with = "milliseconds")]
    pub(crate) queued: Duration,
    #[serde(rename = "worker_ms", serialize_with = "milliseconds")]
    pub(crate) worked: Duration,
    /// How busy the generation was.
    pub(crate) queue: Option<Load>,
    /// Calls of this host that ran or waited.
    pub(crate) in_flight: usize,
    /// Where the handler raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) traceback: Option<String>,
    /// What the worker had printed last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) output: Vec<String>,
    /// How the worker ended, if it has, with its stacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) death: Option<Arc<Obituary>>,
}

/// All of them; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Explanations(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    by_code: BTreeMap<Code, VecDeque<Explanation>>,
    deaths: VecDeque<Arc<Obituary>>,
    count: u64,
    died: u64,
}

impl Explanation {
    /// Whether a worker's end is what this failed by. A worker that dies later explains no error that an agent raised.
    fn is_by(&self, death: &Obituary) -> bool {
        let by_code = matches!(self.code, Code::WorkerCrashed | Code::DeadlineExceeded | Code::CrashLoop);
        // What kept the call came after the start of that process; ids of processes are used again.
        let born = death.at.checked_sub(death.lived + Duration::from_secs(1));
        by_code
            && self.worker == Some(death.worker)
            && self.generation == Some(death.generation)
            && born.is_none_or(|born| born <= self.at)
    }

    fn cut(&mut self) {
        if let Some(traceback) = &mut self.traceback {
            // Its end says where it was raised.
            let from = traceback.ceil_char_boundary(traceback.len().saturating_sub(TEXT));
            traceback.drain(..from);
        }
        let mut left = TEXT;
        let fits = |line: &&String| {
            left = left.saturating_sub(line.len());
            left > 0
        };
        let kept = self.output.iter().rev().take_while(fits).count();
        self.output.drain(..self.output.len() - kept);
    }
}

impl Explanations {
    /// Keeps one.
    pub(crate) fn explain(&self, mut explanation: Explanation) {
        explanation.cut();
        let told = {
            let mut kept = self.0.lock();
            kept.count += 1;
            explanation.number = kept.count;
            let death = kept.deaths.iter().rev().find(|death| explanation.is_by(death));
            explanation.death = death.map(Arc::clone);
            let told = explanation.death.is_some().then(|| explanation.clone());
            let ring = kept.by_code.entry(explanation.code).or_default();
            if ring.len() == KEPT {
                ring.pop_front();
            }
            ring.push_back(explanation);
            told
        };
        if let Some(explained) = told {
            tell(&explained);
        }
    }

    /// A worker has ended: calls that failed by it are explained.
    pub(crate) fn mourn(&self, death: Obituary) {
        let death = Arc::new(death);
        let explained: Vec<Explanation> = {
            let mut kept = self.0.lock();
            kept.died += 1;
            if kept.deaths.len() == DEATHS {
                kept.deaths.pop_front();
            }
            kept.deaths.push_back(Arc::clone(&death));
            let all = kept.by_code.values_mut().flatten();
            let by_it = all.filter(|explanation| explanation.death.is_none() && explanation.is_by(&death));
            by_it
                .map(|explanation| {
                    explanation.death = Some(Arc::clone(&death));
                    explanation.clone()
                })
                .collect()
        };
        explained.iter().for_each(tell);
    }

    /// Those that pass, newest first.
    pub(crate) fn list(&self, wanted: impl Fn(&Explanation) -> bool) -> Vec<Explanation> {
        let kept = self.0.lock();
        let mut all: Vec<Explanation> =
            kept.by_code.values().flatten().filter(|one| wanted(one)).cloned().collect();
        all.sort_unstable_by_key(|one| std::cmp::Reverse(one.number));
        all
    }

    /// Ends of workers, newest first.
    pub(crate) fn deaths(&self) -> Vec<Arc<Obituary>> {
        self.0.lock().deaths.iter().rev().map(Arc::clone).collect()
    }

    /// Failed calls and ended workers since the start.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let kept = self.0.lock();
        (kept.count, kept.died)
    }
}

/// A line in the log with the ids of the call, for whoever looks for them there.
fn tell(explained: &Explanation) {
    let Some(death) = &explained.death else { return };
    tracing::info!(
        event = "call_explained",
        request_id = &*explained.request_id,
        agent_id = explained.agent_id,
        code = explained.code.text(),
        generation = death.generation,
        worker = death.worker,
        cause = death.cause,
        stack = death.stack.join("\n"),
        output = death.output.join("\n"),
        "{}",
        death.detail
    );
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn code_text<S: serde::Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.text())
}

fn milliseconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((time.as_secs_f64() * 1e6).round() / 1000.0)
}

fn unix_seconds<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64());
    serializer.serialize_f64(seconds)
}

#[cfg(test)]
mod tests;
