//! The one place that writes `application/problem+json` (RFC 9457).

use par_proto::code::Code;
use serde::Serialize;
use serde_json::value::RawValue;

/// The content type of every error.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// What some codes add to the common members.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Extras<'a> {
    /// `input_invalid`: `[{"path","message","schema_path"}]`, already JSON.
    pub(crate) errors: Option<&'a RawValue>,
    /// `package_invalid`: the step that failed.
    pub(crate) step: Option<&'a str>,
    /// `agent_error`: what the agent raised.
    pub(crate) error: Option<AgentFault<'a>>,
}

/// What an agent raised. The caller of [`problem`] decides what of it the client may see.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct AgentFault<'a> {
    /// The exception's class.
    #[serde(rename = "type")]
    pub(crate) class: &'a str,
    /// Its text; only with `expose_errors`, and for operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<&'a str>,
    /// Where; only for operators and in `--dev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) traceback: Option<&'a str>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: Urn,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<AgentFault<'a>>,
}

struct Urn(Code);

impl Serialize for Urn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("urn:par:error:{}", self.0.text()))
    }
}

/// A problem document. `detail` is one sentence for the client; the status to send is `code.http()`.
pub(crate) fn problem(code: Code, detail: &str, request_id: &str, extras: Extras<'_>) -> Vec<u8> {
    let document = Document {
        r#type: Urn(code),
        title: code.title(),
        status: code.http(),
        detail,
        code: code.text(),
        request_id,
        errors: extras.errors,
        step: extras.step,
        error: extras.error,
    };
    serde_json::to_vec(&document).unwrap_or_else(|_| {
        format!(r#"{{"type":"about:blank","status":{},"code":"{}"}}"#, code.http(), code.text()).into_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_problem_has_the_common_members_only() {
        let text = String::from_utf8(problem(Code::NotFound, "no \"x\"", "r-1", Extras::default())).unwrap();
        insta::assert_snapshot!(text, @r#"{"type":"urn:par:error:not_found","title":"Not found","status":404,"detail":"no \"x\"","code":"not_found","request_id":"r-1"}"#);
    }

    #[test]
    fn what_a_code_adds_follows() {
        let errors =
            RawValue::from_string(r#"[{"path":"/a","message":"m","schema_path":"/b"}]"#.to_owned()).unwrap();
        let error = AgentFault { class: "ValueError", message: None, traceback: None };
        let extras = Extras { errors: Some(&errors), step: Some("unpack"), error: Some(error) };
        let document: serde_json::Value =
            serde_json::from_slice(&problem(Code::InputInvalid, "d", "r", extras)).unwrap();
        assert_eq!(document["errors"][0]["path"], "/a");
        assert_eq!(document["step"], "unpack");
        assert_eq!(document["error"], serde_json::json!({"type": "ValueError"}));
    }
}
