//! What happens to packages and agents, told to whoever listens (webhooks out).

use std::{fmt, sync::Arc, time::SystemTime};

use par_proto::ids::{AgentId, Digest, PackageId};

use crate::package::Step;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// The package that it happened to; events of one package are told in order.
    pub package: String,
    /// When.
    pub at: SystemTime,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// A package that was not there is there now: `package.mounted`.
    Mounted {
        /// The generation that serves.
        live: Live,
    },
    /// A package is served by other bytes now: `package.updated`.
    Updated {
        /// The generation that serves now.
        live: Live,
        /// The one that served before.
        former: PackageId,
    },
    /// A version could not be brought in; what was there serves on: `package.failed`.
    Failed {
        /// The source, without credentials.
        source: String,
        /// The version that failed, if its manifest could be read.
        id: Option<PackageId>,
        /// Where.
        step: Step,
        /// Why, for people.
        detail: String,
    },
    /// A parked generation serves again: `package.rolled_back`.
    RolledBack {
        /// The generation that serves now.
        live: Live,
        /// The one that was taken back.
        former: PackageId,
        /// Why: asked for, or what the bake window saw.
        reason: String,
    },
    /// A package is gone: `package.unmounted`.
    Unmounted {
        /// The one that served.
        former: PackageId,
        /// Why: asked for, or gone from the index.
        reason: String,
    },
    /// `agent.enabled`, `agent.disabled`.
    Switched {
        /// The agent.
        agent: AgentId,
        /// On or off.
        enabled: bool,
    },
}

/// A generation that serves.
#[derive(Debug, Clone)]
pub struct Live {
    /// `name@version`.
    pub id: PackageId,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its number.
    pub generation: u64,
    /// Full ids of its agents.
    pub agents: Vec<AgentId>,
}

impl EventKind {
    /// The name of the event, as receivers know it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Mounted { .. } => "package.mounted",
            Self::Updated { .. } => "package.updated",
            Self::Failed { .. } => "package.failed",
            Self::RolledBack { .. } => "package.rolled_back",
            Self::Unmounted { .. } => "package.unmounted",
            Self::Switched { enabled: true, .. } => "agent.enabled",
            Self::Switched { enabled: false, .. } => "agent.disabled",
        }
    }
}

/// Where events go. Must not block: it is called while the change is being made.
#[derive(Clone)]
pub struct EventSink(pub Arc<dyn Fn(Event) + Send + Sync>);

impl EventSink {
    /// Nobody listens.
    pub fn none() -> Self {
        Self(Arc::new(drop))
    }

    /// Tells one event of `package` that happens now.
    pub(crate) fn tell(&self, package: &str, kind: EventKind) {
        (self.0)(Event { package: package.to_owned(), at: SystemTime::now(), kind });
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSink")
    }
}
