//! YAML as written: text enters, a tree leaves in which every scalar still has its source text (`1.10` stays `1.10`).
//!
//! The text is read twice: once by what it says, with a budget that ends alias bombs, and once more along the tree so
//! found, asking for the text of each scalar.

use std::{cell::Cell, collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::depth;

/// Most nodes with all aliases followed. A manifest at the size limit written without aliases stays below it.
const MAX_NODES: usize = 400_000;

/// A YAML node.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// `null`, `~` or nothing.
    Null,
    /// Anything that is one piece of text.
    Scalar {
        /// As it was written, quotes removed.
        text: String,
        /// As YAML 1.2 understands it.
        value: Value,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in its order; keys are text as written, merge keys (`<<`) are applied.
    Map(Vec<(String, Node)>),
}

/// Why a text is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum RawError {
    /// Not YAML, or YAML that we refuse.
    #[error("agent.yaml is not valid YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// Brackets that only a bomb has.
    #[error("agent.yaml nests its brackets too deep")]
    Depth,
    /// Not a mapping.
    #[error("agent.yaml is not a mapping of keys to values")]
    NoMapping,
}

/// Reads the text of a manifest.
pub fn parse(text: &str) -> Result<Node, RawError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !depth::is_bounded(text) {
        return Err(RawError::Depth);
    }
    let budget = Cell::new(MAX_NODES);
    let value = Meaning { budget: &budget }.deserialize(serde_yaml::Deserializer::from_str(text))?;
    if !value.is_object() {
        return Err(RawError::NoMapping);
    }
    let mut node = Written { meaning: &value }.deserialize(serde_yaml::Deserializer::from_str(text))?;
    node.merge();
    Ok(node)
}

impl Node {
    /// The value of a key that is there and not null.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| name == key).map(|(_, node)| node).filter(|node| **node != Self::Null)
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Scalar { value, .. } => value.clone(),
            Self::List(items) => items.iter().map(Self::json).collect(),
            Self::Map(entries) => entries.iter().map(|(key, node)| (key.clone(), node.json())).collect(),
        }
    }

    /// What it is, for error texts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar { value: Value::Bool(_), .. } => "a boolean",
            Self::Scalar { value: Value::Number(_), .. } => "a number",
            Self::Scalar { .. } => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }

    /// Applies `<<`: keys of the merged mappings that the mapping itself does not have.
    fn merge(&mut self) {
        match self {
            Self::Null | Self::Scalar { .. } => {}
            Self::List(items) => items.iter_mut().for_each(Self::merge),
            Self::Map(entries) => {
                for (_, node) in entries.iter_mut() {
                    node.merge();
                }
                let Some(at) = entries.iter().position(|(key, _)| key == "<<") else { return };
                let sources = match entries.remove(at).1 {
                    Self::List(items) => items,
                    one @ (Self::Null | Self::Scalar { .. } | Self::Map(_)) => vec![one],
                };
                for source in sources {
                    let Self::Map(inherited) = source else { continue };
                    for (key, node) in inherited {
                        if !entries.iter().any(|(own, _)| *own == key) {
                            entries.push((key, node));
                        }
                    }
                }
            }
        }
    }
}

/// The first reading: JSON, each node paid for.
#[derive(Clone, Copy)]
struct Meaning<'a> {
    budget: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Meaning<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.budget.get().checked_sub(1);
        self.budget.set(left.ok_or_else(|| D::Error::custom("its aliases expand to too many values"))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Meaning<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain YAML without tags")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // Infinities and NaN have no JSON number; as text they fail where a number is wanted.
        Ok(serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = serde_json::Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if map.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format!("the key {key:?} is there twice")));
            }
        }
        Ok(Value::Object(map))
    }
}

/// The second reading: the same shape, scalars as text.
struct Written<'a> {
    meaning: &'a Value,
}

impl<'de> DeserializeSeed<'de> for Written<'_> {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        match self.meaning {
            Value::Null => deserializer.deserialize_ignored_any(serde::de::IgnoredAny).map(|_| Node::Null),
            Value::Array(_) => deserializer.deserialize_seq(self),
            Value::Object(_) => deserializer.deserialize_map(self),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => deserializer.deserialize_str(self),
        }
    }
}

impl<'de> Visitor<'de> for Written<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the same YAML as before")
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Scalar { text: text.to_owned(), value: self.meaning.clone() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        for meaning in self.meaning.as_array().into_iter().flatten() {
            list.extend(items.next_element_seed(Written { meaning })?);
        }
        // The access must be driven to its end.
        match items.next_element::<serde::de::IgnoredAny>()? {
            None => Ok(Node::List(list)),
            Some(_) => Err(A::Error::custom("a list changed between two readings")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            let meaning = self.meaning.get(&key).unwrap_or(&Value::Null);
            let node = entries.next_value_seed(Written { meaning })?;
            if keys.insert(key.clone()) {
                map.push((key, node));
            }
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(yaml: &str) -> String {
        match parse(yaml).unwrap().get("v") {
            Some(Node::Scalar { text, .. }) => text.clone(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn scalars_keep_the_text_they_were_written_with() {
        for (written, kept) in [
            ("1.0", "1.0"),
            ("1.10", "1.10"),
            ("'1.0'", "1.0"),
            ("\"1.0\"", "1.0"),
            ("2024-01-02", "2024-01-02"),
            ("1e3", "1e3"),
            ("0x10", "0x10"),
            ("007", "007"),
            ("1_000", "1_000"),
            ("true", "true"),
            ("+1", "+1"),
            (".inf", ".inf"),
            ("1.0 # one", "1.0"),
            ("'null'", "null"),
            ("!!str 1.10", "1.10"),
            ("340282366920938463463374607431768211456", "340282366920938463463374607431768211456"),
            ("200000000000000000000", "200000000000000000000"),
        ] {
            assert_eq!(text(&format!("v: {written}")), kept, "{written}");
        }
        assert_eq!(text("a: &x 1.10\nv: *x"), "1.10");
        assert_eq!(text("a: &x {v: 1.10}\n<<: *x"), "1.10");
        assert_eq!(parse("v: ~\nw:").unwrap().get("v"), None);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for yaml in
            ["", "- a", "a", "a: [", "a: 1\na: 2", "a: 1\n---\na: 2", "? [a]\n: 1", "a: !x {}", "a: *b"]
        {
            assert!(parse(yaml).is_err(), "{yaml:?}");
        }
    }

    #[test]
    fn bombs_end_at_once() {
        let levels = (1..40).map(|level| format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1));
        let wide = format!("a0: &a0 [x, x]\n{}", levels.collect::<Vec<_>>().concat());
        let leaves = "x,".repeat(100_000);
        let aliases = "*a,".repeat(100_000);
        let square = format!("a: &a [{leaves}]\nb: [{aliases}]");
        let deep = format!("a: {}", "[".repeat(100_000));
        let slow = format!("a: {}{}", "[".repeat(990), "a,".repeat(400_000));
        for bomb in [wide, square, deep, slow] {
            let began = std::time::Instant::now();
            assert!(parse(&bomb).is_err());
            assert!(began.elapsed() < std::time::Duration::from_secs(15));
        }
    }
}
