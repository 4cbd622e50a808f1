//! The envelope route: the input comes with what belongs to it, and so does the result.

use std::borrow::Cow;

use base64::Engine as _;
use bytes::{BufMut, Bytes, BytesMut};
use par_pool::fleet::Agent;
use par_proto::code::Code;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, value::RawValue};

use super::{
    ctx::Ctx,
    intake::{bad_json, text},
    invoke::{JSON, Success},
    refusal::Refusal,
};

/// What the envelope route takes.
#[derive(Debug, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(default)]
    trace_id: Option<String>,
    #[serde(default)]
    session_id: Option<String>,
}

/// What the envelope says beside the input.
#[derive(Debug, Default)]
pub(super) struct Wrapping {
    pub(super) trace_id: Option<String>,
    pub(super) session_id: Option<String>,
}

/// Input and the rest of an envelope.
pub(super) fn unwrap(body: &Bytes) -> Result<(Bytes, Wrapping), Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok((Bytes::from_static(b"{}"), Wrapping::default()));
    }
    let text = text(body)?;
    if !text.trim_start().starts_with('{') {
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| bad_json(&error))?;
        return Err(Refusal::new(Code::BadRequest, "the body is no envelope: it is not a JSON object"));
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Refusal::new(
            Code::BadRequest,
            format!(
                "the body is no envelope {{\"input\", \"context\", \"trace_id\", \"session_id\"}}: {error}"
            ),
        ),
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => bad_json(&error),
    })?;
    let Envelope { input, trace_id, session_id } = envelope;
    let input = input.map_or(Bytes::from_static(b"{}"), |raw| body.slice_ref(raw.get().as_bytes()));
    Ok((input, Wrapping { trace_id, session_id }))
}

/// `{"agent_id","output","duration_ms","trace_id","metadata"}`; bytes become base64 text.
pub(super) fn wrap(success: &Success, ctx: &Ctx, agent: &Agent, wrapping: &Wrapping) -> Success {
    let mut out = BytesMut::with_capacity(success.body.len() + 320);
    let head = serde_json::json!({ "agent_id": &*agent.text }).to_string();
    out.put_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
    out.put_slice(b",\"output\":");
    if success.is_json() {
        out.put_slice(&success.body);
    } else {
        out.put_slice(b"\"");
        out.put_slice(base64::engine::general_purpose::STANDARD.encode(&success.body).as_bytes());
        out.put_slice(b"\"");
    }
    let tail = rest(ctx, agent, wrapping, success.usage.as_deref()).to_string();
    out.put_slice(b",");
    out.put_slice(tail.strip_prefix('{').unwrap_or(&tail).as_bytes());
    Success { content_type: Cow::Borrowed(JSON), body: out.freeze(), about: None, usage: None }
}

/// What the last event of a stream says: an envelope without its output.
pub(super) fn tail(ctx: &Ctx, agent: &Agent, wrapping: &Wrapping, usage: Option<&RawValue>) -> Value {
    let mut told = rest(ctx, agent, wrapping, usage);
    if let Some(members) = told.as_object_mut() {
        members.insert("agent_id".to_owned(), (*agent.text).into());
    }
    told
}

fn rest(ctx: &Ctx, agent: &Agent, wrapping: &Wrapping, usage: Option<&RawValue>) -> Value {
    serde_json::json!({
        "duration_ms": ctx.begin.elapsed().as_secs_f64() * 1e3,
        "trace_id": wrapping.trace_id,
        "metadata": {
            "package_id": agent.mount.id,
            "version": agent.id.package.version,
            "generation": agent.mount.generation.number,
            "session_id": ctx.session,
            "usage": usage,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_gives_its_input_untouched() {
        let body = Bytes::from_static(br#"{"input": {"a": 1.0}, "trace_id": "t", "extra": 1}"#);
        let (input, wrapping) = unwrap(&body).unwrap();
        assert_eq!(input, r#"{"a": 1.0}"#);
        assert_eq!(wrapping.trace_id.as_deref(), Some("t"));
        assert_eq!(unwrap(&Bytes::from_static(b"{}")).unwrap().0, "{}");
        assert_eq!(unwrap(&Bytes::from_static(b"[]")).unwrap_err().code, Code::BadRequest);
        assert_eq!(unwrap(&Bytes::from_static(b"{")).unwrap_err().code, Code::BadJson);
    }
}
