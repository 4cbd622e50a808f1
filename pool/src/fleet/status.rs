//! What is told about packages and agents: plain values, taken at one moment.

use std::time::SystemTime;

use par_proto::ids::{AgentId, Digest, PackageId};
use serde::Serialize;

use crate::{package::Step, process::SandboxLevel};

/// State of an agent, as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Calls are answered.
    Ready,
    /// Not yet.
    Starting,
    /// Switched off by an operator.
    Disabled,
    /// Its generation cannot start workers.
    Error,
    /// Its workers die again and again.
    CrashLoop,
    /// On its way out.
    Draining,
}

/// One agent, as `GET /agents` tells it.
#[derive(Debug, Clone, Serialize)]
pub struct AgentStatus {
    /// Full id.
    pub id: AgentId,
    /// Its package.
    pub package_id: PackageId,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// Version of the package.
    pub version: String,
    /// State.
    pub status: AgentState,
    /// Reached only by other agents.
    pub private: bool,
    /// Role needed.
    pub role_required: Option<String>,
    /// JSON Schema.
    pub input_schema: Option<serde_json::Value>,
    /// JSON Schema.
    pub output_schema: Option<serde_json::Value>,
    /// `rest`, `a2a`, `ui`, as declared by the package.
    pub surfaces: Vec<&'static str>,
    /// Full id of the agent that owns the bare export id, if that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflict: Option<AgentId>,
}

/// How a generation starts workers, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForkStatus {
    /// `fork` or `spawn`.
    pub method: &'static str,
    /// Why not `fork`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One mounted package, as `GET /runtime/packages` tells it.
#[derive(Debug, Clone, Serialize)]
pub struct PackageStatus {
    /// `name@version`.
    pub id: PackageId,
    /// State of its generation: `active`, `beside` (mounted for ids that name its version), `parked`, `draining`,
    /// `crash_loop`, `error`.
    pub state: &'static str,
    /// Whether it is what the package's short ids reach.
    pub active: bool,
    /// Its share of the calls to those ids, if they are shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<u32>,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Number of the generation, ascending over the life of the data directory.
    pub generation: u64,
    /// Where it came from, as given.
    pub source: String,
    /// Live workers: process ids with what they do.
    pub workers: Vec<WorkerStatus>,
    /// Process ids of what serves its REST and A2A.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub primaries: Vec<u32>,
    /// Calls waiting for a slot.
    pub queue_depth: usize,
    /// What its code is written for, as its manifest says.
    pub runtime: String,
    /// How workers are started.
    pub fork: ForkStatus,
    /// What the sandbox achieves.
    pub sandbox: SandboxLevel,
    /// Proportional set size of template and workers together.
    pub pss_bytes: u64,
    /// Full ids of its agents.
    pub agents: Vec<AgentId>,
    /// `rest`, `a2a`, `ui`, as declared.
    pub surfaces: Vec<&'static str>,
    /// The last thing that went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What is odd but not refused.
    pub warnings: Vec<String>,
    /// Seconds per step of its start.
    pub steps: Vec<(&'static str, f64)>,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkerStatus {
    /// Process id.
    pub pid: u32,
    /// `idle`, `busy`, `retiring`; `isolated`: it belongs to one session.
    pub state: &'static str,
    /// Calls outstanding.
    pub outstanding: u32,
    /// Calls answered.
    pub answered: u64,
    /// Sessions that live in it.
    pub sessions: u32,
}

/// A source that could not be mounted.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The source as given, without query and credentials.
    pub source: String,
    /// Name, if the manifest could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Version, if the manifest could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where it failed.
    #[serde(serialize_with = "step_text")]
    pub step: Step,
    /// Code of the problem: `package_invalid`, `conflict`.
    pub code: &'static str,
    /// The cause.
    pub detail: String,
    /// Since when.
    #[serde(serialize_with = "unix_seconds")]
    pub since: SystemTime,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn step_text<S: serde::Serializer>(step: &Step, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(step.text())
}

fn unix_seconds<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64());
    serializer.serialize_f64(seconds)
}
