//! From the parts of a form to an input. Pure: texts and facts of files enter, JSON leaves, and where in it files are.
//!
//! A part named `input` is the base. Other texts become members, as do files, by what is known of them; several parts of
//! one name become a list.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use par_proto::code::Code;
use serde::{
    Deserialize, Serialize, Serializer,
    de::{IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap as _,
};
use serde_json::value::{RawValue, to_raw_value};

use super::super::{intake::bad_json, refusal::Refusal};

/// A file, as the input has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Facts {
    pub(super) name: String,
    pub(super) content_type: String,
    pub(super) size: u64,
}

/// What is known of one part.
#[derive(Debug)]
pub(super) enum Part {
    Text(String),
    File {
        facts: Facts,
        /// What it is called on disk.
        file: Arc<str>,
    },
}

/// The parts of a form, except `input`, in the order of their first.
#[derive(Debug, Default)]
pub(super) struct Draft {
    base: Option<String>,
    members: Vec<(String, Vec<Part>)>,
}

/// Where in an input files are: names of members, and what their files are called on disk.
pub(in super::super) type Places = Vec<(String, Vec<Arc<str>>)>;

impl Draft {
    /// Sets the base.
    pub(super) fn base(&mut self, text: String) -> Result<(), Refusal> {
        if self.base.replace(text).is_some() {
            return Err(Refusal::new(Code::BadRequest, "the form has more than one part named input"));
        }
        Ok(())
    }

    /// Adds a part.
    pub(super) fn add(&mut self, field: &str, part: Part) -> Result<(), Refusal> {
        let Some((_, parts)) = self.members.iter_mut().find(|(name, _)| name == field) else {
            self.members.push((field.to_owned(), vec![part]));
            return Ok(());
        };
        let same = parts.iter().all(|other| matches!(other, Part::Text(_)) == matches!(part, Part::Text(_)));
        if !same {
            let detail = format!("the field {field:?} is text in one part and a file in another");
            return Err(Refusal::new(Code::BadRequest, detail));
        }
        parts.push(part);
        Ok(())
    }

    /// Takes a member that is one text.
    pub(super) fn take(&mut self, field: &str) -> Option<String> {
        let place = self.members.iter().position(|(name, _)| name == field)?;
        let [Part::Text(_)] = self.members.get(place)?.1.as_slice() else { return None };
        match self.members.remove(place).1.pop() {
            Some(Part::Text(text)) => Some(text),
            Some(Part::File { .. }) | None => None,
        }
    }

    /// Where files are.
    pub(super) fn places(&self) -> Places {
        let files = self.members.iter().filter_map(|(name, parts)| {
            let files: Vec<_> = parts
                .iter()
                .filter_map(|part| match part {
                    Part::File { file, .. } => Some(Arc::clone(file)),
                    Part::Text(_) => None,
                })
                .collect();
            (!files.is_empty()).then(|| (name.clone(), files))
        });
        files.collect()
    }

    /// The input as JSON.
    pub(super) fn input(self) -> Result<Bytes, Refusal> {
        let base = self.base.unwrap_or_default();
        let base = if base.trim().is_empty() { "{}" } else { base.as_str() };
        let broken = |error| {
            let mut refusal = bad_json(&error);
            refusal.detail = Cow::Owned(format!("the part input is not valid JSON: {error}"));
            refusal
        };
        if self.members.is_empty() {
            serde_json::from_str::<IgnoredAny>(base).map_err(broken)?;
            return Ok(Bytes::copy_from_slice(base.as_bytes()));
        }
        if !base.trim_start().starts_with('{') {
            serde_json::from_str::<IgnoredAny>(base).map_err(broken)?;
            let detail = "the part input is no JSON object, so other parts have no place in it";
            return Err(Refusal::new(Code::BadRequest, detail));
        }
        let mut input: Members<'_> = serde_json::from_str(base).map_err(broken)?;
        for (name, parts) in self.members {
            // Of what is there twice, the part counts.
            input.0.retain(|(other, _)| *other != name);
            input.0.push((Cow::Owned(name), Cow::Owned(value(&parts).map_err(broken)?)));
        }
        serde_json::to_vec(&input).map(Bytes::from).map_err(broken)
    }
}

fn value(parts: &[Part]) -> serde_json::Result<Box<RawValue>> {
    match parts {
        [one] => to_raw_value(one),
        several => to_raw_value(several),
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::File { facts, .. } => facts.serialize(serializer),
        }
    }
}

/// A JSON object whose values stay as they were written.
struct Members<'a>(Vec<(Cow<'a, str>, Cow<'a, RawValue>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    members.push((Cow::Owned(name), Cow::Borrowed(value)));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, &**value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn file(number: usize) -> Part {
        let (name, content_type) = (format!("{number}.txt"), "text/plain".to_owned());
        let facts = Facts { name: name.clone(), content_type, size: 3 };
        Part::File { facts, file: name.into() }
    }

    fn draft(base: Option<&str>, parts: Vec<(&str, Part)>) -> Draft {
        let mut draft = Draft::default();
        if let Some(base) = base {
            draft.base(base.to_owned()).unwrap();
        }
        for (field, part) in parts {
            draft.add(field, part).unwrap();
        }
        draft
    }

    #[test]
    fn parts_are_laid_over_their_base_and_what_they_do_not_name_stays_as_it_was_written() {
        let base = r#"{"big": 12345678901234567890, "f": 1.0, "title": "old", "doc": null}"#;
        let parts = vec![
            ("title", text("né\"w")),
            ("doc", file(0)),
            ("tag", text("a")),
            ("tag", text("b")),
            ("pics", file(1)),
        ];
        let draft = draft(Some(base), [parts, vec![("pics", file(2))]].into_iter().flatten().collect());
        assert_eq!(
            draft.places(),
            [
                ("doc".to_owned(), vec!["0.txt".into()]),
                ("pics".to_owned(), vec!["1.txt".into(), "2.txt".into()])
            ]
        );
        let about = |n| format!(r#"{{"name":"{n}.txt","content_type":"text/plain","size":3}}"#);
        assert_eq!(
            draft.input().unwrap(),
            format!(
                r#"{{"big":12345678901234567890,"f":1.0,"title":"né\"w","doc":{},"tag":["a","b"],"pics":[{},{}]}}"#,
                about(0),
                about(1),
                about(2)
            )
        );
    }

    #[test]
    fn a_base_alone_is_any_json_and_nothing_at_all_is_an_empty_object() {
        assert_eq!(draft(Some("[1, 2.0]"), vec![]).input().unwrap(), "[1, 2.0]");
        assert_eq!(draft(Some(" "), vec![]).input().unwrap(), "{}");
        assert_eq!(draft(None, vec![]).input().unwrap(), "{}");
        assert_eq!(draft(None, vec![("a", text("1"))]).input().unwrap(), r#"{"a":"1"}"#);
    }

    #[test]
    fn what_has_no_place_is_refused() {
        assert_eq!(draft(Some("{"), vec![]).input().unwrap_err().code, Code::BadJson);
        assert_eq!(draft(Some("{\"a\":}"), vec![("b", text(""))]).input().unwrap_err().code, Code::BadJson);
        assert_eq!(draft(Some("[]"), vec![("a", file(0))]).input().unwrap_err().code, Code::BadRequest);
        assert_eq!(draft(Some("["), vec![("a", file(0))]).input().unwrap_err().code, Code::BadJson);
        let mut twice = draft(Some("{}"), vec![("a", file(0))]);
        assert_eq!(twice.base("{}".to_owned()).unwrap_err().code, Code::BadRequest);
        assert_eq!(twice.add("a", text("x")).unwrap_err().code, Code::BadRequest);
    }

    #[test]
    fn one_text_can_be_taken_out() {
        let mut draft =
            draft(None, vec![("session_id", text("s")), ("a", file(0)), ("b", text("1")), ("b", text("2"))]);
        assert_eq!(draft.take("session_id").as_deref(), Some("s"));
        assert_eq!((draft.take("session_id"), draft.take("a"), draft.take("b")), (None, None, None));
    }
}
