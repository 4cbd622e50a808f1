//! Who asks: proved once, before anything is looked up, so that strangers learn nothing, not even by the time it takes.

use std::sync::Arc;
use std::time::Duration;

use par_pool::fleet::Agent;
use par_proto::code::Code;
use pingora_proxy::Session;

use super::{Door, Edge, ctx::Ctx, premises::Premises, refusal::Refusal};
use crate::{
    auth::{
        AuthFault, Caller, Evidence, Identity, Reason, Role,
        operator::bearer,
        permit::{Denied, Permit, decide},
    },
    tls,
};

/// Paths that are open to everybody, also below the base path of the one package: probes, webhooks that prove themselves by
/// their signatures, and the empty shell of the dashboard.
pub(super) const OPEN: [&str; 6] = [
    "/health",
    "/runtime/health",
    "/runtime/live",
    "/runtime/webhooks/registry",
    "/runtime/webhooks/stripe",
    "/runtime/dashboard",
];

/// When it is worth asking again after an issuer did not answer.
const AGAIN: Duration = Duration::from_secs(5);

/// What was decided about a request; in its access line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing had to be proved.
    Open,
    /// Proved, and enough.
    Allowed,
    /// Nothing was proved; why.
    Unauthenticated(Reason),
    /// Proved, and not enough.
    Forbidden,
    /// What would prove it does not answer.
    Unavailable,
}

impl Decision {
    /// As in log lines.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Allowed => "allowed",
            Self::Unauthenticated(reason) => reason.text(),
            Self::Forbidden => "forbidden",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Edge {
    /// Proves who asks and notes it. With identity on, whoever cannot prove it goes no further than the open paths.
    /// At the local socket the connection is the proof, unless a token names somebody else: then it counts as at any
    /// other door, so that a program that acts for others can be held to what they may.
    pub(super) async fn identify(&self, session: &Session, ctx: &mut Ctx) -> Result<(), Refusal> {
        if self.door == Door::Local && (!self.identity_on || bearer(&session.req_header().headers).is_none())
        {
            let caller = Caller::local();
            ctx.role = caller.role;
            ctx.caller = Some(caller);
            ctx.decision = Decision::Allowed;
            return Ok(());
        }
        if !self.identity_on {
            return Ok(());
        }
        let head = session.req_header();
        let path = head.uri.path();
        if OPEN.contains(&self.layout.plain(path)) || self.layout.describes(path) {
            return Ok(());
        }
        let Some(identity) = self.live.load().authentication.clone() else { return Ok(()) };
        match prove(&identity, session, ctx, self.client(session).address).await {
            Ok(caller) => {
                ctx.role = caller.role;
                ctx.caller = Some(caller);
                ctx.decision = Decision::Allowed;
                Ok(())
            }
            Err(AuthFault::Refused { reason, detail }) => {
                ctx.decision = Decision::Unauthenticated(reason);
                ctx.cause = Some(detail);
                let mut refusal = Refusal::new(Code::Unauthenticated, "a valid token is needed");
                refusal.challenge = Some(challenge(reason));
                Err(refusal)
            }
            Err(fault @ AuthFault::Unavailable { .. }) => {
                ctx.decision = Decision::Unavailable;
                ctx.cause = Some(fault.to_string());
                let text = "what would prove who calls does not answer";
                Err(Refusal::new(Code::IdentityUnavailable, text).retry_after(AGAIN))
            }
        }
    }

    /// The right to call an agent.
    pub(super) fn permit(&self, ctx: &mut Ctx, agent: &Agent) -> Result<Permit, Refusal> {
        self.permitted(ctx, agent.export().and_then(|export| export.role_required.as_deref()))
    }

    /// The right to use the surfaces of a package.
    pub(super) fn permit_all(&self, ctx: &mut Ctx, premises: &Premises) -> Result<Permit, Refusal> {
        for role in &premises.roles {
            self.permitted(ctx, Some(role))?;
        }
        self.permitted(ctx, None)
    }

    fn permitted(&self, ctx: &mut Ctx, role: Option<&str>) -> Result<Permit, Refusal> {
        decide(self.identity_on, ctx.caller.as_ref(), role).map_err(|denied| match denied {
            Denied::Unknown => {
                ctx.decision = Decision::Unauthenticated(Reason::Missing);
                let text = "this agent needs a role, and nobody has one while identity is off";
                Refusal::new(Code::Unauthenticated, text)
            }
            Denied::Forbidden => {
                ctx.decision = Decision::Forbidden;
                Refusal::new(Code::Forbidden, "the caller does not have the role that this agent needs")
            }
        })
    }

    /// What whoever asks may do at the management side.
    pub(super) fn role_of(&self, session: &Session, ctx: &Ctx) -> Role {
        match (self.identity_on, &ctx.caller) {
            (false, None) => self.role(session),
            (true, _) | (false, Some(_)) => ctx.role,
        }
    }
}

async fn prove(
    identity: &Identity,
    session: &Session,
    ctx: &Ctx,
    address: Option<std::net::IpAddr>,
) -> Result<Arc<Caller>, AuthFault> {
    let head = session.req_header();
    let token = bearer(&head.headers);
    if let Some(caller) = token.and_then(|token| identity.recall(token)) {
        return Ok(caller);
    }
    let certificate = tls::client_certificate(session);
    let evidence = Evidence {
        token,
        certificate: certificate.as_deref(),
        address,
        method: &head.method,
        path: head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
        headers: &head.headers,
        request_id: &ctx.request_id,
    };
    Box::pin(identity.identify(&evidence)).await
}

/// RFC 6750 §3: a request without a token gets no error code, one with a wrong token hears that much and no more.
const fn challenge(reason: Reason) -> &'static str {
    match reason {
        Reason::Missing => "Bearer realm=\"par\"",
        Reason::Malformed
        | Reason::Algorithm
        | Reason::Header
        | Reason::UnknownKey
        | Reason::Signature
        | Reason::Issuer
        | Reason::Audience
        | Reason::Expired
        | Reason::NotYet
        | Reason::Claims
        | Reason::Inactive
        | Reason::Ambiguous => "Bearer realm=\"par\", error=\"invalid_token\"",
    }
}
