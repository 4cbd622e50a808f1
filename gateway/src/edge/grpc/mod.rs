//! Requests of gRPC, on the port of their own and below `/agents/{id}/a2a/`: who asks and for whom is decided here,
//! the services that every package has are answered here, and what goes wrong is told as gRPC tells it.

mod agent;
mod health;
mod invoke;
mod pass;
mod reflection;
mod reply;
mod target;

use bytes::Bytes;
use http::{HeaderValue, Method, header::CONTENT_TYPE};
use par_proto::code::Code;
use percent_encoding::percent_decode_str;
use pingora_core::Result;
use pingora_proxy::Session;

use super::{Door, Edge, body, ctx::Ctx, refusal::Refusal};
use crate::{
    a2a::{Flaw, Inbox, Service, wanted},
    config::Limits,
    route::{Layout, Target},
};
pub(super) use pass::{Passage, explain, introduce, note_status, passage, peer};

/// Longest message that our own services take: what agents of their own take at most.
const LONGEST: usize = 16 << 20;

/// Longest message of those that need nothing but a name.
const SHORT: usize = 4096;

/// The metadata that name an agent.
const AGENT_ID: &str = "x-agent-id";

/// What load balancers ask.
const PROBE: &str = "/grpc.health.v1.Health/Check";

/// What a request of gRPC has besides what every request has.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// The status that the client was told.
    pub(super) told: Option<u8>,
    /// Where it goes on, if the package answers it itself.
    pub(super) passage: Option<Passage>,
}

/// How a request is answered.
enum Said {
    /// With one message.
    Message(Vec<u8>),
    /// It has been.
    Streamed,
    /// By a service of the package.
    Elsewhere,
}

/// The answer to everybody else who comes to the port of gRPC.
pub(super) fn only() -> Refusal {
    Refusal::new(Code::UnsupportedMediaType, "this port speaks gRPC: POST of application/grpc by HTTP/2")
}

impl Edge {
    /// Answers a request, as far as that is for us.
    pub(super) async fn grpc(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let answered = self.serve(session, ctx).await;
        if matches!(answered, Ok(Said::Elsewhere)) {
            return Ok(false);
        }
        // Whoever has read the answer finds the place free.
        ctx.entry = None;
        match answered {
            Ok(Said::Message(message)) => self.say(session, ctx, &message).await?,
            Ok(Said::Streamed | Said::Elsewhere) => {}
            Err(refusal) => self.refuse(session, ctx, refusal).await?,
        }
        Ok(true)
    }

    /// Whether a request is one of gRPC: by HTTP/2, and of its content type. On the main port packages may speak it by
    /// themselves; there only what is below `/a2a/` is for us.
    pub(super) fn is_grpc(&self, session: &Session) -> bool {
        let head = session.req_header();
        let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let is_called_so = kind
            .strip_prefix(b"application/grpc")
            .is_some_and(|rest| rest.first().is_none_or(|next| matches!(next, b'+' | b';' | b' ')));
        is_called_so
            && session.is_http2()
            && head.method == Method::POST
            && (self.door == Door::Grpc
                || matches!(self.target(head, &self.pool.directory()), Target::A2a(_)))
    }

    /// Whom the path names, and what is left of it: `/service/method`.
    fn address(&self, session: &Session) -> (Option<String>, String) {
        let head = session.req_header();
        if let Target::A2a(place) = self.target(head, &self.pool.directory()) {
            return (Some(place.id.into_owned()), place.rest.to_owned());
        }
        (None, head.uri.path().to_owned())
    }

    async fn serve(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Said, Refusal> {
        let (named, path) = self.address(session);
        // Probes prove nothing.
        let is_probe =
            named.is_none() && path == PROBE && !session.req_header().headers.contains_key(AGENT_ID);
        if !is_probe {
            self.identify(session, ctx).await?;
        }
        let id = match named {
            Some(id) => Some(id),
            None => by_metadata(session)?.or_else(|| self.only_one()),
        };
        let call = wanted(&path).ok_or_else(|| {
            let ways = "/{service}/{method} or /agents/{id}/a2a/{service}/{method}";
            Refusal::unimplemented(format!("the path names no service; it is {ways}"))
        })?;
        if is_probe {
            return self.probe(session, ctx, id.as_deref()).await;
        }
        let target = match &id {
            Some(id) => Some(self.reach(session, ctx, id).await?),
            None => None,
        };
        if let Some(target) = &target
            && let Some(server) = target.serves(call.service)
        {
            return self.pass(session, ctx, target, &server, &path).await;
        }
        let method = call.method;
        match (Service::of(call.service), target) {
            (Some(Service::Agent), Some(target)) => self.agent_service(session, ctx, &target, method).await,
            (Some(Service::Health), target) => self.health(session, ctx, target.as_ref(), method).await,
            (Some(Service::Reflection), target) => {
                if let Some(target) = &target {
                    // What a package can be asked is for whoever may ask it.
                    self.permit_all(ctx, &target.premises)?;
                }
                self.reflection(session, ctx, target.as_ref(), method).await
            }
            (None, Some(target)) => {
                target.living()?;
                Err(Refusal::unimplemented(format!("the package has no service {:?}", call.service)))
            }
            (Some(Service::Agent) | None, None) => Err(Refusal::new(
                Code::BadRequest,
                "name the agent: by the path /agents/{id}/a2a/{service}/{method}, or by the metadata x-agent-id",
            )),
        }
    }

    /// The one package, where there is only one.
    fn only_one(&self) -> Option<String> {
        match &*self.layout {
            Layout::Host => None,
            Layout::Single(single) => Some(single.id.to_string()),
        }
    }

    /// Reads the one message of a request.
    async fn message(&self, session: &mut Session, ctx: &mut Ctx, limit: usize) -> Result<Bytes, Refusal> {
        let limits = Limits { body_bytes: limit as u64 + 5, ..self.limits };
        let body = body::read(session, &limits).await?;
        ctx.bytes_in = body.len();
        let mut inbox = Inbox::new(limit);
        inbox.push(&body);
        inbox.only().map_err(flawed)
    }
}

/// The agent that the metadata name.
fn by_metadata(session: &Session) -> Result<Option<String>, Refusal> {
    let Some(value) = session.req_header().headers.get(AGENT_ID) else { return Ok(None) };
    let decoded = value.to_str().ok().and_then(|id| percent_decode_str(id).decode_utf8().ok());
    match decoded.filter(|id| !id.is_empty()) {
        Some(id) => Ok(Some(id.into_owned())),
        None => Err(Refusal::new(Code::BadRequest, "x-agent-id is no id of an agent")),
    }
}

fn no_method(method: &str) -> Refusal {
    Refusal::unimplemented(format!("the service has no method {method:?}"))
}

fn flawed(flaw: Flaw) -> Refusal {
    match flaw {
        Flaw::TooLarge(_) => Refusal::new(Code::TooLarge, flaw.to_string()),
        Flaw::Compressed => Refusal::unimplemented(flaw.to_string()),
        Flaw::Flag | Flaw::Cut => Refusal::new(Code::BadRequest, flaw.to_string()),
    }
}

fn malformed(error: crate::a2a::Malformed) -> Refusal {
    Refusal::new(Code::BadRequest, format!("the message cannot be read: {error}"))
}
