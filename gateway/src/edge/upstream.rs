//! Requests that the management side answers: who asks is decided here, and what the client claims is removed.

use std::net::IpAddr;

use http::{
    HeaderName, HeaderValue,
    header::{FORWARDED, UPGRADE},
};
use par_proto::code::Code;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use pingora_core::{Error, ErrorSource, ErrorType, Result, upstreams::peer::HttpPeer};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, Session};

use super::{
    Edge,
    client::{X_FORWARDED_FOR, X_FORWARDED_PROTO},
    ctx::Ctx,
    grpc,
    hygiene::Flaw,
    refusal::Refusal,
    rest::Unreachable,
    who::Decision,
};
use crate::{
    auth::{
        CALLER_HEADER, ROLE_HEADER, Role,
        operator::{DevFacts, bearer, decide},
    },
    control::CODE_HEADER,
};

/// What may not stand in a header of ours as it is: a comma parts roles.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b',').add(b'"');

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

    /// Who answers what is proxied: an application, a service of a package, or the management side.
    pub(super) fn peer(&self, ctx: &Ctx) -> Result<Box<HttpPeer>> {
        if let Some(rest) = &ctx.rest {
            return rest.peer();
        }
        if let Some(passage) = grpc::passage(ctx) {
            return Ok(grpc::peer(passage));
        }
        let path = self.control.to_string_lossy();
        Ok(Box::new(HttpPeer::new_uds(&path, false, String::new())?))
    }
}

impl Edge {
    /// Passes on what the management side answers.
    pub(super) fn managed(
        &self,
        session: &Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let code = response.remove_header(&CODE_HEADER);
        ctx.code = code.and_then(|code| Code::of(code.to_str().ok()?));
        if ctx.code == Some(Code::Forbidden) {
            // Who asks was proved here; what that allows, the management side has decided.
            ctx.decision = Decision::Forbidden;
        }
        protect(response)?;
        self.expose(session, response)?;
        self.identity_of(response, ctx)
    }

    /// Answers a request whose proxying has failed.
    pub(super) async fn give_up(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        let refusal = explain(error, ctx);
        let error_code = refusal.code.http();
        if session.response_written().is_some() && ctx.rest.is_some() {
            // The status has been told; what became of it is for the log.
            ctx.code = Some(refusal.code);
        }
        // Behind what gRPC has answered there is room for a status.
        let is_open = session.response_written().is_none() || ctx.grpc.is_some();
        if is_open && self.refuse(session, ctx, refusal).await.is_err() {
            ctx.status = Code::ClientClosed.http();
            ctx.code = Some(Code::ClientClosed);
        }
        // What was noted before says more.
        ctx.cause = ctx.cause.take().or_else(|| Some(error.to_string()));
        FailToProxy { error_code, can_reuse_downstream: false }
    }
}

/// Takes away what only the runtime may say, and what strangers say of others.
pub(super) fn cleanse(upstream: &mut RequestHeader) {
    let ours = |name: &str| name.starts_with("x-par-") && !FROM_CLIENTS.contains(&name);
    // What was believed of the latter is in the client.
    let theirs =
        |name: &str| name.starts_with("x-forwarded-") || name == FORWARDED.as_str() || name == "x-real-ip";
    let claimed: Vec<HeaderName> = upstream
        .headers
        .keys()
        .filter(|name| ours(name.as_str()) || theirs(name.as_str()))
        .cloned()
        .collect();
    for name in claimed {
        upstream.remove_header(&name);
    }
}

/// Says which request it is, and whence it came.
pub(super) fn mark(upstream: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    if let Ok(id) = HeaderValue::from_str(&ctx.request_id) {
        upstream.insert_header("x-request-id", id)?;
    }
    if let Some(address) = ctx.client.address {
        upstream.insert_header(X_FORWARDED_FOR, address.to_string())?;
    }
    let scheme = if ctx.client.secure { "https" } else { "http" };
    upstream.insert_header(X_FORWARDED_PROTO, HeaderValue::from_static(scheme))
}

/// Says who asks, where that was proved. What is no plain text is percent-encoded.
pub(super) fn name_caller(upstream: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    let Some(caller) = &ctx.caller else { return Ok(()) };
    let roles: Vec<String> = caller.roles.iter().map(|role| encoded(role)).collect();
    for (name, value) in [
        ("x-par-subject", encoded(&caller.subject)),
        ("x-par-tenant", encoded(&caller.tenant)),
        ("x-par-roles", roles.join(",")),
    ] {
        upstream.insert_header(name, value)?;
    }
    Ok(())
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Takes so many bytes off the path, as the client wrote it; the query stays.
pub(super) fn strip(upstream: &mut RequestHeader, length: usize) -> Result<()> {
    let whole = upstream.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let rest = whole.get(length..).unwrap_or_default();
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    upstream.set_raw_path(rest.as_bytes())
}

/// Writes the request as the management side may see it.
pub(super) fn forward(upstream: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    cleanse(upstream);
    if ctx.strip > 0 {
        strip(upstream, ctx.strip)?;
    }
    // The token is for us: what it allows is in the role.
    upstream.remove_header(&http::header::AUTHORIZATION);
    upstream.insert_header(ROLE_HEADER, HeaderValue::from_static(ctx.role.text()))?;
    if let Some(caller) = ctx.caller.as_ref().and_then(|caller| caller.header()) {
        upstream.insert_header(CALLER_HEADER, caller)?;
    }
    mark(upstream, ctx)?;
    // Nothing behind us changes the protocol of a connection that others share.
    upstream.remove_header(&UPGRADE);
    upstream.remove_header("http2-settings");
    Ok(())
}

/// What the management side says is for whoever asked: no cache keeps it, and no browser takes it for a page.
fn protect(response: &mut ResponseHeader) -> Result<()> {
    response.insert_header("x-content-type-options", HeaderValue::from_static("nosniff"))?;
    if !response.headers.contains_key(http::header::CACHE_CONTROL) {
        response.insert_header(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
    }
    Ok(())
}

/// What a failed proxying means to the client. A client that left is not an upstream that failed.
fn explain(error: &Error, ctx: &Ctx) -> Refusal {
    if let Some(refusal) = error.cause.as_deref().and_then(|cause| cause.downcast_ref::<Unreachable>()) {
        return refusal.refusal();
    }
    if let Some(flaw) = error.cause.as_deref().and_then(|cause| cause.downcast_ref::<Flaw>()) {
        return flaw.refusal();
    }
    match (error.esource(), error.etype()) {
        (_, ErrorType::HTTPStatus(408)) | (ErrorSource::Downstream, ErrorType::ReadTimedout) => {
            Refusal::new(Code::RequestTimeout, "the body comes too slowly").closing()
        }
        (_, ErrorType::HTTPStatus(400) | ErrorType::InvalidHTTPHeader) => {
            Refusal::new(Code::BadRequest, "the request is not as HTTP demands").closing()
        }
        (ErrorSource::Downstream, _) => {
            Refusal::new(Code::ClientClosed, "the client left before the answer").closing()
        }
        (ErrorSource::Upstream | ErrorSource::Internal | ErrorSource::Unset, _) => match &ctx.rest {
            Some(rest) => rest.explain(error),
            None if grpc::passage(ctx).is_some() => grpc::explain(error),
            None => Refusal::new(Code::Internal, "the management side did not answer").closing(),
        },
    }
}

pub(super) fn peer(session: &Session) -> Option<IpAddr> {
    session.client_addr()?.as_inet().map(std::net::SocketAddr::ip)
}

#[cfg(test)]
mod tests {
    use super::{super::InFlight, *};

    #[test]
    fn a_prefix_is_taken_off_the_path_as_it_was_written() {
        for (path, length, wanted) in [
            ("/agents/x/api/a%2Fb//c;d?q=%2F&q=1", 9, "/api/a%2Fb//c;d?q=%2F&q=1"),
            ("/agents/x", 9, "/"),
            ("/agents/x/", 9, "/"),
            ("/agents/x?a=1", 9, "/?a=1"),
            ("/agents/x%401/agents/x%401/y", 13, "/agents/x%401/y"),
            ("/api", 0, "/api"),
        ] {
            let mut request = RequestHeader::build("GET", path.as_bytes(), None).unwrap();
            strip(&mut request, length).unwrap();
            assert_eq!(request.raw_path(), wanted.as_bytes(), "{path}");
        }
    }

    #[test]
    fn the_management_side_is_told_who_asks_by_us_alone_and_never_to_change_the_protocol() {
        let mut request = RequestHeader::build("GET", b"/runtime/packages", None).unwrap();
        for (name, value) in [
            ("x-par-role", "operator"),
            ("x-par-caller", "{}"),
            ("authorization", "Bearer mine"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
        ] {
            request.append_header(name, value).unwrap();
        }
        forward(&mut request, &Ctx::new(&InFlight::default())).unwrap();
        let said: Vec<_> = request.headers.get_all("x-par-role").iter().collect();
        assert_eq!(said, [Role::None.text()]);
        for name in ["x-par-caller", "authorization", "upgrade", "http2-settings"] {
            assert!(!request.headers.contains_key(name), "{name}");
        }
    }

    #[test]
    fn what_only_the_runtime_may_say_is_taken_away() {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        let (ours, others) = (
            [
                "x-par-role",
                "x-par-subject",
                "x-forwarded-for",
                "x-forwarded-prefix",
                "forwarded",
                "x-real-ip",
            ],
            ["x-par-session", "x-par-timeout-ms", "x-own", "traceparent", "cookie"],
        );
        for name in ours.into_iter().chain(others) {
            request.append_header(name, "one").unwrap();
            request.append_header(name, "two").unwrap();
        }
        cleanse(&mut request);
        let left: Vec<_> =
            others.iter().filter(|name| request.headers.get_all(**name).iter().count() == 2).collect();
        assert_eq!((left.len(), request.headers.keys_len()), (others.len(), others.len()));
    }
}
