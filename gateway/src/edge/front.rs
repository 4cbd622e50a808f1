//! What the edge keeps per agent, and per package for its surfaces, so that a request allocates nothing for it: rendered
//! headers, the fixed part of its access line, metric handles.

use std::sync::Arc;

use http::HeaderValue;
use par_pool::fleet::{Agent, Mount};
use prometheus::{Histogram, IntCounter};

use crate::observe::{line, metrics::EdgeMetrics};

/// Kept in [`Agent::front`] and in the premises of packages.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) agent: HeaderValue,
    pub(crate) version: HeaderValue,
    pub(crate) generation: HeaderValue,
    /// `,"agent_id":…,"version":…,"generation":…` of the access line.
    pub(crate) members: Vec<u8>,
    pub(crate) ok: IntCounter,
    pub(crate) seconds: Histogram,
    pub(crate) queue: Histogram,
    /// As whom the ledger knows it: `package/export`, and `package` for its surfaces.
    pub(crate) charged: Box<str>,
    /// Labels for the rare codes.
    pub(crate) labels: [String; 2],
}

impl Front {
    /// The agent's front, made at its first call.
    pub(crate) fn of(agent: &Agent, metrics: &EdgeMetrics) -> Arc<Self> {
        let any = agent.front.get_or_init(|| Arc::new(Self::new(agent, metrics)));
        match Arc::clone(any).downcast::<Self>() {
            Ok(front) => front,
            // Nobody else fills the cell.
            Err(_) => Arc::new(Self::new(agent, metrics)),
        }
    }

    /// The front of a package's surfaces.
    pub(super) fn of_package(mount: &Mount, metrics: &EdgeMetrics) -> Self {
        Self::named(&mount.id.to_string(), mount.id.name.as_str().into(), mount, metrics)
    }

    fn new(agent: &Agent, metrics: &EdgeMetrics) -> Self {
        let charged = format!("{}/{}", agent.id.package.name, agent.id.export).into();
        Self::named(&agent.text, charged, &agent.mount, metrics)
    }

    /// The agent's front, if it was made.
    pub(super) fn made(agent: &Agent) -> Option<&Self> {
        agent.front.get()?.downcast_ref()
    }

    fn named(name: &str, charged: Box<str>, mount: &Mount, metrics: &EdgeMetrics) -> Self {
        let version = mount.id.version.to_string();
        let generation = mount.generation.number;
        let mut members = Vec::new();
        line::key(&mut members, "agent_id");
        line::string(&mut members, name);
        line::key(&mut members, "version");
        line::string(&mut members, &version);
        line::key(&mut members, "generation");
        members.extend_from_slice(itoa::Buffer::new().format(generation).as_bytes());
        let labels = [name, version.as_str()];
        // Ids are checked text, so they are always header values.
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("invalid"));
        Self {
            agent: value(name),
            version: value(&version),
            generation: HeaderValue::from(generation),
            members,
            ok: metrics.requests.with_label_values(&[name, version.as_str(), "ok"]),
            seconds: metrics.request_seconds.with_label_values(&labels),
            queue: metrics.queue_seconds.with_label_values(&[name]),
            charged,
            labels: [name.to_owned(), version],
        }
    }
}
