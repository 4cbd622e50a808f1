//! What the pool tells of calls: tokens for the quotas of the day, and for the ledger what calls have used whose callers
//! were gone by then.

use std::{sync::Arc, time::SystemTime};

use par_pool::process::{self, Over, Spent, Unclaimed};
use par_proto::{code::Code, ids::AgentId};
use serde::Deserialize;

use super::{Meter, Outcome, Record, Surface, Told, Usage, tenant};
use crate::live::Shared;

/// Takes what the pool tells.
#[derive(Debug)]
pub(crate) struct Collector {
    live: Shared,
    meter: Option<Arc<Meter>>,
}

impl Collector {
    /// For the quotas that are in force when it is told something, and for the meter, if there is one.
    pub(crate) const fn new(live: Shared, meter: Option<Arc<Meter>>) -> Self {
        Self { live, meter }
    }
}

impl process::Meter for Collector {
    fn charge(&self, tenant: &Arc<str>, meta: &[u8]) {
        if let Some(limiter) = &self.live.load().limiter {
            limiter.charge_told(tenant, meta);
        }
    }

    fn unclaimed(&self, call: &Unclaimed<'_>) {
        let Some(meter) = self.meter.as_ref().filter(|_| call.spent != Spent::default()) else { return };
        // What a worker was told is ours: it names the agent.
        let Some(agent) = called(call.meta) else { return };
        let package = &agent.package;
        let charged = if call.is_action {
            package.name.to_string()
        } else {
            format!("{}/{}", package.name, agent.export)
        };
        let code = match call.over {
            Over::Left => Code::ClientClosed,
            Over::Late => Code::DeadlineExceeded,
        };
        let surface = match (call.is_action, call.depth) {
            (true, _) => Surface::Grpc,
            (false, 0) => Surface::Invoke,
            (false, _) => Surface::Call,
        };
        let told = Told::read(&call.spent.meta);
        let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        meter.record(&Record::Amendment(Usage {
            time_us: micros(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()),
            surface,
            outcome: Outcome::of(Some(code)),
            depth: call.depth,
            worker_us: micros(call.spent.worker),
            cpu_us: micros(call.spent.cpu),
            peak_rss_kb: told.peak_rss_kb,
            request_id: call.request_id,
            tenant: &tenant(call.tenant),
            agent: &charged,
            version: package.version.as_str(),
            tokens: &told.tokens,
            ..Usage::NOTHING
        }));
    }
}

/// The agent that a worker was told to be.
fn called(meta: &[u8]) -> Option<AgentId> {
    #[derive(Deserialize)]
    struct Named {
        agent_id: String,
    }
    serde_json::from_slice::<Named>(meta).ok()?.agent_id.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_names_its_agent() {
        let agent = called(br#"{"request_id":"r","agent_id":"echo@1.0.0/run","version":"1.0.0"}"#).unwrap();
        assert_eq!((agent.package.name.as_str(), agent.export.as_str()), ("echo", "run"));
        assert!(called(b"{}").is_none());
    }
}
