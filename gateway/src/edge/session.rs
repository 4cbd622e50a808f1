//! Which session a call belongs to, and what its caller hears if it is not let in.

mod affinity;

use std::sync::Arc;

use bytes::Bytes;
use par_pool::{
    fleet::Agent,
    package::SessionMode,
    session::{BadSessionId, Claim, Denied, Full, Owner, SessionId},
};
use par_proto::code::Code;
use pingora_proxy::Session;
use serde::Deserialize;

use super::{Edge, admit::SESSION, ctx::Ctx, refusal::Refusal};
use crate::auth::Caller;

/// What of an input may name a session.
#[derive(Deserialize)]
struct Input {
    session_id: Option<String>,
}

impl Edge {
    /// The session that a call names: by header, by its envelope, or, if its package keeps sessions, by `session_id` in
    /// the input. From here on the answer names it too.
    pub(super) fn claim(
        session: &Session,
        ctx: &mut Ctx,
        agent: &Agent,
        (input, envelope): (&Bytes, Option<&str>),
        tenant: &Arc<str>,
    ) -> Result<Option<Claim>, Refusal> {
        let header = by_header(session)?;
        let envelope = envelope.map(str::parse::<SessionId>).transpose().map_err(bad)?;
        let id = match (header, envelope) {
            (Some(header), Some(envelope)) if header != envelope => {
                let text = "X-PAR-Session and session_id of the envelope name two sessions";
                return Err(Refusal::new(Code::BadRequest, text));
            }
            (None, None) if agent.mount.package().session.mode != SessionMode::None => by_input(input)?,
            (header, envelope) => header.or(envelope),
        };
        let Some(id) = id else { return Ok(None) };
        ctx.session = Some(id.clone());
        let owner = owner(ctx.caller.as_deref());
        Ok(Some(Claim { id, owner, tenant: Arc::clone(tenant) }))
    }

    /// The agent that answers a call of a session: in the version in which the session lives.
    pub(super) fn resident(
        &self,
        ctx: &mut Ctx,
        agent: &Arc<Agent>,
        claim: &Claim,
    ) -> Result<Arc<Agent>, Refusal> {
        let resident = self.pool.resident(agent, claim).map_err(denied)?;
        if !Arc::ptr_eq(&resident, agent) {
            // That version may ask for another role.
            self.permit(ctx, &resident)?;
            ctx.agent = Some(Arc::clone(&resident));
        }
        Ok(resident)
    }
}

/// The session of a request at a surface, which may be named by its body.
pub(super) fn visited(ctx: &mut Ctx, named: &[u8], tenant: &Arc<str>) -> Result<Claim, Refusal> {
    let id: SessionId = std::str::from_utf8(named).map_err(|_| bad(BadSessionId))?.parse().map_err(bad)?;
    ctx.session = Some(id.clone());
    Ok(Claim { id, owner: owner(ctx.caller.as_deref()), tenant: Arc::clone(tenant) })
}

/// Whose a session is that somebody opens.
pub(super) fn owner(caller: Option<&Caller>) -> Owner {
    caller.map_or(Owner::Anybody, |caller| Owner::Caller {
        tenant: Arc::clone(&caller.tenant),
        subject: Arc::from(&*caller.subject),
    })
}

fn by_header(session: &Session) -> Result<Option<SessionId>, Refusal> {
    let mut values = session.req_header().headers.get_all(SESSION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::new(Code::BadRequest, "X-PAR-Session is there more than once"));
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| bad(BadSessionId))?;
    text.parse().map(Some).map_err(bad)
}

/// Anything but a text belongs to the agent alone; what is no JSON is refused elsewhere.
fn by_input(input: &Bytes) -> Result<Option<SessionId>, Refusal> {
    let named: Option<Input> = serde_json::from_slice(input).ok();
    named.and_then(|input| input.session_id).map(|id| id.parse()).transpose().map_err(bad)
}

fn bad(error: BadSessionId) -> Refusal {
    Refusal::new(Code::BadRequest, error.to_string())
}

/// Why a call is not let into its session.
pub(super) fn denied(denied: Denied) -> Refusal {
    match denied {
        Denied::Stranger => Refusal::new(Code::SessionNotFound, "there is no such session"),
        Denied::Elsewhere => Refusal::new(
            Code::SessionNotFound,
            "the session lives in a version of the package that has no such agent",
        ),
        Denied::Nested => Refusal::new(
            Code::Conflict,
            "the call is nested in the one whose turn it is in this session: each would wait for the other",
        ),
        Denied::Ended(ending) => Refusal::new(ending.code(), ending.to_string()),
        Denied::Full { whose: Full::Tenant, retry_after } => {
            Refusal::new(Code::QuotaExceeded, "the caller has as many sessions of this package as it may")
                .retry_after(retry_after)
        }
        Denied::Full { whose: Full::Package, retry_after } => {
            Refusal::new(Code::QueueFull, "the package has as many sessions as it may")
                .retry_after(retry_after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_names_a_session_only_by_a_text() {
        let id = |text: &'static str| by_input(&Bytes::from_static(text.as_bytes()));
        assert_eq!(id(r#"{"code":"1","session_id":"s-1"}"#).unwrap().unwrap().as_str(), "s-1");
        for none in ["{}", "[]", "7", r#"{"session_id":7}"#, r#"{"session_id":null}"#, "{"] {
            assert_eq!(id(none).unwrap(), None, "{none}");
        }
        assert_eq!(id(r#"{"session_id":"a b"}"#).unwrap_err().code, Code::BadRequest);
        assert_eq!(id(r#"{"session_id":""}"#).unwrap_err().code, Code::BadRequest);
    }
}
