//! What one request carries through pingora's phases.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use par_pool::{
    fleet::{Agent, Answer},
    session::SessionId,
};
use par_proto::{code::Code, ids::is_request_id};

use super::{
    charge::{Charge, Known},
    client::Client,
    front::Front,
    grpc::Exchange,
    in_flight::{Flight, InFlight},
    premises::Premises,
    rest::Rest,
    who::Decision,
};
use crate::{
    auth::{Caller, Role},
    limit::{Entry, Scope, Standing},
    observe::{metrics::EdgeMetrics, trace},
};

/// State of one request.
#[derive(Debug)]
pub(crate) struct Ctx {
    pub(crate) begin: Instant,
    pub(crate) request_id: Arc<str>,
    pub(crate) trace_id: Option<Box<str>>,
    /// Its trace, if that is kept.
    pub(crate) trace: Option<Box<trace::Request>>,
    /// Where it came from.
    pub(crate) client: Client,
    pub(crate) role: Role,
    /// Who asks, if that was proved.
    pub(crate) caller: Option<Arc<Caller>>,
    pub(crate) decision: Decision,
    pub(crate) agent: Option<Arc<Agent>>,
    /// The session that the call names; stands in the answer.
    pub(crate) session: Option<SessionId>,
    /// The package whose surface answers, if no agent does.
    pub(crate) premises: Option<Arc<Premises>>,
    /// What its REST surface needs; none: the request is not for one.
    pub(crate) rest: Option<Rest>,
    /// Bytes at the begin of the path that are not for the management side.
    pub(crate) strip: usize,
    pub(crate) queued: Duration,
    pub(crate) worker: Duration,
    pub(crate) pid: u32,
    pub(crate) status: u16,
    pub(crate) code: Option<Code>,
    pub(crate) bytes_in: usize,
    pub(crate) bytes_out: usize,
    pub(crate) cause: Option<String>,
    /// Where the agent raised, if it did.
    pub(crate) traceback: Option<String>,
    /// What is left to the caller, if it is limited; stands in the answer.
    pub(crate) standing: Option<Standing>,
    /// The limit that refused.
    pub(crate) limited: Option<Scope>,
    /// The place of a call that was let in; given back with the request at the latest.
    pub(crate) entry: Option<Entry>,
    /// What a call that was let in owes the ledger.
    pub(super) charge: Option<Charge>,
    /// What is particular to gRPC; none: the request is none of it.
    pub(crate) grpc: Option<Exchange>,
    /// Its place among all that are being answered.
    pub(super) flight: Flight,
}

impl Ctx {
    pub(crate) fn new(in_flight: &InFlight) -> Self {
        Self {
            begin: Instant::now(),
            request_id: Arc::from(""),
            trace_id: None,
            trace: None,
            client: Client::default(),
            role: Role::None,
            caller: None,
            decision: Decision::Open,
            agent: None,
            session: None,
            premises: None,
            rest: None,
            strip: 0,
            queued: Duration::ZERO,
            worker: Duration::ZERO,
            pid: 0,
            status: 0,
            code: None,
            bytes_in: 0,
            bytes_out: 0,
            cause: None,
            traceback: None,
            standing: None,
            limited: None,
            entry: None,
            charge: None,
            grpc: None,
            flight: in_flight.enter(),
        }
    }

    /// Takes over what an answer tells of the call's way.
    pub(super) fn heard(&mut self, answer: &mut Answer) {
        let spent = std::mem::take(&mut answer.spent);
        (self.queued, self.worker, self.pid) = (answer.queued, spent.worker, answer.pid);
        if let Some(charge) = &mut self.charge {
            charge.note(spent);
        }
    }

    /// Records what the call has used, if it is one and that was not done: to be called before the last of its answer is
    /// released. Later, it records what was learned since.
    pub(super) fn record(&mut self) {
        let Some(mut charge) = self.charge.take() else { return };
        let own = self.agent.as_deref().and_then(Front::made);
        let front = own.or_else(|| self.premises.as_ref().map(|premises| &*premises.front));
        charge.record(&Known {
            begin: self.begin,
            request_id: &self.request_id,
            front,
            caller: self.caller.as_deref(),
            queued: self.queued,
            code: self.code,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
        });
        self.charge = Some(charge);
    }

    /// The front of who answers: an agent, or a package.
    pub(super) fn front(&self, metrics: &EdgeMetrics) -> Option<Arc<Front>> {
        match (&self.agent, &self.premises) {
            (Some(agent), _) => Some(Front::of(agent, metrics)),
            (None, Some(premises)) => Some(Arc::clone(&premises.front)),
            (None, None) => None,
        }
    }
}

impl Drop for Ctx {
    /// Whoever is dropped before the end of its answer has been left by its client.
    fn drop(&mut self) {
        if self.charge.as_ref().is_some_and(|charge| !charge.is_recorded()) {
            self.code = self.code.or(Some(Code::ClientClosed));
            self.record();
        }
    }
}

/// Request ids that cannot collide between processes and cost no system call: 64 random bits of this process and a
/// counter.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: String,
    next: AtomicU64,
}

impl RequestIds {
    /// Draws the random bits.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        Ok(Self { process: hex::encode(bytes), next: AtomicU64::new(1) })
    }

    /// What no other process has.
    pub(crate) fn process(&self) -> &str {
        &self.process
    }

    /// The client's id if it may stand, else a new one.
    pub(crate) fn choose(&self, given: Option<&[u8]>) -> Arc<str> {
        match given.filter(|given| is_request_id(given)).and_then(|given| std::str::from_utf8(given).ok()) {
            Some(given) => Arc::from(given),
            None => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                Arc::from(format!("{}-{number:012x}", self.process))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_request_id_is_kept_and_a_bad_one_replaced() {
        let ids = RequestIds::new().unwrap();
        assert_eq!(&*ids.choose(Some(b"abc-1")), "abc-1");
        let made = ids.choose(Some(b"a b"));
        assert!(is_request_id(made.as_bytes()));
        assert_ne!(made, ids.choose(None));
    }

    #[test]
    fn a_dropped_request_is_counted_out() {
        let in_flight = InFlight::default();
        let ctx = Ctx::new(&in_flight);
        assert_eq!(in_flight.count(), 1);
        drop(ctx);
        assert_eq!(in_flight.count(), 0);
    }
}
