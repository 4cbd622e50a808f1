//! The edge: pingora's phases, each a few lines. Calls are answered in the request phase, management is proxied to the
//! inner socket, everything ends in one access line.

mod access;
mod admit;
mod body;
mod ctx;
mod front;
mod invoke;
mod protocol;
mod refusal;
mod respond;
mod service;
mod upstream;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use par_pool::fleet::Pool;
use par_proto::code::Code;
use pingora_core::{Error, Result, modules::http::HttpModules, upstreams::peer::HttpPeer};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

pub(crate) use ctx::{InFlight, RequestIds};
pub(crate) use service::server;

use crate::{
    auth::operator::OperatorToken,
    config::Limits,
    control::CODE_HEADER,
    observe::{LogSink, line::Identity, metrics::EdgeMetrics},
};
use ctx::Ctx;
use upstream::{explain, forward};

/// How long a kept connection may be idle. Above the 60 s of load balancers, so that they close first and no request
/// meets a closing connection.
const KEEP_ALIVE_SECONDS: u64 = 75;

/// Everything that answering a request needs. A clone shares all of it.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) pool: Arc<Pool>,
    pub(crate) limits: Limits,
    pub(crate) dev: bool,
    pub(crate) expose_errors: bool,
    pub(crate) operator: OperatorToken,
    pub(crate) control: PathBuf,
    pub(crate) metrics: EdgeMetrics,
    pub(crate) sink: LogSink,
    pub(crate) identity: Arc<Identity>,
    pub(crate) ids: Arc<RequestIds>,
    pub(crate) in_flight: InFlight,
    /// Whether the process is about to stop accepting.
    pub(crate) leaving: Arc<AtomicBool>,
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(&self.in_flight)
    }

    /// No modules: nothing is compressed, nothing costs.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        let downstream = session.as_downstream_mut();
        if self.leaving.load(Ordering::Relaxed) {
            // Whoever keeps the connection would meet its end with the next request.
            downstream.set_keepalive(None);
        } else if downstream.get_keepalive().is_some() {
            downstream.set_keepalive(Some(KEEP_ALIVE_SECONDS));
        }
        downstream.set_pipelining_enabled(true);
        let request = downstream.req_header();
        ctx.request_id =
            self.ids.choose(request.headers.get("x-request-id").map(http::HeaderValue::as_bytes));
        ctx.trace_id = request
            .headers
            .get("traceparent")
            .filter(|value| invoke::is_traceparent(value.as_bytes()))
            .and_then(|value| value.to_str().ok()?.get(3..35).map(Box::from));
        if head_length(request) > self.limits.header_bytes {
            return Error::e_explain(pingora_core::ErrorType::HTTPStatus(431), "head over its limit");
        }
        let old =
            request.version == http::Version::HTTP_11 && !request.headers.contains_key(http::header::HOST);
        if old && request.uri.authority().is_none() {
            return Error::e_explain(pingora_core::ErrorType::HTTPStatus(400), "HTTP/1.1 without Host");
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let mut plan = self.plan(session);
        if matches!(&plan, Some(Err(refusal)) if refusal.code == Code::AgentNotFound)
            && let Some(woken) = self.wake(session, ctx.begin).await
        {
            plan = match woken {
                Ok(()) => self.plan(session),
                Err(refusal) => Some(Err(refusal)),
            };
        }
        let Some(admitted) = plan else {
            ctx.role = self.role(session);
            return Ok(false);
        };
        let answered = match admitted {
            Ok((agent, envelope)) => self.invoke(session, ctx, agent, envelope).await,
            Err(refusal) => Err(refusal),
        };
        match answered {
            Ok(success) => self.succeed(session, ctx, success).await?,
            Err(refusal) => self.refuse(session, ctx, refusal).await?,
        }
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        let path = self.control.to_string_lossy();
        Ok(Box::new(HttpPeer::new_uds(&path, false, String::new())?))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        forward(session, upstream, ctx)
    }

    async fn response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.status = response.status.as_u16();
        let code = response.remove_header(&CODE_HEADER);
        ctx.code = code.and_then(|code| Code::of(code.to_str().ok()?));
        self.identify(response, ctx)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        let refusal = explain(error);
        let error_code = refusal.code.http();
        if session.response_written().is_none() && self.refuse(session, ctx, refusal).await.is_err() {
            ctx.status = Code::ClientClosed.http();
            ctx.code = Some(Code::ClientClosed);
        }
        ctx.cause = Some(error.to_string());
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    /// Failures are in the access line.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Ctx, _error: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, ctx: &mut Ctx) {
        if ctx.bytes_out == 0 {
            ctx.bytes_out = session.body_bytes_sent();
        }
        self.settle(session, ctx);
    }
}

/// Bytes of names, values and path, without separators.
fn head_length(request: &RequestHeader) -> u64 {
    let fields: usize =
        request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    (fields + request.uri.path_and_query().map_or(0, |path| path.as_str().len())) as u64
}
