//! Calls between agents: admitted as calls from outside are, on behalf of whoever made the call in which they are made,
//! and answered over the worker's own sockets.
//!
//! Who asks, until when and how deep is our record of that call; what the worker says is which agent and what input.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use par_pool::{
    fleet::{self, Agent, Call, Items, Origin, Outcome},
    process::{Answering, Invoked, Line, Witness},
    session::{Claim, SessionId},
};
use par_proto::{code::Code, ids::AgentId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::{
    Edge,
    charge::{Charge, Known},
    fit,
    front::Front,
    intake::{is_read_later, plain},
    invoke::{Success, outcome},
    refusal::{Refusal, text},
    session::{denied, owner},
    trace,
};
use crate::{
    auth::permit::{Denied, caller_of, decide},
    observe::trace::Invocation,
};

/// Most calls that are nested in each other: a cycle ends there. Half would cut honest chains of orchestrators, double
/// would only let a cycle hold more workers.
const DEEPEST: u8 = 16;

/// Connects calls between agents.
pub(crate) struct Between(pub(crate) Edge);

impl std::fmt::Debug for Between {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Between").finish_non_exhaustive()
    }
}

/// What a call between agents has come to, for its line in the log.
#[derive(Debug, Default)]
pub(super) struct Course {
    pub(super) agent: Option<Arc<Agent>>,
    pub(super) queued: Duration,
    pub(super) worker: Duration,
    pub(super) pid: u32,
    pub(super) code: Option<Code>,
    pub(super) cause: Option<String>,
    pub(super) traceback: Option<String>,
    pub(super) bytes_in: usize,
    pub(super) bytes_out: usize,
    pub(super) session: Option<SessionId>,
    /// Its part of the trace, if that is kept.
    pub(super) trace: Option<Arc<Invocation>>,
    /// What it owes the ledger since it was let in.
    charge: Option<Charge>,
}

/// A call between agents that is counted and has its line when this is dropped: also if the call in which it was made
/// is over before it.
struct Passage<'a> {
    edge: &'a Edge,
    origin: &'a Origin,
    begin: Instant,
    course: Course,
    /// Whether it has come to its own end.
    is_over: bool,
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let is_late = Instant::now() >= self.origin.deadline;
            self.course.code = Some(if is_late { Code::DeadlineExceeded } else { Code::ClientClosed });
            self.course.cause = Some("the call in which it was made is over".to_owned());
        }
        self.record();
        self.edge.settle_between(self.origin, &self.course, self.begin.elapsed());
    }
}

impl Passage<'_> {
    /// Records what the call has used, before its answer is given.
    fn record(&mut self) {
        let Some(mut charge) = self.course.charge.take() else { return };
        let caller = caller_of(self.origin.principal.as_ref());
        charge.record(&Known {
            begin: self.begin,
            request_id: &self.origin.request_id,
            front: self.course.agent.as_deref().and_then(Front::made),
            caller: caller.as_deref(),
            queued: self.course.queued,
            code: self.course.code,
            bytes_in: self.course.bytes_in,
            bytes_out: self.course.bytes_out,
        });
        self.course.charge = Some(charge);
    }
}

impl fleet::Exchange for Between {
    fn connect(self: Arc<Self>, origin: Origin, invoked: Invoked, line: Line) -> Answering {
        Box::pin(async move {
            let trace = trace::of(&origin).map(|call| call.nested(invoked.span.as_deref()));
            let course = Course { trace, ..Course::default() };
            let mut passage =
                Passage { edge: &self.0, origin: &origin, begin: Instant::now(), course, is_over: false };
            let answered = self.0.connect(&origin, &invoked, &line, &mut passage.course).await;
            passage.is_over = true;
            if let Err(refusal) = &answered {
                passage.course.code = Some(refusal.code);
                passage.course.cause = Some(refusal.cause());
                passage.course.traceback = refusal.traceback();
            }
            passage.record();
            match answered {
                Ok(Some(success)) => line.answer(&success.body, !success.is_json()),
                Ok(None) => line.end(),
                Err(refusal) => line.fail(&said(&refusal)),
            }
        })
    }
}

impl Edge {
    /// Makes the call. Its result, or `None` behind the last item.
    async fn connect(
        &self,
        origin: &Origin,
        invoked: &Invoked,
        line: &Line,
        course: &mut Course,
    ) -> Result<Option<Success>, Refusal> {
        if origin.depth >= DEEPEST {
            let text = format!("more than {DEEPEST} calls are nested in each other");
            return Err(Refusal::new(Code::BadRequest, text));
        }
        let mut agent = self.meant(&invoked.agent_id, origin.deadline).await?;
        let claim = inherited(origin, &agent);
        if let Some(claim) = &claim {
            agent = self.pool.resident(&agent, claim).map_err(denied)?;
            course.session = Some(claim.id.clone());
        }
        let mut newer = true;
        loop {
            course.agent = Some(Arc::clone(&agent));
            self.may(origin, &agent)?;
            if course.charge.is_none() {
                self.metered()?;
                course.bytes_in = invoked.input.len();
                course.charge = self.owing_between(origin, &agent);
            }
            let longest = agent.export().and_then(|export| export.timeout);
            let patience = longest.unwrap_or_else(|| self.pool.request_timeout());
            let deadline = origin.deadline.min(Instant::now() + patience);
            let input = plain(invoked.input.clone(), is_read_later(&agent))?;
            fit::input(&agent, &input, deadline).await?;
            let (feed, items) = invoked.streams.then(|| fleet::stream(fleet::Form::Items, patience)).unzip();
            let witness = course.trace.clone().map(|trace| {
                trace.called();
                trace as Arc<dyn Witness>
            });
            let call = Call {
                export: agent.export,
                meta: meta(origin, &agent, course.trace.as_deref()),
                payload: input,
                request_id: Arc::clone(&origin.request_id),
                deadline,
                tenant: origin.tenant.clone(),
                principal: origin.principal.clone(),
                depth: origin.depth + 1,
                session: claim.clone(),
                files: None,
                feed,
                trace: witness,
            };
            let calling = self.pool.call(&agent, call);
            let mut answer = match items {
                Some(items) => pass_on(calling, items, line, course).await,
                None => calling.await,
            };
            if matches!(answer.outcome, Outcome::Stopping)
                && std::mem::take(&mut newer)
                && let Some(successor) = self.successor(&agent, true)
            {
                agent = successor;
                continue;
            }
            let spent = std::mem::take(&mut answer.spent);
            (course.queued, course.worker, course.pid) = (answer.queued, spent.worker, answer.pid);
            if let Some(charge) = &mut course.charge {
                charge.note(spent);
            }
            let is_sent = matches!(answer.outcome, Outcome::Ended { .. });
            let success = outcome(answer, &agent.mount)?;
            course.bytes_out += success.body.len();
            return Ok((!is_sent || !invoked.streams).then_some(success));
        }
    }

    /// The agent that an id means, private ones included; a package that waits for its first call is mounted.
    async fn meant(&self, id: &str, deadline: Instant) -> Result<Arc<Agent>, Refusal> {
        let find = || self.pool.directory().find(id).map(Arc::clone);
        if let Some(agent) = find() {
            return Ok(agent);
        }
        if let Some(name) = self.pool.sleeping(id) {
            self.mount_until(&name, deadline).await?;
        }
        find().ok_or_else(|| self.unknown(id))
    }

    /// Whether the one who made the first call may make this one, too.
    fn may(&self, origin: &Origin, agent: &Agent) -> Result<(), Refusal> {
        let caller = caller_of(origin.principal.as_ref());
        let role = agent.export().and_then(|export| export.role_required.as_deref());
        decide(self.identity_on, caller.as_ref(), role).map_err(|denied| match denied {
            Denied::Unknown => Refusal::new(Code::Unauthenticated, "it must be known who calls this agent"),
            Denied::Forbidden => {
                let text = "the caller does not have the role that this agent needs";
                Refusal::new(Code::Forbidden, text)
            }
        })?;
        if agent.is_enabled() {
            Ok(())
        } else {
            Err(Refusal::new(Code::AgentDisabled, "an operator has disabled this agent"))
        }
    }

    /// Counts a call between agents and writes its line.
    fn settle_between(&self, origin: &Origin, course: &Course, total: Duration) {
        if let Some(trace) = &course.trace {
            trace.end(&crate::observe::trace::Course {
                agent: course.agent.as_deref(),
                session: course.session.as_ref().map(SessionId::as_str),
                queued: course.queued,
                handler: course.worker,
                pid: course.pid,
                code: course.code,
            });
        }
        let Some(agent) = &course.agent else { return };
        let front = Front::of(agent, &self.metrics);
        if let Some((trace, tracer)) = course.trace.as_ref().zip(self.tracer.as_ref()) {
            tracer.note(&front.labels, total.as_secs_f64(), trace.ids());
        }
        let caller = caller_of(origin.principal.as_ref());
        self.write_between(origin, course, &front, caller.as_deref(), total);
    }
}

/// Passes items on as the worker that asked for them takes them, until the end of the call.
async fn pass_on(
    calling: impl Future<Output = fleet::Answer>,
    mut items: Items,
    line: &Line,
    course: &mut Course,
) -> fleet::Answer {
    let mut calling = std::pin::pin!(calling);
    let mut send = async |items: &Items, item: par_pool::process::Item| {
        line.item(&item.payload, item.octets).await;
        items.consumed(item.weight());
        course.bytes_out += item.payload.len();
    };
    let answer = loop {
        let item = tokio::select! {
            biased;
            item = items.next() => item,
            answer = &mut calling => break answer,
        };
        send(&items, item).await;
    };
    while let Some(item) = items.ready() {
        send(&items, item).await;
    }
    answer
}

/// The session of the call in which this one is made. Not for agents of the same package: their state is the same, and
/// the call would wait for the one that makes it.
fn inherited(origin: &Origin, agent: &Agent) -> Option<Claim> {
    #[derive(Deserialize)]
    struct Told {
        agent_id: String,
        session: Option<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        id: SessionId,
    }
    let Told { agent_id, session } = serde_json::from_slice(&origin.meta).ok()?;
    let calling: AgentId = agent_id.parse().ok()?;
    let id = session.filter(|_| calling.package.name != agent.id.package.name)?.id;
    let owner = owner(caller_of(origin.principal.as_ref()).as_deref());
    Some(Claim { id, owner, tenant: origin.tenant.clone().unwrap_or_else(|| Arc::from("")) })
}

/// What the worker is told of a call that another agent makes: what was told of the first one, for another agent.
fn meta(origin: &Origin, agent: &Agent, trace: Option<&Invocation>) -> Bytes {
    let mut told: Map<String, Value> = serde_json::from_slice(&origin.meta).unwrap_or_default();
    told.insert("agent_id".to_owned(), (*agent.text).into());
    told.insert("version".to_owned(), agent.id.package.version.as_str().into());
    if let Some(trace) = trace {
        told.insert("traceparent".to_owned(), trace.traceparent().to_string().into());
    }
    // Files are those of the first call's input, and the token is for who asks for it.
    told.remove("files");
    // The pool names the session, with the number that it has there.
    told.remove("session");
    if !agent.mount.package().forward_authorization {
        told.remove("authorization");
    }
    Value::Object(told).to_string().into()
}

/// What the handler that made the call is told: agents of one host may know what others raise.
fn said(refusal: &Refusal) -> Vec<u8> {
    #[derive(Serialize)]
    struct Said<'a> {
        code: &'static str,
        detail: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Raised>,
        #[serde(skip_serializing_if = "Option::is_none")]
        errors: Option<&'a RawValue>,
    }
    #[derive(Serialize)]
    struct Raised {
        r#type: String,
        message: String,
    }
    let raised = |fault: &Value| Raised { r#type: text(fault, "type"), message: text(fault, "message") };
    let said = Said {
        code: refusal.code.text(),
        detail: &refusal.detail,
        retry_after: refusal.retry_after.map(|wait| wait.as_secs_f64()),
        error: refusal.fault.as_deref().map(raised),
        errors: refusal.errors.as_deref(),
    };
    // Texts and numbers always become JSON.
    serde_json::to_vec(&said).unwrap_or_default()
}
