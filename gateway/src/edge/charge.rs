//! What a call has used, recorded once however it ends, and before the last of its answer is released.
//!
//! A call owes its record from the moment when it is let in. Whoever is about to end its answer pays; a call that is
//! dropped before that pays with what is known of it by then.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{Method, StatusCode, header::CONTENT_LENGTH};
use par_pool::{
    fleet::{Agent, Origin},
    process::Spent,
};
use par_proto::code::Code;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::{Edge, ctx::Ctx, front::Front, refusal::Refusal};
use crate::{
    auth::Caller,
    meter::{Meter, Outcome, Record, Surface, Told, Usage, tenant},
};

/// When a disk that was full may have room again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a call owes.
#[derive(Debug)]
pub(super) struct Charge {
    meter: Arc<Meter>,
    tenant: Arc<str>,
    /// Of who answers, as it was when the call was let in.
    front: Arc<Front>,
    surface: Surface,
    depth: u8,
    spent: Spent,
    is_recorded: bool,
}

/// What is known of a call when it is recorded.
pub(super) struct Known<'a> {
    pub(super) begin: Instant,
    pub(super) request_id: &'a str,
    /// Of who answers now, if that was made.
    pub(super) front: Option<&'a Front>,
    pub(super) caller: Option<&'a Caller>,
    pub(super) queued: Duration,
    pub(super) code: Option<Code>,
    pub(super) bytes_in: usize,
    pub(super) bytes_out: usize,
}

impl Edge {
    /// Whether a call that is let in can be recorded, or need not be.
    pub(super) fn metered(&self) -> Result<(), Refusal> {
        if self.meter.as_ref().is_none_or(|meter| meter.admits()) {
            return Ok(());
        }
        let text = "the disk has no room for what calls use, and calls that cannot be recorded are not taken";
        Err(Refusal::new(Code::MeteringUnavailable, text).retry_after(AGAIN))
    }

    /// What a call from outside owes from now on.
    pub(super) fn owing(&self, ctx: &Ctx, tenant: &Arc<str>, surface: Surface) -> Option<Charge> {
        let meter = self.meter.as_ref()?;
        let front = ctx.front(&self.metrics)?;
        Some(Charge::new(meter, Arc::clone(tenant), front, surface, 0))
    }

    /// What a call between agents owes from now on.
    pub(super) fn owing_between(&self, origin: &Origin, agent: &Agent) -> Option<Charge> {
        let meter = self.meter.as_ref()?;
        let tenant = origin.tenant.clone().unwrap_or_else(|| Arc::from("unknown"));
        let front = Front::of(agent, &self.metrics);
        Some(Charge::new(meter, tenant, front, Surface::Call, origin.depth + 1))
    }
}

/// Records a proxied answer that ends with its head.
pub(super) fn record_bodyless(session: &Session, response: &ResponseHeader, ctx: &mut Ctx) {
    let is_bodyless = session.req_header().method == Method::HEAD
        || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || response.headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0");
    if is_bodyless {
        ctx.record();
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Charge {
    fn new(meter: &Arc<Meter>, tenant: Arc<str>, front: Arc<Front>, surface: Surface, depth: u8) -> Self {
        let (meter, spent) = (Arc::clone(meter), Spent::default());
        Self { meter, tenant, front, surface, depth, spent, is_recorded: false }
    }

    /// Its answer comes item by item.
    pub(super) fn streams(&mut self) {
        if self.surface == Surface::Invoke {
            self.surface = Surface::Stream;
        }
    }

    /// What its worker says that it has used.
    pub(super) fn note(&mut self, spent: Spent) {
        self.spent = spent;
    }

    /// Whether nothing more is owed.
    pub(super) fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    /// Records the call; the second time, only what its worker has told since.
    pub(super) fn record(&mut self, known: &Known<'_>) {
        if self.is_recorded && self.spent == Spent::default() {
            return;
        }
        let spent = std::mem::take(&mut self.spent);
        let told = Told::read(&spent.meta);
        let front = known.front.unwrap_or(&self.front);
        let [_, version] = &front.labels;
        let usage = Usage {
            time_us: micros(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()),
            surface: self.surface,
            outcome: Outcome::of(known.code),
            depth: self.depth,
            worker_us: micros(spent.worker),
            cpu_us: micros(spent.cpu),
            peak_rss_kb: told.peak_rss_kb,
            request_id: known.request_id,
            tenant: &tenant(&self.tenant),
            agent: &front.charged,
            version,
            tokens: &told.tokens,
            ..Usage::NOTHING
        };
        if std::mem::replace(&mut self.is_recorded, true) {
            self.meter.record(&Record::Amendment(usage));
            return;
        }
        let duration = known.begin.elapsed();
        let served = duration.saturating_sub(known.queued);
        let worker = match self.surface {
            _ if !spent.worker.is_zero() => spent.worker,
            // Applications and services do not say what they have taken; who has died could not.
            Surface::Rest | Surface::Grpc => served,
            Surface::Invoke | Surface::Stream | Surface::Call if known.code == Some(Code::WorkerCrashed) => {
                served
            }
            // What runs on without its caller is told when it ends.
            Surface::Invoke | Surface::Stream | Surface::Call => Duration::ZERO,
        };
        self.meter.record(&Record::Call(Usage {
            subject: known.caller.map_or(0, |caller| caller.subject_bits),
            duration_us: micros(duration),
            worker_us: micros(worker),
            queue_us: micros(known.queued),
            bytes_in: known.bytes_in as u64,
            bytes_out: known.bytes_out as u64,
            ..usage
        }));
    }
}
