//! Requests that the management side answers: who asks is decided here, and what the client claims is removed.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue};
use par_proto::code::Code;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::{Edge, ctx::Ctx, refusal::Refusal};
use crate::auth::{
    ROLE_HEADER, Role,
    operator::{DevFacts, bearer, decide},
};

/// `X-PAR-*` headers that clients may send; all others are removed.
const FROM_CLIENTS: [&str; 2] = ["x-par-session", "x-par-timeout-ms"];

impl Edge {
    /// Who asks.
    pub(crate) fn role(&self, session: &Session) -> Role {
        let request = session.req_header();
        let authority = request.uri.authority().map(http::uri::Authority::as_str);
        let facts = DevFacts::read(self.dev, peer(session), authority, &request.headers);
        decide(facts, bearer(&request.headers), &self.operator)
    }
}

/// Writes the request as the management side may see it.
pub(super) fn forward(session: &Session, upstream: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    let claimed: Vec<HeaderName> = upstream
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-par-") && !FROM_CLIENTS.contains(&name.as_str()))
        .cloned()
        .collect();
    for name in claimed {
        upstream.remove_header(&name);
    }
    // The token is for us: what it allows is in the role.
    upstream.remove_header(&http::header::AUTHORIZATION);
    upstream.insert_header(ROLE_HEADER, HeaderValue::from_static(ctx.role.text()))?;
    if let Ok(id) = HeaderValue::from_str(&ctx.request_id) {
        upstream.insert_header("x-request-id", id)?;
    }
    if let Some(peer) = peer(session) {
        upstream.insert_header("x-forwarded-for", peer.to_string())?;
    }
    Ok(())
}

/// What a failed proxying means to the client. A client that left is not an upstream that failed.
pub(super) fn explain(error: &Error) -> Refusal {
    match (error.esource(), error.etype()) {
        (_, ErrorType::HTTPStatus(431)) => {
            Refusal::new(Code::HeadersTooLarge, "the headers are larger than this runtime takes").closing()
        }
        (_, ErrorType::HTTPStatus(414)) => {
            Refusal::new(Code::UriTooLong, "the path is longer than this runtime takes").closing()
        }
        (_, ErrorType::HTTPStatus(400) | ErrorType::InvalidHTTPHeader) => {
            Refusal::new(Code::BadRequest, "the request is not as HTTP demands").closing()
        }
        (ErrorSource::Downstream, _) => {
            Refusal::new(Code::ClientClosed, "the client left before the answer").closing()
        }
        (ErrorSource::Upstream | ErrorSource::Internal | ErrorSource::Unset, _) => {
            Refusal::new(Code::Internal, "the management side did not answer").closing()
        }
    }
}

fn peer(session: &Session) -> Option<IpAddr> {
    session.client_addr()?.as_inet().map(std::net::SocketAddr::ip)
}
