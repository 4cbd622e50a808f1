//! What a caller sends, as an input: the body of a call enters, JSON leaves, with the files that came with it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use par_pool::fleet::Agent;
use par_proto::code::Code;
use pingora_proxy::Session;
use serde::de::IgnoredAny;

use super::{
    Edge, body,
    ctx::Ctx,
    envelope::{Wrapping, unwrap},
    form::{self, Files, Form},
    invoke::JSON,
    refusal::Refusal,
};

/// What forms the body of a call may have.
pub(super) enum Kind {
    Json,
    /// `multipart/form-data` with its boundary.
    Form(String),
}

/// What a caller has sent.
pub(super) struct Intake {
    /// JSON, unless the agent has a schema by which it is read.
    pub(super) input: Bytes,
    /// What came in its envelope.
    pub(super) wrapping: Wrapping,
    /// Files of a form.
    pub(super) files: Option<Files>,
}

impl Edge {
    /// Reads the body of a call.
    pub(super) async fn take_in(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        agent: &Arc<Agent>,
        kind: Kind,
        envelope: bool,
    ) -> Result<Intake, Refusal> {
        match kind {
            Kind::Form(boundary) => {
                let generation = &agent.mount.generation;
                let Form { input, wrapping, files, size } =
                    Box::pin(form::read(session, &self.limits, boundary, generation, envelope)).await?;
                ctx.bytes_in = size;
                Ok(Intake { input, wrapping, files })
            }
            Kind::Json => {
                let body = body::read(session, &self.limits).await?;
                ctx.bytes_in = body.len();
                let (input, wrapping) = if envelope {
                    unwrap(&body)?
                } else {
                    (plain(body, is_read_later(agent))?, Wrapping::default())
                };
                Ok(Intake { input, wrapping, files: None })
            }
        }
    }
}

/// What the body is, by its `Content-Type`. Without one it is JSON.
pub(super) fn kind(session: &Session) -> Result<Kind, Refusal> {
    let Some(value) = session.req_header().headers.get(CONTENT_TYPE) else { return Ok(Kind::Json) };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence.is_empty()
        || essence.eq_ignore_ascii_case(JSON)
        || essence.to_ascii_lowercase().ends_with("+json")
    {
        return Ok(Kind::Json);
    }
    if let Some(boundary) = form::boundary(text) {
        return Ok(Kind::Form(boundary?));
    }
    Err(Refusal::new(
        Code::UnsupportedMediaType,
        format!(
            "the body is {essence:?}; send JSON with Content-Type: application/json, or multipart/form-data"
        ),
    ))
}

/// Whether the agent has a schema, so that its input is read when it is checked.
pub(super) fn is_read_later(agent: &Agent) -> bool {
    agent.export().is_some_and(|export| export.input_schema.is_some())
}

pub(super) fn bad_json(error: &serde_json::Error) -> Refusal {
    Refusal::new(Code::BadJson, format!("the body is not valid JSON: {error}"))
}

/// JSON is UTF-8 (RFC 8259 §8.1); the parser alone would only look at what it needs.
pub(super) fn text(body: &Bytes) -> Result<&str, Refusal> {
    std::str::from_utf8(body).map_err(|error| {
        Refusal::new(Code::BadJson, format!("the body is not valid JSON: not UTF-8: {error}"))
    })
}

/// The body as input; an empty one is `{}`. It is JSON unless somebody reads it later.
pub(super) fn plain(body: Bytes, read_later: bool) -> Result<Bytes, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Bytes::from_static(b"{}"));
    }
    if read_later {
        return Ok(body);
    }
    serde_json::from_str::<IgnoredAny>(text(&body)?).map_err(|error| bad_json(&error))?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_body_is_an_empty_object_and_broken_json_is_refused() {
        assert_eq!(plain(Bytes::new(), false).unwrap(), "{}");
        assert_eq!(plain(Bytes::from_static(b" \n"), false).unwrap(), "{}");
        assert_eq!(plain(Bytes::from_static(b"[1]"), false).unwrap(), "[1]");
        for broken in ["{", "{\"a\":}", "nope", "{} {}", "NaN", "\u{feff}{}"] {
            assert_eq!(
                plain(Bytes::from_static(broken.as_bytes()), false).unwrap_err().code,
                Code::BadJson,
                "{broken}"
            );
        }
    }
}
