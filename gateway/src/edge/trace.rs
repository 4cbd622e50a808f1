//! The trace of a request: taken up or begun when its head is here, told when the request is over, and passed on to
//! whoever answers it.

use std::{any::Any, sync::Arc, time::Instant};

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Version, header};
use par_pool::{fleet::Origin, process::Witness};
use pingora_core::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::{Edge, access::short, ctx::Ctx, grpc, who::OPEN};
use crate::{
    observe::trace::{Course, Invocation, Request, Span, TraceParent, is_tracestate},
    route::Target,
};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Methods that stand in a span as they are; any other is a text of a stranger (RFC 9110, RFC 5789).
const METHODS: [Method; 9] = [
    Method::CONNECT,
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
    Method::TRACE,
];

impl Edge {
    /// Names the request, and goes on with the trace that it names, or begins one, if that is to be kept.
    pub(super) fn take_up(&self, headers: &HeaderMap, ctx: &mut Ctx) {
        ctx.request_id = self.ids.choose(headers.get("x-request-id").map(HeaderValue::as_bytes));
        let parent = parent(headers);
        ctx.trace_id = parent.and_then(|(_, text)| text.get(3..35).map(Box::from));
        let Some(tracer) = &self.tracer else { return };
        let parent = parent.map(|(parent, _)| parent);
        let Some(mut trace) = tracer.begin(parent.as_ref(), ctx.begin) else { return };
        trace.state = parent.and_then(|_| state(headers)).map(Box::from);
        ctx.trace_id.get_or_insert_with(|| trace.trace_id().into());
        ctx.trace = Some(trace);
    }

    /// The request is over. Probes are too many and too much alike to be worth a span.
    pub(super) fn end_trace(&self, session: &Session, ctx: &Ctx) {
        let Some(trace) = &ctx.trace else { return };
        if let Some(call) = &trace.call {
            call.end(&Course {
                agent: ctx.agent.as_deref(),
                session: ctx.session.as_ref().map(par_pool::session::SessionId::as_str),
                queued: ctx.queued,
                handler: ctx.worker,
                pid: ctx.pid,
                code: ctx.code,
            });
        }
        if let Some((front, tracer)) = ctx.front(&self.metrics).zip(self.tracer.as_ref()) {
            tracer.note(&front.labels, ctx.begin.elapsed().as_secs_f64(), trace.ids());
        }
        let head = session.req_header();
        let path = head.uri.path();
        if OPEN.contains(&self.layout.plain(path)) {
            return;
        }
        let method = if METHODS.contains(&head.method) { head.method.as_str() } else { "_OTHER" };
        let rpc = ctx.grpc.as_ref().and_then(|exchange| Some((exchange, rpc(path)?)));
        let route = if rpc.is_some() { None } else { self.route_of(head) };
        let name = match (&rpc, route) {
            (Some((_, (service, name))), _) => format!("{service}/{name}"),
            (None, Some(route)) => format!("{method} {route}"),
            (None, None) => method.to_owned(),
        };
        trace.end(name, |span| {
            if let Some((exchange, (service, name))) = rpc {
                span.put("rpc.system", "grpc");
                span.put("rpc.service", service.to_owned());
                span.put("rpc.method", name.to_owned());
                if let Some(told) = exchange.told {
                    span.put("rpc.grpc.status_code", u32::from(told));
                }
            }
            if let Some(route) = route {
                span.put("http.route", route);
            }
            span.put("http.request.method", method.to_owned());
            describe(span, head, ctx);
        });
    }

    /// What of the path is ours and not a name.
    fn route_of(&self, head: &RequestHeader) -> Option<&'static str> {
        Some(match self.target(head, &self.pool.directory()) {
            Target::Invoke(_) => "/agents/{id}/invoke",
            Target::Envelope(_) => "/runtime/agents/{id}/invoke",
            Target::Rest(_) => "/agents/{id}/{path}",
            Target::Ui(_) => "/agents/{id}/ui/{path}",
            Target::A2a(_) => "/agents/{id}/a2a/{path}",
            Target::Control { .. } | Target::Nothing => return None,
        })
    }
}

/// What every request is, in the words of HTTP. Queries may hold secrets, and are left out.
fn describe(span: &mut Span, head: &RequestHeader, ctx: &Ctx) {
    span.put("url.path", short(head.uri.path()).to_owned());
    span.put("url.scheme", if ctx.client.secure { "https" } else { "http" });
    span.put("http.response.status_code", ctx.status);
    span.put("network.protocol.name", "http");
    if let Some(version) = version(head.version) {
        span.put("network.protocol.version", version);
    }
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse().ok());
    if let Some(authority) = head.uri.authority().cloned().or(host) {
        span.put("server.address", short(authority.host()).to_owned());
        if let Some(port) = authority.port_u16() {
            span.put("server.port", port);
        }
    }
    if let Some(address) = ctx.client.address {
        span.put("client.address", address.to_string());
    }
    if let Some(agent) = head.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()) {
        span.put("user_agent.original", short(agent).to_owned());
    }
    span.put("par.request.id", ctx.request_id.to_string());
    span.end_with(ctx.code);
}

const fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}

/// The service and the method that a path of gRPC ends in.
fn rpc(path: &str) -> Option<(&str, &str)> {
    let (rest, method) = path.rsplit_once('/')?;
    Some((rest.rsplit_once('/').map_or(rest, |(_, service)| service), method))
}

/// The one `traceparent` that can be read, and how it was written.
fn parent(headers: &HeaderMap) -> Option<(TraceParent, &str)> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?;
    let read = TraceParent::read(value.as_bytes()).filter(|_| values.next().is_none())?;
    Some((read, value.to_str().ok()?))
}

/// What belongs to it, if it may be passed on. More than one header would have to be joined; nobody sends them.
fn state(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(TRACESTATE).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    Some(value.to_str().ok()?).filter(|text| !text.is_empty() && is_tracestate(text.as_bytes()))
}

/// The request is let in: what comes now is no longer its admission.
pub(super) fn let_in(ctx: &mut Ctx) {
    if let Some(trace) = &mut ctx.trace {
        trace.admitted = Some(Instant::now());
    }
}

/// Names the trace to a surface: ours, the caller's, or none where the caller's is wrong.
pub(super) fn pass_on(upstream: &mut RequestHeader, ctx: &mut Ctx) -> Result<()> {
    if ctx.rest.is_none() && grpc::passage(ctx).is_none() {
        return Ok(());
    }
    let (has_parent, has_state) = match &ctx.trace {
        Some(trace) => (true, trace.state.is_some()),
        None => (ctx.trace_id.is_some(), ctx.trace_id.is_some() && state(&upstream.headers).is_some()),
    };
    if !has_state {
        upstream.remove_header(TRACESTATE);
    }
    if !has_parent {
        upstream.remove_header(TRACEPARENT);
    }
    if let Some(trace) = &mut ctx.trace
        && let Ok(value) = HeaderValue::from_str(&trace.send_on())
    {
        upstream.insert_header(TRACEPARENT, value)?;
    }
    Ok(())
}

/// The call that a request makes, for its worker's metadata and for the pool.
pub(super) fn invoke(trace: &mut Option<Box<Request>>) -> Option<Arc<dyn Witness>> {
    let call = trace.as_mut()?.invoke();
    call.called();
    Some(call)
}

/// Writes `,"traceparent":…,"tracestate":…` where there is something to write.
pub(super) fn tell(out: &mut BytesMut, headers: &HeaderMap, ctx: &Ctx) {
    let call = ctx.trace.as_ref().and_then(|trace| trace.call.as_ref());
    let told = match call {
        Some(call) => {
            out.put_slice(format!(",\"traceparent\":\"{}\"", call.traceparent()).as_bytes());
            call.state()
        }
        // It was looked at when the head was here.
        None if ctx.trace_id.is_none() => None,
        None => {
            let Some((_, text)) = parent(headers) else { return };
            out.put_slice(b",\"traceparent\":\"");
            out.put_slice(text.as_bytes());
            out.put_slice(b"\"");
            state(headers)
        }
    };
    if let Some(state) = told {
        out.put_slice(b",\"tracestate\":");
        // Texts always become JSON.
        out.put_slice(&serde_json::to_vec(state).unwrap_or_default());
    }
}

/// The call in which another one is made, if its trace is kept.
pub(super) fn of(origin: &Origin) -> Option<&Invocation> {
    let witness: &dyn Any = &**origin.trace.as_ref()?;
    witness.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), value.parse().unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn a_trace_that_is_named_twice_or_wrongly_is_not_named() {
        assert!(parent(&headers(&[("traceparent", PARENT)])).is_some());
        assert!(parent(&headers(&[("traceparent", PARENT), ("traceparent", PARENT)])).is_none());
        assert!(parent(&headers(&[("traceparent", "00-1-1-1")])).is_none());
        assert_eq!(state(&headers(&[("tracestate", "a=b")])), Some("a=b"));
        for lines in [
            &[("tracestate", "a")][..],
            &[("tracestate", "")],
            &[("tracestate", "a=b"), ("tracestate", "c=d")],
        ] {
            assert_eq!(state(&headers(lines)), None, "{lines:?}");
        }
    }

    #[test]
    fn what_a_caller_says_is_told_to_workers_as_it_was_said() {
        let told = |lines: &[(&'static str, &str)]| {
            let mut ctx = Ctx::new(&super::super::InFlight::default());
            let headers = headers(lines);
            ctx.trace_id = parent(&headers).map(|_| Box::from("known"));
            let mut out = BytesMut::new();
            tell(&mut out, &headers, &ctx);
            String::from_utf8(out.to_vec()).unwrap()
        };
        assert_eq!(told(&[]), "");
        assert_eq!(told(&[("traceparent", PARENT)]), format!(",\"traceparent\":\"{PARENT}\""));
        let both = told(&[("traceparent", PARENT), ("tracestate", r#"a="b\c""#)]);
        assert_eq!(both, format!(r#","traceparent":"{PARENT}","tracestate":"a=\"b\\c\"""#));
        assert_eq!(told(&[("traceparent", "00-1-1-1"), ("tracestate", "a=b")]), "");
    }

    #[test]
    fn the_method_of_grpc_is_the_end_of_its_path() {
        assert_eq!(rpc("/pixell.agent.AgentService/Invoke"), Some(("pixell.agent.AgentService", "Invoke")));
        assert_eq!(rpc("/agents/a/a2a/own.Service/Get"), Some(("own.Service", "Get")));
        assert_eq!(rpc("nothing"), None);
    }
}
