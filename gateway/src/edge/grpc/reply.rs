//! Answers of gRPC: messages, and the status behind them or, where there is none, in their place.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora_core::{Result, protocols::http::HttpTask};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::super::{Edge, ctx::Ctx, refusal::Refusal, respond::seconds};
use crate::a2a::{encoded_message, framed};

pub(super) const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Headers of an answer: type, encoding, ids, rates, status and text.
const HEADERS: usize = 12;

/// Status 0.
const OK: HeaderValue = HeaderValue::from_static("0");

impl Edge {
    /// Writes an answer of one message.
    pub(super) async fn say(&self, session: &mut Session, ctx: &mut Ctx, message: &[u8]) -> Result<()> {
        self.begin(session, ctx).await?;
        self.more(session, ctx, message).await?;
        ctx.record();
        finish(session, ctx).await
    }

    /// Begins an answer whose messages follow.
    pub(super) async fn begin(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        let head = self.head(session, ctx)?;
        session.as_downstream_mut().write_response_header(Box::new(head)).await
    }

    /// Writes one more message.
    pub(super) async fn more(&self, session: &mut Session, ctx: &mut Ctx, message: &[u8]) -> Result<()> {
        let body = framed(message);
        ctx.bytes_out += body.len();
        session.as_downstream_mut().write_response_body(body, false).await
    }

    /// Tells a refusal: instead of an answer, or behind what has been answered.
    pub(in super::super) async fn refuse_grpc(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        refusal: &Refusal,
    ) -> Result<()> {
        let status = refusal.grpc.unwrap_or_else(|| refusal.code.grpc()) as u8;
        ctx.status = StatusCode::OK.as_u16();
        note(ctx, status);
        let text = {
            let mut detail = refusal.detail.as_bytes().to_vec();
            self.sink.redactor().mask(&mut detail);
            encoded_message(&String::from_utf8_lossy(&detail))
        };
        let message = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        if session.response_written().is_some() {
            let trailers =
                HeaderMap::from_iter([(STATUS, HeaderValue::from(u16::from(status))), (MESSAGE, message)]);
            return session.as_downstream_mut().write_response_trailers(trailers).await;
        }
        let mut head = self.head(session, ctx)?;
        head.insert_header(STATUS, HeaderValue::from(u16::from(status)))?;
        head.insert_header(MESSAGE, message)?;
        if let Some(wait) = refusal.retry_after {
            head.insert_header(header::RETRY_AFTER, HeaderValue::from(seconds(wait)))?;
        }
        session.as_downstream_mut().response_duplex_vec(vec![HttpTask::Header(Box::new(head), true)]).await?;
        Ok(())
    }

    fn head(&self, session: &Session, ctx: &mut Ctx) -> Result<ResponseHeader> {
        let mut head = ResponseHeader::build_no_case(StatusCode::OK, Some(HEADERS))?;
        head.insert_header(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))?;
        head.insert_header("grpc-accept-encoding", HeaderValue::from_static("identity"))?;
        self.identity_of(&mut head, ctx)?;
        if let Some(standing) = &ctx.standing {
            head.insert_header("ratelimit-policy", standing.policy.clone())?;
            head.insert_header("ratelimit", standing.left.clone())?;
        }
        self.expose(session, &mut head)?;
        ctx.status = StatusCode::OK.as_u16();
        Ok(head)
    }
}

/// Ends an answer that went well.
pub(super) async fn finish(session: &mut Session, ctx: &mut Ctx) -> Result<()> {
    note(ctx, 0);
    let trailers = HeaderMap::from_iter([(STATUS, OK)]);
    session.as_downstream_mut().write_response_trailers(trailers).await
}

/// For the access line.
pub(super) fn note(ctx: &mut Ctx, status: u8) {
    if let Some(exchange) = &mut ctx.grpc {
        exchange.told = Some(status);
    }
}
