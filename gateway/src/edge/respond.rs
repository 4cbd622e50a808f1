//! Answers written by the edge itself: results of calls, and problems.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use par_proto::code::Code;
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::{
    Edge, connection, cors,
    ctx::Ctx,
    delivery::deliver,
    download,
    invoke::Success,
    refusal::{Refusal, text},
};
use crate::{
    auth::Role,
    problem::{AgentFault, Extras, PROBLEM_JSON, problem},
};

/// Headers of an answer: six of ours, type, length, `Retry-After`, `Allow`.
const HEADERS: usize = 10;

impl Edge {
    /// Writes a result.
    pub(crate) async fn succeed(&self, session: &mut Session, ctx: &mut Ctx, success: Success) -> Result<()> {
        let Success { content_type: kind, mut body, about, .. } = success;
        let mut head = match about {
            None => {
                let mut head = ResponseHeader::build_no_case(StatusCode::OK, Some(HEADERS))?;
                head.insert_header(header::CONTENT_TYPE, content_type(&kind))?;
                head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
                head
            }
            Some(about) => match download::head(&about, &session.req_header().headers) {
                Ok((head, mut window)) => {
                    body = window.cut(body);
                    head
                }
                Err(refusal) => return Box::pin(self.refuse(session, ctx, refusal)).await,
            },
        };
        self.common(&mut head, ctx)?;
        self.expose(session, &mut head)?;
        ctx.status = head.status.as_u16();
        ctx.bytes_out = body.len();
        ctx.record();
        write(session, head, body).await
    }

    /// Writes a problem.
    pub(crate) async fn refuse(&self, session: &mut Session, ctx: &mut Ctx, refusal: Refusal) -> Result<()> {
        ctx.status = refusal.code.http();
        note(ctx, &refusal);
        if refusal.code == Code::ClientClosed {
            session.as_downstream_mut().set_keepalive(None);
            return Ok(());
        }
        if ctx.grpc.is_some() {
            ctx.record();
            return Box::pin(self.refuse_grpc(session, ctx, &refusal)).await;
        }
        let body = Bytes::from(self.document(session, ctx, &refusal));
        let mut head = ResponseHeader::build_no_case(refusal.code.http(), Some(HEADERS))?;
        head.insert_header(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON))?;
        if let Some(wait) = refusal.retry_after {
            head.insert_header(header::RETRY_AFTER, HeaderValue::from(seconds(wait)))?;
        }
        if let Some(allow) = refusal.allow {
            head.insert_header(header::ALLOW, HeaderValue::from_static(allow))?;
        }
        if let Some(size) = refusal.size {
            head.insert_header(header::CONTENT_RANGE, format!("bytes */{size}"))?;
        }
        if refusal.code == Code::Unauthenticated {
            head.insert_header(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(refusal.challenge.unwrap_or("Bearer")),
            )?;
        }
        head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
        self.common(&mut head, ctx)?;
        self.expose(session, &mut head)?;
        ctx.bytes_out = body.len();
        ctx.record();
        if refusal.close {
            connection::last_answer(session);
        }
        write(session, head, body).await
    }

    /// A problem that comes behind a part of the answer, which has told its status already.
    pub(super) fn describe(&self, session: &Session, ctx: &mut Ctx, refusal: &Refusal) -> Vec<u8> {
        note(ctx, refusal);
        self.document(session, ctx, refusal)
    }

    /// A problem as whoever asks may see it.
    fn document(&self, session: &Session, ctx: &Ctx, refusal: &Refusal) -> Vec<u8> {
        let operator = refusal.fault.is_some() && self.role_of(session, ctx) == Role::Operator;
        let class = refusal.fault.as_ref().map(|fault| text(fault, "type"));
        let message = refusal.fault.as_ref().map(|fault| text(fault, "message"));
        let traceback = refusal.fault.as_ref().map(|fault| text(fault, "traceback"));
        let error = class.as_ref().map(|class| AgentFault {
            class,
            message: message.as_deref().filter(|_| self.expose_errors || operator),
            traceback: traceback.as_deref().filter(|trace| (self.dev || operator) && !trace.is_empty()),
        });
        let extras = Extras { error, errors: refusal.errors.as_deref(), ..Extras::default() };
        let mut body = problem(refusal.code, &refusal.detail, &ctx.request_id, extras);
        self.sink.redactor().mask(&mut body);
        body
    }

    /// Tells a browser what a page of another origin may do.
    pub(crate) async fn preflight(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        let mut head = ResponseHeader::build_no_case(StatusCode::NO_CONTENT, Some(HEADERS))?;
        if let Some(rules) = &self.cors {
            cors::permit(rules, &session.req_header().headers, &mut head)?;
        }
        self.expose(session, &mut head)?;
        self.identity_of(&mut head, ctx)?;
        ctx.status = StatusCode::NO_CONTENT.as_u16();
        write(session, head, Bytes::new()).await
    }

    /// Lets a page of another origin see the answer, if it may.
    pub(crate) fn expose(&self, session: &Session, head: &mut ResponseHeader) -> Result<()> {
        match &self.cors {
            Some(rules) => cors::expose(rules, &session.req_header().headers, head),
            None => Ok(()),
        }
    }

    /// What every answer of ours says.
    pub(super) fn common(&self, head: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
        self.identity_of(head, ctx)?;
        if ctx.agent.is_some() {
            head.insert_header("server-timing", timing(ctx))?;
        }
        if let Some(session) = &ctx.session {
            // Visible characters always may stand in a header.
            if let Ok(id) = HeaderValue::from_bytes(session.as_str().as_bytes()) {
                head.insert_header(super::admit::SESSION, id)?;
            }
        }
        if let Some(standing) = &ctx.standing {
            head.insert_header("ratelimit-policy", standing.policy.clone())?;
            head.insert_header("ratelimit", standing.left.clone())?;
        }
        Ok(())
    }

    /// Request id and, where an agent was found, which one answered.
    pub(crate) fn identity_of(&self, head: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
        if let Ok(id) = HeaderValue::from_str(&ctx.request_id) {
            head.insert_header("x-request-id", id)?;
        }
        if let Some(front) = ctx.front(&self.metrics) {
            head.insert_header("x-par-agent", front.agent.clone())?;
            head.insert_header("x-par-version", front.version.clone())?;
            head.insert_header("x-par-generation", front.generation.clone())?;
        }
        Ok(())
    }
}

/// What the access line says of a refusal.
fn note(ctx: &mut Ctx, refusal: &Refusal) {
    ctx.code = Some(refusal.code);
    if refusal.fault.is_some() || ctx.cause.is_none() {
        // What was noted before is for the log alone, and says more.
        ctx.cause = Some(refusal.cause());
    }
    ctx.traceback = refusal.traceback();
}

/// Whole seconds, at least one: a client that comes back at once meets the same queue.
pub(super) fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0 || wait.is_zero())
}

fn content_type(text: &str) -> HeaderValue {
    if text == "application/json" {
        return HeaderValue::from_static("application/json");
    }
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// `queue;dur=0.012, worker;dur=0.034, total;dur=0.210`, milliseconds (W3C Server Timing).
fn timing(ctx: &Ctx) -> HeaderValue {
    let mut out = Vec::with_capacity(64);
    let total = ctx.begin.elapsed();
    for (name, time) in [("queue", ctx.queued), (", worker", ctx.worker), (", total", total)] {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b";dur=");
        milliseconds(&mut out, time);
    }
    HeaderValue::from_maybe_shared(Bytes::from(out)).unwrap_or(HeaderValue::from_static(""))
}

/// Milliseconds with three decimals, without going through floating point.
pub(crate) fn milliseconds(out: &mut Vec<u8>, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(number.format(micros / 1000).as_bytes());
    let rest = (micros % 1000) as u16;
    let digit = |n: u16| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
}

async fn write(session: &mut Session, head: ResponseHeader, body: Bytes) -> Result<()> {
    let is_head = session.req_header().method == Method::HEAD;
    let downstream = session.as_downstream_mut();
    downstream.write_response_header(Box::new(head)).await?;
    if is_head {
        // HTTP/2 forbids a body here, and pingora does not leave it out by itself.
        return downstream.finish_body().await;
    }
    deliver(session, body, true).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_milliseconds() {
        let mut out = Vec::new();
        milliseconds(&mut out, Duration::from_micros(12_034));
        assert_eq!(out, b"12.034");
        out.clear();
        milliseconds(&mut out, Duration::from_micros(7));
        assert_eq!(out, b"0.007");
        assert_eq!(seconds(Duration::ZERO), 1);
        assert_eq!(seconds(Duration::from_millis(1_200)), 2);
    }
}
