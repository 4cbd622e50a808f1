//! The receipts of rollouts: what was asked, what came of it, how long each step took, and how calls fared.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use par_proto::ids::{Digest, PackageId, PackageName};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{
    generation::Generation,
    totals::{Calls, Tally},
};

/// Receipts that are kept, over restarts.
const KEPT: usize = 200;

/// Who asked for a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A source of the start, or what was loaded before a restart.
    Start,
    /// The management API: load.
    Load,
    /// The management API: upload.
    Upload,
    /// The management API: reload.
    Reload,
    /// The registry index.
    Index,
    /// The first call of a lazy package.
    FirstCall,
    /// A directory that changed under `--dev`.
    Directory,
    /// The management API: rollback.
    Rollback,
    /// The bake window.
    Bake,
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutOutcome {
    /// Under way.
    Running,
    /// New calls go to it.
    Live,
    /// It failed at a step; what was there serves on.
    Failed,
    /// A newer version was wanted before its turn came.
    Superseded,
    /// It was live and was taken back.
    RolledBack,
}

impl RolloutOutcome {
    /// As label of a metric.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Live => "live",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// One side of a rollout.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// `name@version`.
    pub id: PackageId,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Number of the generation; none if none was started.
    pub generation: Option<u64>,
}

/// How calls fared on both sides.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Compared {
    /// The former generation, in its last five minutes.
    pub before: Option<Calls>,
    /// The new one, up to the end of the bake window.
    pub after: Option<Calls>,
}

/// The receipt of one rollout.
#[derive(Debug, Clone, Serialize)]
pub struct Receipt {
    /// Unique over restarts.
    pub id: String,
    /// The package.
    pub package: PackageName,
    /// Who asked.
    pub cause: Cause,
    /// What served before; none: nothing.
    pub from: Option<Side>,
    /// What was to serve.
    pub to: Side,
    /// How it ended.
    pub outcome: RolloutOutcome,
    /// The step at which it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<&'static str>,
    /// Why it failed or was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Number of the new generation, 0 if none was started.
    pub generation: u64,
    /// Seconds since 1970.
    pub started: f64,
    /// From the request to the switch, or to the failure.
    pub seconds: f64,
    /// Seconds per step; `queue` is the wait for other rollouts, `table` the making of the new table and
    /// `switch` its exchange: before it every call goes where it went, after it none does.
    pub steps: std::collections::BTreeMap<&'static str, f64>,
    /// How calls fared.
    pub calls: Compared,
    #[serde(skip)]
    begin: Instant,
}

impl Receipt {
    /// A rollout that begins.
    pub(crate) fn begin(cause: Cause, to: Side, begin: Instant) -> Self {
        let age = begin.elapsed();
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut random = [0; 6];
        // Without randomness ids are unique by their time alone.
        getrandom::fill(&mut random).ok();
        Self {
            id: format!("ro_{:x}{}", since.as_micros(), hex::encode(random)),
            package: to.id.name.clone(),
            cause,
            from: None,
            generation: 0,
            to,
            outcome: RolloutOutcome::Running,
            step: None,
            reason: None,
            started: since.saturating_sub(age).as_secs_f64(),
            seconds: 0.0,
            steps: std::collections::BTreeMap::new(),
            calls: Compared { before: None, after: None },
            begin,
        }
    }

    /// Adds the time of a step.
    pub(crate) fn step(&mut self, step: &'static str, took: Duration) {
        *self.steps.entry(step).or_default() += took.as_secs_f64();
    }

    /// Ends it.
    pub(crate) fn end(&mut self, outcome: RolloutOutcome) {
        self.outcome = outcome;
        self.seconds = self.begin.elapsed().as_secs_f64();
    }

    /// Names the generations.
    pub(crate) fn generations(&mut self, green: &Generation, former: Option<&Generation>) {
        self.to.generation = Some(green.number);
        self.generation = green.number;
        self.from = former.map(side);
        self.calls.before = former.map(|former| former.recent().calls());
    }

    /// Says how calls fared on the new generation.
    pub(crate) fn after(&mut self, tally: &Tally) {
        self.calls.after = Some(tally.calls());
    }
}

/// A generation as a side of a rollout.
pub(crate) fn side(generation: &Generation) -> Side {
    Side {
        id: generation.installed.package.id.clone(),
        digest: generation.installed.digest,
        generation: Some(generation.number),
    }
}

/// A receipt that was read back is shown as it was written.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Kept {
    /// Of this process.
    Ours(Box<Receipt>),
    /// Of an earlier one.
    Earlier(serde_json::Value),
}

impl Kept {
    /// Whether it is under way.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Ours(receipt) if receipt.outcome == RolloutOutcome::Running)
    }

    fn id(&self) -> &str {
        match self {
            Self::Ours(receipt) => &receipt.id,
            Self::Earlier(value) => value.get("id").and_then(serde_json::Value::as_str).unwrap_or_default(),
        }
    }
}

/// The last receipts, newest last; a file keeps them over restarts.
#[derive(Debug)]
pub(crate) struct Receipts {
    path: PathBuf,
    list: Mutex<VecDeque<Kept>>,
}

#[derive(Deserialize)]
struct File {
    rollouts: Vec<serde_json::Value>,
}

impl Receipts {
    /// Reads what earlier processes kept. What cannot be read is gone: receipts are history, nothing depends on them.
    pub(crate) fn open(path: PathBuf) -> Self {
        let earlier = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let earlier = earlier.map_or_else(Vec::new, |file: File| file.rollouts);
        let list = earlier.into_iter().map(Kept::Earlier).collect();
        Self { path, list: Mutex::new(list) }
    }

    /// Keeps a receipt, or what became of it.
    pub(crate) fn keep(&self, receipt: &Receipt) {
        let mut list = self.list.lock();
        let new = Kept::Ours(Box::new(receipt.clone()));
        match list.iter_mut().rev().find(|kept| kept.id() == receipt.id) {
            Some(place) => *place = new,
            None => list.push_back(new),
        }
        while list.len() > KEPT {
            list.pop_front();
        }
    }

    /// Writes them down.
    pub(crate) fn save(&self) {
        let text = serde_json::to_vec(&serde_json::json!({ "rollouts": &*self.list.lock() }));
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let written = text.map_err(std::io::Error::other).and_then(|text| {
            let beside = tempfile::NamedTempFile::new_in(folder)?;
            std::fs::write(beside.path(), text)?;
            beside.persist(&self.path).map_err(|error| error.error)
        });
        if let Err(error) = written {
            tracing::warn!(event = "receipts_unsaved", %error);
        }
    }

    /// Newest first.
    pub(crate) fn all(&self) -> Vec<Kept> {
        self.list.lock().iter().rev().cloned().collect()
    }

    /// One of them.
    pub(crate) fn one(&self, id: &str) -> Option<Kept> {
        self.list.lock().iter().find(|kept| kept.id() == id).cloned()
    }
}
