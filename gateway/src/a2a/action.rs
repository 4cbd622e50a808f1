//! `ActionRequest` in every form that clients send, and `ActionResult`.
//!
//! Two numberings of the same message are in use, and one of them may hold an A2A message instead. All of their fields
//! are texts or messages, so the number of the first one tells them apart: without it the request is the newer form
//! (2 = action, 3 = parameters, 4 = request id); where it begins as an A2A message does, it is that; else it is the
//! older form (1 = action, 2 = parameters, 3 = request id).

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value as Json, value::RawValue};

use super::wire::{Fields, Malformed, Message, Value};

/// How an A2A message begins: its first field, `jsonrpc`, is `2.0`. No action is called that.
const A2A: &[u8] = b"\x0a\x032.0";

/// What the client hears that named nothing to do.
const NO_ACTION: &str = "No action/skill specified in request";

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The client's name for it, empty if it has none.
    pub(crate) request_id: String,
    /// What is to be done, or what the client hears instead.
    pub(crate) action: Result<Action, String>,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    /// Its name, never empty.
    pub(crate) name: String,
    /// A JSON object.
    pub(crate) parameters: Bytes,
}

impl Asked {
    /// Reads a request.
    pub(crate) fn read(message: &[u8]) -> Result<Self, Malformed> {
        let mut first = None;
        for field in Fields::of(message) {
            if let (1, value) = field? {
                first = Some(value.bytes()?);
            }
        }
        match first {
            Some(inner) if inner.starts_with(A2A) => Self::a2a(inner),
            Some(_) => Self::numbered(message, [1, 2, 3]),
            None => Self::numbered(message, [2, 3, 4]),
        }
    }

    fn numbered(message: &[u8], [action, parameters, request_id]: [u32; 3]) -> Result<Self, Malformed> {
        let (mut name, mut id) = ("", "");
        let mut given = Map::new();
        for field in Fields::of(message) {
            let (number, value) = field?;
            if number == action {
                name = value.text()?;
            } else if number == request_id {
                id = value.text()?;
            } else if number == parameters {
                let (key, value) = entry(value)?;
                given.insert(key.to_owned(), Json::String(value.to_owned()));
            }
        }
        let action = match name {
            "" => Err(NO_ACTION.to_owned()),
            name => Ok(Action { name: name.to_owned(), parameters: Json::Object(given).to_string().into() }),
        };
        Ok(Self { request_id: id.to_owned(), action })
    }

    fn a2a(message: &[u8]) -> Result<Self, Malformed> {
        let (mut id, mut params) = ("", "");
        for field in Fields::of(message) {
            match field? {
                (2, value) => id = value.text()?,
                (4, value) => params = value.text()?,
                _ => {}
            }
        }
        Ok(Self { request_id: id.to_owned(), action: skill(params) })
    }
}

/// An entry of a map of texts.
fn entry(value: Value<'_>) -> Result<(&str, &str), Malformed> {
    let (mut key, mut text) = ("", "");
    for field in Fields::of(value.bytes()?) {
        match field? {
            (1, value) => key = value.text()?,
            (2, value) => text = value.text()?,
            _ => {}
        }
    }
    Ok((key, text))
}

/// `params_json` of an A2A message, as far as it names what is to be done.
#[derive(Deserialize)]
struct Params {
    #[serde(default)]
    message: Option<Said>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    skill: Option<String>,
    #[serde(default)]
    params: Option<Box<RawValue>>,
}

fn skill(params: &str) -> Result<Action, String> {
    let broken = |problem: &dyn std::fmt::Display| format!("Invalid JSON in A2A params_json: {problem}");
    let params: Params = serde_json::from_str(params).map_err(|error| broken(&error))?;
    let metadata = params.message.and_then(|message| message.metadata);
    let Some(Metadata { skill: Some(name), params }) = metadata else { return Err(NO_ACTION.to_owned()) };
    if name.is_empty() {
        return Err(NO_ACTION.to_owned());
    }
    let parameters = match params.as_deref().map(RawValue::get) {
        None => Bytes::from_static(b"{}"),
        Some(object) if object.starts_with('{') => Bytes::copy_from_slice(object.as_bytes()),
        Some(_) => return Err(broken(&"metadata.params is no object")),
    };
    Ok(Action { name, parameters })
}

/// What came of it. The message has a map beside these, `metadata`, which is empty: on the wire that is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActionResult {
    /// The result as text, or why there is none.
    pub(crate) outcome: Result<String, String>,
    /// The name of the request.
    pub(crate) request_id: String,
    /// How long it took.
    pub(crate) milliseconds: u64,
}

impl ActionResult {
    /// As bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (result, error) = match &self.outcome {
            Ok(result) => (result.as_str(), ""),
            Err(error) => ("", error.as_str()),
        };
        Message::default()
            .number(1, u64::from(self.outcome.is_ok()))
            .text(2, result)
            .text(3, error)
            .text(4, &self.request_id)
            .number(5, self.milliseconds)
            .bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Asked { action: Ok(action), .. }) = Asked::read(&bytes) {
                prop_assert!(!action.name.is_empty());
                let is_object = action.parameters.starts_with(b"{") && action.parameters.ends_with(b"}");
                prop_assert!(is_object);
            }
        }
    }

    fn pair(key: &str, value: &str) -> Vec<u8> {
        Message::default().text(1, key).text(2, value).bytes()
    }

    fn asked(request_id: &str, name: &str, parameters: &str) -> Asked {
        let action = Action { name: name.to_owned(), parameters: parameters.to_owned().into() };
        Asked { request_id: request_id.to_owned(), action: Ok(action) }
    }

    fn a2a(id: &str, params: &str) -> Vec<u8> {
        let inner = Message::default().text(1, "2.0").text(2, id).text(3, "message/send").text(4, params);
        Message::default().message(1, &inner.bytes()).bytes()
    }

    #[test]
    fn the_older_numbering_is_read() {
        let bytes = Message::default()
            .text(1, "sum")
            .message(2, &pair("a", "1"))
            .message(2, &pair("b", "{\"c\": 2}"))
            .text(3, "r-1")
            .bytes();
        assert_eq!(Asked::read(&bytes), Ok(asked("r-1", "sum", r#"{"a":"1","b":"{\"c\": 2}"}"#)));
    }

    #[test]
    fn the_newer_numbering_is_read() {
        let bytes = Message::default()
            .text(4, "r-2")
            .message(3, &pair("a", ""))
            .message(3, &pair("", "x"))
            .text(2, "sum")
            .bytes();
        assert_eq!(Asked::read(&bytes), Ok(asked("r-2", "sum", r#"{"a":"","":"x"}"#)));
    }

    #[test]
    fn an_a2a_message_is_read_and_its_parameters_keep_their_kinds() {
        let params = r#"{"message":{"kind":"message","role":"user","metadata":
            {"skill":"sum","params":{"a":1.50,"b":[true,null],"big":12345678901234567890123}},"parts":[]}}"#;
        let wanted = asked("7", "sum", r#"{"a":1.50,"b":[true,null],"big":12345678901234567890123}"#);
        assert_eq!(Asked::read(&a2a("7", params)), Ok(wanted));
        let bare = r#"{"message":{"metadata":{"skill":"sum"}}}"#;
        assert_eq!(Asked::read(&a2a("", bare)), Ok(asked("", "sum", "{}")));
    }

    #[test]
    fn a_request_that_names_nothing_hears_so() {
        let refused = |bytes: &[u8]| Asked::read(bytes).unwrap().action.unwrap_err();
        for bytes in [
            vec![],
            Message::default().text(4, "r").bytes(),
            a2a("1", "{}"),
            a2a("1", r#"{"message":{"metadata":null}}"#),
            a2a("1", r#"{"message":{"metadata":{"skill":""}}}"#),
        ] {
            assert_eq!(refused(&bytes), NO_ACTION);
        }
        for params in ["", "{", r#"{"message":7}"#, r#"{"message":{"metadata":{"skill":"a","params":[1]}}}"#]
        {
            let text = refused(&a2a("9", params));
            assert!(text.starts_with("Invalid JSON in A2A params_json: "), "{params}: {text}");
        }
        assert_eq!(Asked::read(&a2a("9", "{")).unwrap().request_id, "9");
    }

    #[test]
    fn what_fits_neither_numbering_is_malformed_and_never_guessed() {
        let entry_where_a_text_stands = Message::default().text(1, "sum").message(2, b"no entry").bytes();
        assert!(Asked::read(&entry_where_a_text_stands).is_err());
        assert_eq!(Asked::read(&[0x08, 1]), Err(Malformed::Unexpected));
        assert_eq!(Asked::read(&[0x0a, 1, 0xff]), Err(Malformed::Text));
        assert_eq!(Asked::read(&[0x0a, 9]), Err(Malformed::Cut));
    }

    #[test]
    fn unknown_fields_are_passed_over_and_the_last_of_several_counts() {
        let bytes =
            Message::default().text(1, "a").text(99, "?").number(98, 7).text(1, "b").text(3, "r").bytes();
        assert_eq!(Asked::read(&bytes), Ok(asked("r", "b", "{}")));
    }

    #[test]
    fn results_are_numbered_as_their_clients_know() {
        let told = ActionResult { outcome: Ok("x".into()), request_id: "r".into(), milliseconds: 3 };
        assert_eq!(told.bytes(), b"\x08\x01\x12\x01x\x22\x01r\x28\x03");
        let told = ActionResult { outcome: Err("no".into()), request_id: "r".into(), milliseconds: 0 };
        assert_eq!(told.bytes(), b"\x1a\x02no\x22\x01r");
    }
}
