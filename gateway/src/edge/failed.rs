//! What is kept of calls that end with a 5xx, to explain them: who, where, and how busy everything was at that moment.
//! Costs nothing while calls go well.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use par_pool::fleet::{Generation, Load, Origin};
use par_proto::code::Code;

use super::{Edge, ctx::Ctx, exchange::Course, front::Front, rest::Rest};
use crate::{
    auth::Caller,
    observe::{explained::Explanation, line},
};

/// Least status that is to be explained.
const FAILED: u16 = 500;

/// A failure as it was seen at its end.
pub(super) struct Failed<'a> {
    code: Code,
    generation: Option<&'a Arc<Generation>>,
    load: Option<Load>,
}

impl<'a> Failed<'a> {
    /// `None`: it went well, or it is the caller's fault.
    pub(super) fn of(ctx: &'a Ctx) -> Option<Self> {
        let code = ctx.code.filter(|code| code.http() >= FAILED)?;
        let of_agent = ctx.agent.as_ref().map(|agent| &agent.mount.generation);
        Some(Self::now(code, of_agent.or_else(|| ctx.rest.as_ref().map(Rest::generation))))
    }

    /// The same for a call that one agent has made of another.
    pub(super) fn between(course: &'a Course) -> Option<Self> {
        let code = course.code.filter(|code| code.http() >= FAILED)?;
        Some(Self::now(code, course.agent.as_ref().map(|agent| &agent.mount.generation)))
    }

    fn now(code: Code, generation: Option<&'a Arc<Generation>>) -> Self {
        Self { code, generation, load: generation.map(|generation| generation.load()) }
    }

    /// For the details of its line: `waiting`, `busy`, `workers`.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        let Some(load) = self.load else { return };
        for (name, count) in [("waiting", load.waiting), ("busy", load.busy), ("workers", load.workers)] {
            line::key(out, name);
            out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
        }
    }

    fn output(&self, pid: u32) -> Vec<String> {
        self.generation.filter(|_| pid != 0).map(|one| one.last_words(pid)).unwrap_or_default()
    }
}

impl Edge {
    /// Keeps why a request failed.
    pub(super) fn explain(&self, failed: &Failed<'_>, ctx: &Ctx, front: Option<&Front>, total: Duration) {
        self.explanations.explain(Explanation {
            trace_id: ctx.trace_id.clone(),
            tenant: ctx.caller.as_ref().map(|caller| Arc::clone(&caller.tenant)),
            status: if ctx.grpc.is_some() { failed.code.http() } else { ctx.status },
            cause: ctx.cause.clone().unwrap_or_default(),
            worker: Some(ctx.pid).filter(|pid| *pid != 0),
            latency: total,
            queued: ctx.queued,
            worked: ctx.worker,
            traceback: ctx.traceback.clone(),
            output: failed.output(ctx.pid),
            ..self.blank(failed, &ctx.request_id, front)
        });
    }

    /// Keeps why a call between agents failed.
    pub(super) fn explain_between(
        &self,
        failed: &Failed<'_>,
        (origin, course): (&Origin, &Course),
        front: &Front,
        caller: Option<&Caller>,
        total: Duration,
    ) {
        self.explanations.explain(Explanation {
            tenant: caller.map(|caller| Arc::clone(&caller.tenant)),
            depth: origin.depth + 1,
            cause: course.cause.clone().unwrap_or_default(),
            worker: Some(course.pid).filter(|pid| *pid != 0),
            latency: total,
            queued: course.queued,
            worked: course.worker,
            traceback: course.traceback.clone(),
            output: failed.output(course.pid),
            ..self.blank(failed, &origin.request_id, Some(front))
        });
    }

    fn blank(&self, failed: &Failed<'_>, request_id: &Arc<str>, front: Option<&Front>) -> Explanation {
        let [agent_id, version] = front.map_or([None, None], |front| front.labels.clone().map(Some));
        Explanation {
            number: 0,
            at: SystemTime::now(),
            request_id: Arc::clone(request_id),
            trace_id: None,
            agent_id,
            version,
            generation: failed.generation.map(|generation| generation.number),
            tenant: None,
            depth: 0,
            code: failed.code,
            status: failed.code.http(),
            cause: String::new(),
            worker: None,
            latency: Duration::ZERO,
            queued: Duration::ZERO,
            worked: Duration::ZERO,
            queue: failed.load,
            in_flight: self.pool.in_flight(),
            traceback: None,
            output: Vec::new(),
            death: None,
        }
    }
}
