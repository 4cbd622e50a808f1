//! Which session a request at a REST surface belongs to, so that the version and the process that have its state get it.
//!
//! The header says it. Clients of A2A say it in the body alone: `params.sessionId`, `params.contextId`, or those of
//! `params.message`. Bodies are read for that only where it makes a difference, and are passed on from the copy that the
//! framework keeps for a second try.

use bytes::Bytes;
use http::{Method, header};
use par_pool::{fleet::Mount, package::SessionMode};
use pingora_proxy::Session;
use serde::Deserialize;

use super::super::{Edge, admit::SESSION, body, refusal::Refusal};

/// Largest body that is looked into: what the framework can send from its copy is 64 KiB.
const SMALL: u64 = 48 * 1024;

/// What of a JSON-RPC request may name a session.
#[derive(Deserialize)]
struct Request {
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    #[serde(rename = "sessionId")]
    session_id: Option<String>,
    #[serde(rename = "contextId")]
    context_id: Option<String>,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "contextId")]
    context_id: Option<String>,
}

impl Edge {
    /// The session that a request names, if any.
    pub(in super::super) async fn affinity(
        &self,
        session: &mut Session,
        mount: &Mount,
    ) -> Result<Option<Bytes>, Refusal> {
        if let Some(named) = session.req_header().headers.get(SESSION) {
            return Ok(Some(Bytes::copy_from_slice(named.as_bytes())));
        }
        let matters = mount.package().session.mode != SessionMode::None;
        if !matters || !is_small_json(session) {
            return Ok(None);
        }
        session.as_downstream_mut().enable_retry_buffering();
        Ok(named(&body::read(session, &self.limits).await?))
    }
}

fn is_small_json(session: &Session) -> bool {
    let head = session.req_header();
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let length: Option<u64> = text(header::CONTENT_LENGTH).parse().ok();
    head.method == Method::POST
        && text(header::CONTENT_TYPE).trim_start().to_ascii_lowercase().starts_with("application/json")
        && length.is_some_and(|length| (1..=SMALL).contains(&length))
        && !head.headers.contains_key(header::EXPECT)
}

/// The session that a JSON-RPC request names.
fn named(body: &[u8]) -> Option<Bytes> {
    let Request { params } = serde_json::from_slice(body).ok()?;
    let id = params.session_id.or(params.context_id).or_else(|| params.message?.context_id)?;
    Some(Bytes::from(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_rpc_request_names_its_session_in_its_parameters() {
        for (body, wanted) in [
            (r#"{"jsonrpc":"2.0","method":"x","params":{"sessionId":"a"}}"#, Some("a")),
            (r#"{"params":{"contextId":"b"}}"#, Some("b")),
            (r#"{"params":{"message":{"contextId":"c","parts":[]}}}"#, Some("c")),
            (r#"{"params":{}}"#, None),
            (r#"{"params":[1]}"#, None),
            (r#"{"sessionId":"a"}"#, None),
            ("nope", None),
        ] {
            assert_eq!(named(body.as_bytes()).as_deref(), wanted.map(str::as_bytes), "{body}");
        }
    }
}
