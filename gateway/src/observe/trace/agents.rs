//! Spans that agents add, as their workers tell them (`FRAMES.md`, kind `SPANS`). Strangers' bytes: read with caps, and
//! in their own trace only.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::{
    context::{SpanId, TraceId},
    span::{Kind, Span, Value},
};

/// Most bytes of one frame of spans: what 128 spans of some attributes take.
const TOLD_AT_ONCE: usize = 256 << 10;

/// Most attributes of a span, as SDKs have it.
const ATTRIBUTES: usize = 128;

/// Longest name, of spans and of attributes, in bytes.
const NAME: usize = 256;

/// Longest text of an attribute, in bytes. Whole prompts belong elsewhere.
const TEXT: usize = 4096;

/// One of them.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    id: Box<str>,
    #[serde(default)]
    parent: Option<Box<str>>,
    name: String,
    begin: u64,
    end: u64,
    #[serde(default)]
    attributes: Map<String, Json>,
    #[serde(default)]
    error: Option<Raised>,
}

#[derive(Debug, Deserialize)]
struct Raised {
    r#type: String,
    message: String,
}

/// Reads what a frame holds.
pub(super) fn read(payload: &[u8]) -> Result<Vec<Told>, serde_json::Error> {
    serde_json::from_slice(payload.get(..TOLD_AT_ONCE.min(payload.len())).unwrap_or_default())
}

impl Told {
    /// As a span of this trace, below `worker` unless it names one of the handler's own; `None` if it has no id.
    pub(super) fn span(self, trace: TraceId, state: Option<&str>, worker: SpanId) -> Option<Span> {
        let id = SpanId::read(self.id.as_bytes())?;
        let parent = match &self.parent {
            Some(parent) => SpanId::read(parent.as_bytes())?,
            None => worker,
        };
        let mut attributes: Vec<_> = (self.attributes.into_iter())
            .take(ATTRIBUTES)
            .filter_map(|(name, value)| Some((Cow::Owned(short(name, NAME)), value_of(value)?)))
            .collect();
        let failure = self.error.map(|Raised { r#type, message }| {
            attributes.push((Cow::Borrowed("error.type"), short(r#type, NAME).into()));
            Cow::Owned(short(message, TEXT))
        });
        Some(Span {
            trace,
            state: state.map(Box::from),
            id,
            parent: Some(parent),
            kind: Kind::Internal,
            name: Cow::Owned(short(self.name, NAME)),
            begin: self.begin,
            end: self.end.max(self.begin),
            attributes,
            failure,
        })
    }
}

fn short(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

/// Nothing, and what is nested, is no value of an attribute.
fn value_of(json: Json) -> Option<Value> {
    Some(match json {
        Json::Bool(truth) => Value::Truth(truth),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Number(number),
            None => Value::Fraction(number.as_f64()?),
        },
        Json::String(text) => short(text, TEXT).into(),
        Json::Array(several) => {
            let plain = several.into_iter().filter(|one| !one.is_array()).take(ATTRIBUTES);
            Value::Several(plain.filter_map(value_of).collect())
        }
        Json::Null | Json::Object(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: TraceId = TraceId([1; 16]);
    const WORKER: SpanId = SpanId([2; 8]);

    fn spans(json: &str) -> Vec<Option<Span>> {
        read(json.as_bytes()).unwrap().into_iter().map(|told| told.span(TRACE, None, WORKER)).collect()
    }

    #[test]
    fn a_told_span_lies_in_its_own_trace_below_its_worker() {
        let told = spans(
            r#"[{"id":"00f067aa0ba902b7","name":"look","begin":5,"end":9,"attributes":{"a":1,"b":"x","c":[1.5,true],
                "d":null,"e":{"f":1}}},
                {"id":"00f067aa0ba902b8","parent":"00f067aa0ba902b7","name":"in","begin":9,"end":5,
                "error":{"type":"KeyError","message":"'k'"}}]"#,
        );
        let [Some(outer), Some(inner)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((outer.trace, outer.parent, outer.attributes.len()), (TRACE, Some(WORKER), 3));
        assert_eq!(inner.parent, Some(outer.id));
        assert!(inner.end >= inner.begin);
        assert_eq!(inner.failure.as_deref(), Some("'k'"));
    }

    #[test]
    fn what_is_too_long_is_cut_and_what_has_no_id_is_none() {
        let long = "ä".repeat(5000);
        let told = spans(&format!(
            r#"[{{"id":"00f067aa0ba902b7","name":"{long}","begin":0,"end":0,"attributes":{{"{long}":"{long}"}}}},
                {{"id":"0000000000000000","name":"","begin":0,"end":0}},
                {{"id":"00f067aa0ba902b7","parent":"x","name":"","begin":0,"end":0}}]"#
        ));
        let [Some(cut), None, None] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(cut.name.len(), NAME);
        assert_eq!(cut.attributes[0].0.len(), NAME);
        assert!(read(b"{}").is_err() && read(&vec![b'['; TOLD_AT_ONCE + 1]).is_err());
    }
}
