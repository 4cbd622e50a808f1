//! Which lines are written, and how that changes while the process runs: a level for all, others for single targets,
//! and a time after which a change falls back to what is configured.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::Serialize;
use tracing::Level;
use tracing_subscriber::{
    Registry,
    filter::{LevelFilter, Targets},
    reload,
};

/// Crates that log what is no news to an operator, with the least level that is. pingora reports each connection that
/// a client resets as an error of its own, which the access line already tells.
const QUIET: &[(&str, LevelFilter)] = &[
    ("aws", LevelFilter::WARN),
    ("pingora", LevelFilter::ERROR),
    ("h2", LevelFilter::ERROR),
    ("hyper", LevelFilter::WARN),
    ("mio", LevelFilter::WARN),
    ("reqwest", LevelFilter::WARN),
    ("rustls", LevelFilter::WARN),
    // What is wrong with a certificate is told by whoever has asked, once and not at every try.
    ("rustls_platform_verifier", LevelFilter::OFF),
    ("tokio", LevelFilter::WARN),
    ("tower", LevelFilter::WARN),
];

/// Prefixes of the names of our own modules: the gateway's, and those of the other crates.
const OURS: [&str; 2] = ["par::", "par_"];

/// The gateway as a target.
const GATEWAY: &str = "par";

/// Targets that are no module: lines that are written without one.
const LINES: [Line; 2] = [Line::Access, Line::AgentOutput];

/// Most targets with a level of their own: each is compared with every new place that logs.
const MOST: usize = 64;

/// Lines that do not pass the filter, because they are written where a filter would cost too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// `access` and `agent_call`.
    Access,
    /// `agent_output`.
    AgentOutput,
}

impl Line {
    const fn target(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::AgentOutput => "agent_output",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Access => 0,
            Self::AgentOutput => 1,
        }
    }
}

/// What is written now. Pure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    level: LevelFilter,
    targets: BTreeMap<String, LevelFilter>,
}

/// A change that cannot be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LevelError {
    /// No module has such a name.
    #[error("{0:?} is no target: name a module (par_pool::fleet), or access or agent_output")]
    Target(String),
    /// It would print whole requests with their tokens and bodies.
    #[error("{0} is not ours and says no more than info: below that it prints requests whole")]
    Foreign(String),
    /// There are enough of them.
    #[error("{MOST} targets have levels of their own, which is the most")]
    Full,
}

impl Rules {
    /// A level for all.
    pub(crate) fn new(level: Level) -> Self {
        Self { level: LevelFilter::from_level(level), targets: BTreeMap::new() }
    }

    /// With another level for a target, or for all. `None`: the target has none of its own any more.
    fn with(&self, target: Option<&str>, level: Option<LevelFilter>) -> Result<Self, LevelError> {
        let mut rules = self.clone();
        let Some(target) = target else {
            return Ok(Self { level: level.unwrap_or(self.level), ..rules });
        };
        let is_name = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if target.len() > 128 || !target.split("::").all(is_name) {
            return Err(LevelError::Target(target.to_owned()));
        }
        let Some(level) = level else {
            rules.targets.remove(target);
            return Ok(rules);
        };
        let ours = target == GATEWAY
            || OURS.iter().any(|prefix| target.starts_with(prefix))
            || LINES.iter().any(|line| line.target() == target);
        if !ours && level > LevelFilter::INFO {
            return Err(LevelError::Foreign(target.to_owned()));
        }
        if rules.targets.len() == MOST && !rules.targets.contains_key(target) {
            return Err(LevelError::Full);
        }
        rules.targets.insert(target.to_owned(), level);
        Ok(rules)
    }

    /// The filter of modules. With debug or trace the quiet ones may speak, but no more than INFO: below that they
    /// print whole requests, headers, cookies and bodies included. The others that are not ours likewise.
    pub(super) fn filter(&self) -> Targets {
        let most = |least: LevelFilter| match self.level {
            all if all > LevelFilter::INFO => LevelFilter::INFO,
            all => all.min(least),
        };
        let quiet = QUIET.iter().map(|(target, least)| (*target, most(*least)));
        let ours = OURS.map(|prefix| (prefix, self.level));
        // Prefixes are compared as texts, and others begin with the same letters.
        let whole = |target: &str| if target == GATEWAY { "par::".to_owned() } else { target.to_owned() };
        let own = self.targets.iter().map(|(target, level)| (whole(target), *level));
        Targets::new()
            .with_default(self.level.min(LevelFilter::INFO))
            .with_targets(quiet)
            .with_targets(ours)
            .with_targets(own)
    }

    fn most_verbose(&self) -> LevelFilter {
        self.targets.values().copied().fold(self.level, LevelFilter::max)
    }

    /// Lines without a module are written at INFO and above unless somebody has said otherwise: who wants fewer lines of
    /// the runtime still wants to know who called.
    fn of_line(&self, line: Line) -> LevelFilter {
        self.targets.get(line.target()).copied().unwrap_or(LevelFilter::INFO)
    }
}

/// Levels as they are now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Shown {
    /// Of all that has none of its own.
    pub(crate) level: String,
    /// Seconds until that falls back to what is configured; none: it stays.
    pub(crate) falls_back_in: Option<f64>,
    /// What is configured.
    pub(crate) configured: String,
    /// Those of single targets.
    pub(crate) targets: BTreeMap<String, ShownTarget>,
}

/// The level of a target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ShownTarget {
    /// The level.
    pub(crate) level: String,
    /// Seconds until it has none of its own any more; none: it stays.
    pub(crate) falls_back_in: Option<f64>,
}

/// The rules of this process; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Levels(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// None in tests, which have subscribers of their own.
    handle: Option<reload::Handle<Targets, Registry>>,
    now: Mutex<Now>,
    /// Of lines that pass no filter, as `LevelFilter` orders them.
    lines: [AtomicU8; 2],
}

#[derive(Debug)]
struct Now {
    configured: Rules,
    rules: Rules,
    /// The last change of each target, and of the level of all, by its number: a fall back that was overtaken by another
    /// change does nothing.
    marks: BTreeMap<Option<String>, Mark>,
    changes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    change: u64,
    until: Option<Instant>,
}

impl Levels {
    /// What is configured, until somebody changes it.
    pub(crate) fn new(configured: Rules, handle: Option<reload::Handle<Targets, Registry>>) -> Self {
        let rules = configured.clone();
        let now = Mutex::new(Now { configured, rules, marks: BTreeMap::new(), changes: 0 });
        let info = rank(LevelFilter::INFO);
        Self(Arc::new(Shared { handle, now, lines: [AtomicU8::new(info), AtomicU8::new(info)] }))
    }

    /// Whether a line without a module is written. One relaxed load.
    pub(crate) fn writes(&self, line: Line, level: Level) -> bool {
        let least = self.0.lines.get(line.index()).map_or(u8::MAX, |least| least.load(Ordering::Relaxed));
        rank(LevelFilter::from_level(level)) <= least
    }

    /// What is written now.
    pub(crate) fn shown(&self) -> Shown {
        let now = self.0.now.lock();
        let falls_back_in = |target: Option<&String>| {
            let until = now.marks.get(&target.cloned())?.until?;
            Some(until.saturating_duration_since(Instant::now()).as_secs_f64().ceil())
        };
        let target = |(target, level): (&String, &LevelFilter)| {
            let falls_back_in = falls_back_in(Some(target));
            (target.clone(), ShownTarget { level: level.to_string(), falls_back_in })
        };
        Shown {
            level: now.rules.level.to_string(),
            falls_back_in: falls_back_in(None),
            configured: now.configured.level.to_string(),
            targets: now.rules.targets.iter().map(target).collect(),
        }
    }

    /// Changes the level of a target, or of all; `None`: as configured. With a time, it falls back when that is over.
    /// To be called where tasks can be spawned.
    ///
    /// # Errors
    /// If there can be no such level.
    pub(crate) fn change(
        &self,
        target: Option<&str>,
        level: Option<LevelFilter>,
        lasts: Option<Duration>,
    ) -> Result<(), LevelError> {
        let key = target.map(str::to_owned);
        let change = {
            let mut now = self.0.now.lock();
            now.rules = now.with(target, level)?;
            now.changes += 1;
            let change = now.changes;
            let until = lasts.map(|lasts| Instant::now() + lasts);
            now.marks.insert(key.clone(), Mark { change, until });
            self.0.apply(&now.rules);
            change
        };
        if let Some(lasts) = lasts {
            let levels = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(lasts).await;
                levels.fall_back(key.as_deref(), change);
            });
        }
        Ok(())
    }

    fn fall_back(&self, target: Option<&str>, change: u64) {
        let key = target.map(str::to_owned);
        {
            let mut now = self.0.now.lock();
            if now.marks.get(&key).is_none_or(|mark| mark.change != change) {
                return;
            }
            let Ok(rules) = now.with(target, None) else { return };
            now.rules = rules;
            now.marks.remove(&key);
            self.0.apply(&now.rules);
        }
        tracing::info!(event = "log_level", of = target.unwrap_or("all"), "the level is as configured again");
    }

    /// Everything as configured.
    pub(crate) fn reset(&self) {
        let mut now = self.0.now.lock();
        now.rules = now.configured.clone();
        now.marks.clear();
        self.0.apply(&now.rules);
    }

    /// Something else is configured from now on. What somebody has changed stays as he wanted it.
    pub(crate) fn configure(&self, configured: Rules) {
        let mut now = self.0.now.lock();
        if !now.marks.contains_key(&None) {
            now.rules.level = configured.level;
        }
        now.configured = configured;
        self.0.apply(&now.rules);
    }
}

impl Now {
    /// The rules with another level for a target, or for all; `None`: as configured.
    fn with(&self, target: Option<&str>, level: Option<LevelFilter>) -> Result<Rules, LevelError> {
        let level = if target.is_none() { level.or(Some(self.configured.level)) } else { level };
        self.rules.with(target, level)
    }
}

impl Shared {
    fn apply(&self, rules: &Rules) {
        for line in LINES {
            if let Some(least) = self.lines.get(line.index()) {
                least.store(rank(rules.of_line(line)), Ordering::Relaxed);
            }
        }
        let Some(handle) = &self.handle else { return };
        log::set_max_level(tracing_log::AsLog::as_log(&rules.most_verbose()));
        if let Err(error) = handle.reload(rules.filter()) {
            // The subscriber lives as long as the process.
            tracing::error!(event = "log_level", %error, "the level could not be changed");
        }
    }
}

/// As numbers, the most verbose the highest; off is 0.
fn rank(level: LevelFilter) -> u8 {
    match level.into_level() {
        None => 0,
        Some(Level::ERROR) => 1,
        Some(Level::WARN) => 2,
        Some(Level::INFO) => 3,
        Some(Level::DEBUG) => 4,
        Some(Level::TRACE) => 5,
    }
}

#[cfg(test)]
mod tests;
