//! The edge: pingora's phases, each a few lines. Calls and files are answered in the request phase, management is proxied
//! to the inner socket and REST to the process that serves it, everything ends in one access line.

mod accept;
mod access;
mod admit;
mod body;
mod charge;
mod client;
mod clock;
mod connection;
mod cors;
mod ctx;
mod delivery;
mod door;
mod download;
mod duplex;
mod envelope;
mod events;
mod exchange;
mod failed;
mod fit;
mod form;
mod front;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod grpc;
mod hygiene;
mod in_flight;
mod intake;
mod invoke;
mod local;
mod page;
mod premises;
mod protocol;
mod refusal;
mod respond;
mod rest;
mod service;
mod session;
mod stream;
mod surface;
mod tenant;
mod toll;
mod trace;
mod unread;
mod upstream;
mod who;

use std::{
    os::fd::RawFd,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use par_pool::fleet::Pool;
use par_proto::code::Code;
use pingora_core::{
    Error, ErrorType, Result,
    modules::http::HttpModules,
    protocols::{Digest, http::v1::server::HttpSession as SessionV1},
    upstreams::peer::HttpPeer,
};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

pub(crate) use connection::most_connections;
pub(crate) use ctx::RequestIds;
pub(crate) use door::{Door, Doors, Doorway, Opening};
pub(crate) use exchange::Between;
pub(crate) use in_flight::{Earlier, InFlight};
pub(crate) use protocol::FIRST_WORD;
pub(crate) use service::server;

use crate::{
    auth::operator::OperatorToken,
    config::{Connections, Cors, Limits},
    live::Shared,
    meter::Meter,
    observe::{Explanations, LogSink, levels::Levels, line::Identity, metrics::EdgeMetrics, trace::Tracer},
    route::Layout,
    ui::Shelf,
};
use admit::Plan;
use ctx::Ctx;
use rest::Rest;
use stream::Answered;
use upstream::forward;
use who::Decision;

/// Everything that answering a request needs. A clone shares all of it.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) pool: Arc<Pool>,
    pub(crate) limits: Limits,
    /// What may change while it runs: rates and quotas, what proves who calls, which access lines are written.
    pub(crate) live: Shared,
    /// What records the usage of calls; none: nothing is recorded.
    pub(crate) meter: Option<Arc<Meter>>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) dev: bool,
    pub(crate) expose_errors: bool,
    /// Whether results are checked against the schemas of their agents.
    pub(crate) validate_output: bool,
    pub(crate) operator: OperatorToken,
    /// Whether calls need a proof.
    pub(crate) identity_on: bool,
    /// What pages of other origins may do; none: nothing.
    pub(crate) cors: Option<Arc<Cors>>,
    pub(crate) control: PathBuf,
    /// Where routes are.
    pub(crate) layout: Arc<Layout>,
    /// Which port this is, or that it is none.
    pub(crate) door: Door,
    /// Files of UIs that are kept in memory.
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) metrics: EdgeMetrics,
    /// Keeps traces; none: they are passed on, and that is all.
    pub(crate) tracer: Option<Arc<Tracer>>,
    pub(crate) sink: LogSink,
    pub(crate) levels: Levels,
    /// Why calls failed.
    pub(crate) explanations: Explanations,
    pub(crate) identity: Arc<Identity>,
    pub(crate) ids: Arc<RequestIds>,
    pub(crate) in_flight: InFlight,
    /// Whether the process is about to stop accepting.
    pub(crate) leaving: Arc<AtomicBool>,
    /// Whether nothing new is begun any more.
    pub(crate) draining: Arc<AtomicBool>,
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
        connection::head_arrived(session);
        ctx.grpc = self.is_grpc(session).then(grpc::Exchange::default);
        ctx.client = self.client(session);
        let idle = self.connections.idle_timeout;
        let downstream = session.as_downstream_mut();
        if self.leaving.load(Ordering::Relaxed) {
            // Whoever keeps the connection would meet its end with the next request.
            downstream.set_keepalive(None);
        } else if downstream.get_keepalive().is_some() {
            downstream.set_keepalive(Some(idle.as_secs()));
        }
        downstream.set_read_timeout(Some(self.limits.body_timeout));
        // Answers are written in pieces. Whoever takes nothing of one for so long is not there.
        downstream.set_write_timeout(Some(idle));
        downstream.set_pipelining_enabled(true);
        let request = downstream.req_header();
        self.take_up(&request.headers, ctx);
        let raw = downstream.as_http1().map(SessionV1::get_headers_raw_bytes).unwrap_or_default();
        let rules = hygiene::Rules { header_bytes: self.limits.header_bytes, hosts: &self.connections.hosts };
        hygiene::inspect(request, &raw, rules)
            .map_err(|flaw| Error::because(ErrorType::HTTPStatus(flaw.code().http()), "the head", flaw))
    }

    // The framework asks for this future on the heap, anew for each request. What most calls do is in it; the rest has a
    // place of its own there, so that a call does not pay for the room of a form, a stream or a page.
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if ctx.grpc.is_some() {
            return Box::pin(self.grpc(session, ctx)).await;
        }
        if self.door == Door::Grpc {
            Box::pin(self.refuse(session, ctx, grpc::only())).await?;
            return Ok(true);
        }
        if self.cors.is_some() && cors::is_preflight(session.req_header()) {
            Box::pin(self.preflight(session, ctx)).await?;
            return Ok(true);
        }
        if let Some(health) = self.ui_health(session) {
            self.succeed(session, ctx, health).await?;
            return Ok(true);
        }
        if let Err(refusal) = self.identify(session, ctx).await {
            if refusal.code != Code::Unauthenticated || !self.is_open(session) {
                Box::pin(self.refuse(session, ctx, refusal)).await?;
                return Ok(true);
            }
            (ctx.decision, ctx.cause) = (Decision::Open, None);
        }
        let mut plan = self.plan(session, ctx);
        if matches!(&plan, Err(refusal) if refusal.code == Code::AgentNotFound)
            && let Some(woken) = Box::pin(self.wake(session, ctx.begin)).await
        {
            plan = match woken {
                Ok(()) => self.plan(session, ctx),
                Err(refusal) => Err(refusal),
            };
        }
        let answered = match plan {
            Ok(Plan::Control { strip }) => {
                ctx.flight.step_aside();
                ctx.role = self.role_of(session, ctx);
                ctx.strip = strip;
                return Ok(false);
            }
            Ok(Plan::Rest(spot)) => match Box::pin(self.visit(session, ctx, spot)).await {
                Ok(()) => return Ok(false),
                Err(refusal) => Err(refusal),
            },
            Ok(Plan::Page(spot)) => match Box::pin(self.page(session, ctx, &spot)).await {
                Ok(page) => {
                    Box::pin(self.show(session, ctx, page)).await?;
                    return Ok(true);
                }
                Err(refusal) => Err(refusal),
            },
            Ok(Plan::Call(admitted)) => match self.invoke(session, ctx, admitted).await {
                Ok(Answered::Whole(success)) => Ok(success),
                Ok(Answered::Streamed) => {
                    ctx.entry = None;
                    return Ok(true);
                }
                Ok(Answered::Broken(error)) => return Err(error),
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        // Whoever has read the answer finds the place free.
        ctx.entry = None;
        match answered {
            Ok(success) => self.succeed(session, ctx, success).await?,
            Err(refusal) => Box::pin(self.refuse(session, ctx, refusal)).await?,
        }
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        self.peer(ctx)
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        _fd: RawFd,
        digest: Option<&Digest>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if let Some(rest) = &mut ctx.rest {
            rest.connected(digest);
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        trace::pass_on(upstream, ctx)?;
        match (&ctx.rest, grpc::passage(ctx)) {
            (Some(rest), _) => rest.introduce(upstream, ctx, self.is_proxied(session)),
            (None, Some(passage)) => grpc::introduce(upstream, ctx, passage).await,
            (None, None) => forward(upstream, ctx),
        }
    }

    /// What is proxied has a floor and no end: a package may be large. What goes to an application has neither.
    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.bytes_in += body.as_ref().map_or(0, Bytes::len);
        if let Some(rest) = &ctx.rest {
            rest.sending();
            return Ok(());
        }
        // Streams of gRPC are as slow as their clients want.
        let is_bounded = !end && ctx.grpc.is_none();
        if is_bounded && body::too_slow(self.limits.body_rate, ctx.begin.elapsed(), ctx.bytes_in) {
            return Error::e_explain(ErrorType::HTTPStatus(408), "the body is slower than its floor");
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.status = response.status.as_u16();
        if ctx.grpc.is_some() {
            grpc::note_status(ctx, &response.headers);
            return self.identity_of(response, ctx);
        }
        if let Some(rest) = &mut ctx.rest {
            if !rest.answers(session, response, (&mut ctx.worker, &mut ctx.flight)) {
                return Ok(());
            }
            // What an application answers with is its author's business, and is told as such.
            ctx.code = response.status.is_server_error().then_some(Code::AgentError);
            self.expose(session, response)?;
            charge::record_bodyless(session, response, ctx);
            return self.identity_of(response, ctx);
        }
        self.managed(session, response, ctx)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        ctx.bytes_out += body.as_ref().map_or(0, Bytes::len);
        if end {
            ctx.record();
        }
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Ctx,
    ) -> Result<Option<Bytes>> {
        grpc::note_status(ctx, trailers);
        Ok(None)
    }

    /// Once more only if nothing was begun: the process has closed a connection that was kept, or was replaced.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Ctx,
        client_reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("Peer: {peer}"));
        let may = session.req_header().method.is_safe()
            && !session.as_ref().retry_buffer_truncated()
            && ctx.rest.as_ref().is_none_or(Rest::may_try_again);
        if may {
            error.retry.decide_reuse(client_reused);
        } else {
            error.set_retry(false);
        }
        error
    }

    /// Nothing was sent, so anything may be tried again.
    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Ctx,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(ctx.rest.is_some());
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        self.give_up(session, error, ctx).await
    }

    /// Failures are in the access line.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Ctx, _error: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, ctx: &mut Ctx) {
        if ctx.bytes_out == 0 {
            ctx.bytes_out = session.body_bytes_sent();
        }
        ctx.record();
        self.settle(session, ctx);
        (ctx.rest, ctx.grpc, ctx.entry) = (None, None, None);
        connection::at_rest(session);
    }
}
