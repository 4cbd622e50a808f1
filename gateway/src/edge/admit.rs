//! Who answers a request: an agent that may be called, the management side, or nobody.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use par_pool::fleet::{Agent, Directory, LoadError};
use par_proto::code::Code;
use pingora_proxy::Session;

use super::{Edge, ctx::Ctx, refusal::Refusal};
use crate::{
    auth::permit::Permit,
    route::{Target, route},
};

/// The header that keeps the calls of a session on one version.
const SESSION: &str = "x-par-session";

/// A call that may be made.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Who is called.
    pub(super) agent: Arc<Agent>,
    /// Whether the input is in an envelope, and the result shall be.
    pub(super) envelope: bool,
    /// The right to call.
    pub(super) permit: Permit,
}

/// The call that a request asks for; the management side is `None`.
pub(super) type Plan = Option<Result<Admitted, Refusal>>;

impl Edge {
    /// What answers a request, as the table is now.
    pub(super) fn plan(&self, session: &Session, ctx: &mut Ctx) -> Plan {
        let directory = self.pool.directory();
        let head = session.req_header();
        let sticky = head.headers.get(SESSION).map(http::HeaderValue::as_bytes);
        match route(head.uri.path(), |id| directory.find(id).is_some()) {
            Target::Control => None,
            Target::Invoke(id) => Some(self.admit(ctx, &directory, &id, sticky, false)),
            Target::Envelope(id) => Some(self.admit(ctx, &directory, &id, sticky, true)),
            Target::Below(id) => Some(Err(below(&directory, &id))),
            Target::Nothing => Some(Err(Refusal::new(Code::NotFound, "there is nothing at this path"))),
        }
    }

    /// The agent that may be called, or why not.
    fn admit(
        &self,
        ctx: &mut Ctx,
        directory: &Directory,
        id: &str,
        sticky: Option<&[u8]>,
        envelope: bool,
    ) -> Result<Admitted, Refusal> {
        let Some(agent) = directory.pick(id, sticky).filter(|agent| !agent.is_private()) else {
            if !self.pool.is_settled() {
                return Err(Refusal::new(Code::NotReady, "packages are still being mounted")
                    .retry_after(Duration::from_secs(1)));
            }
            return Err(unknown(id));
        };
        let permit = self.permit(ctx, agent)?;
        if !agent.is_enabled() {
            return Err(Refusal::new(Code::AgentDisabled, "an operator has disabled this agent"));
        }
        Ok(Admitted { agent: Arc::clone(agent), envelope, permit })
    }

    /// Mounts the lazy package that a call is for, within the deadline of the call. `None`: there is none.
    pub(super) async fn wake(&self, session: &Session, begin: Instant) -> Option<Result<(), Refusal>> {
        let name = match route(session.req_header().uri.path(), |_| false) {
            Target::Invoke(id) | Target::Envelope(id) => self.pool.sleeping(&id)?,
            Target::Control | Target::Below(_) | Target::Nothing => return None,
        };
        let deadline = match self.deadline(session, None, begin) {
            Ok(deadline) => deadline,
            Err(refusal) => return Some(Err(refusal)),
        };
        Some(match tokio::time::timeout_at(deadline.into(), self.pool.wake(&name)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(LoadError::Stopping)) => Err(Refusal::new(Code::Stopping, "the runtime is stopping")),
            Ok(Err(error)) => {
                let (step, detail) = error.step();
                let text = format!("{name} could not be mounted ({step}): {detail}");
                Err(Refusal::new(Code::NotReady, text).retry_after(AGAIN))
            }
            // It goes on: the next call may find it mounted.
            Err(_elapsed) => {
                Err(Refusal::new(Code::DeadlineExceeded, format!("{name} is still being mounted")))
            }
        })
    }

    /// When the caller stops waiting.
    pub(super) fn deadline(
        &self,
        session: &Session,
        agent: Option<&Agent>,
        begin: Instant,
    ) -> Result<Instant, Refusal> {
        let longest =
            agent.and_then(|agent| agent.export()?.timeout).unwrap_or_else(|| self.pool.request_timeout());
        let Some(value) = session.req_header().headers.get("x-par-timeout-ms") else {
            return Ok(begin + longest);
        };
        let milliseconds = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|ms| *ms > 0);
        match milliseconds {
            Some(ms) => Ok(begin + longest.min(Duration::from_millis(ms))),
            None => Err(Refusal::new(Code::BadRequest, "X-PAR-Timeout-Ms is not a number of milliseconds")),
        }
    }
}

/// When a package that could not be mounted is worth another try.
const AGAIN: Duration = Duration::from_secs(5);

fn below(directory: &Directory, id: &str) -> Refusal {
    let known = directory.find(id).is_some_and(|agent| !agent.is_private());
    if known {
        let text = format!("{id:?} has nothing at this path; call it at /agents/{id}/invoke");
        Refusal::new(Code::NotFound, text)
    } else {
        unknown(id)
    }
}

/// Bytes of an unknown id that are told back: more than any real one has.
const TOLD: usize = 512;

fn unknown(id: &str) -> Refusal {
    let id = id.get(..id.floor_char_boundary(TOLD)).unwrap_or(id);
    Refusal::new(Code::AgentNotFound, format!("there is no agent {id:?}"))
}
