//! Reading typed values out of a raw mapping: what is wrong is noted with its place and reading goes on, so that all
//! faults of a manifest are told at once.

use std::{cell::RefCell, time::Duration};

use serde_json::Value;

use super::raw::Node;

/// What was found wrong or odd so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    faults: RefCell<Vec<String>>,
    warnings: RefCell<Vec<String>>,
}

impl Notes {
    pub(super) fn fault(&self, text: impl Into<String>) {
        self.faults.borrow_mut().push(text.into());
    }

    pub(super) fn warn(&self, text: impl Into<String>) {
        self.warnings.borrow_mut().push(text.into());
    }

    /// Faults and warnings.
    pub(super) fn into_parts(self) -> (Vec<String>, Vec<String>) {
        (self.faults.into_inner(), self.warnings.into_inner())
    }
}

/// A mapping of the manifest and its place in it.
#[derive(Clone)]
pub(super) struct Section<'a> {
    place: String,
    node: &'a Node,
    notes: &'a Notes,
}

/// What a section that is not there reads from.
const NOTHING: Node = Node::Null;

impl<'a> Section<'a> {
    pub(super) fn root(node: &'a Node, notes: &'a Notes) -> Self {
        Self { place: String::new(), node, notes }
    }

    /// Reads from somewhere else, with the same notes.
    pub(super) fn instead(&self, node: &'a Node) -> Self {
        Self { node, ..self.clone() }
    }

    /// The place of a key, for texts.
    pub(super) fn place(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }

    pub(super) fn fault(&self, key: &str, text: &str) {
        self.notes.fault(format!("{}: {text}", self.place(key)));
    }

    pub(super) fn warn(&self, key: &str, text: &str) {
        self.notes.warn(format!("{}: {text}", self.place(key)));
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        self.node.get(key)
    }

    fn expected(&self, key: &str, wanted: &str, node: &Node) {
        let found = match node {
            Node::Scalar { text, .. } => format!("{:?}", text.chars().take(60).collect::<String>()),
            Node::Null | Node::List(_) | Node::Map(_) => node.kind().to_owned(),
        };
        self.fault(key, &format!("{wanted} is expected, not {found}"));
    }

    /// The scalar's text as written; empty text is nothing.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Node::Scalar { text, .. } => Some(text.trim()).filter(|text| !text.is_empty()),
            other @ (Node::Null | Node::List(_) | Node::Map(_)) => {
                self.expected(key, "text", other);
                None
            }
        }
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        let node = self.get(key)?;
        if let Node::Scalar { text, value } = node {
            match (value, text.to_ascii_lowercase().as_str()) {
                (Value::Bool(flag), _) => return Some(*flag),
                (_, "yes" | "on" | "true") => return Some(true),
                (_, "no" | "off" | "false") => return Some(false),
                _ => {}
            }
        }
        self.expected(key, "true or false", node);
        None
    }

    /// A whole number between bounds.
    pub(super) fn number(&self, key: &str, bounds: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let node = self.get(key)?;
        let number = match node {
            Node::Scalar { text, value } => value.as_u64().or_else(|| text.parse().ok()),
            Node::Null | Node::List(_) | Node::Map(_) => None,
        };
        match number {
            Some(number) if bounds.contains(&number) => Some(number),
            _ => {
                let wanted = format!("a whole number from {} to {}", bounds.start(), bounds.end());
                self.expected(key, &wanted, node);
                None
            }
        }
    }

    /// `15m`, `8h`, `120s`, `500ms`, `2d`, or a number of seconds; more than nothing.
    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        let node = self.get(key)?;
        let duration = match node {
            Node::Scalar { text, .. } => duration(text.trim()),
            Node::Null | Node::List(_) | Node::Map(_) => None,
        };
        if duration.is_none() {
            self.expected(key, "a time like 90, 500ms, 120s, 15m or 8h", node);
        }
        duration
    }

    /// A mapping; one that is not there has no keys.
    pub(super) fn section(&self, key: &str) -> Section<'a> {
        let node = match self.get(key) {
            Some(node @ Node::Map(_)) => node,
            None => &NOTHING,
            Some(other) => {
                self.expected(key, "a mapping", other);
                &NOTHING
            }
        };
        Section { place: self.place(key), node, notes: self.notes }
    }

    /// The elements of a list of mappings.
    pub(super) fn sections(&self, key: &str) -> Vec<Section<'a>> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let Node::List(items) = node else {
            self.expected(key, "a list", node);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (number, item) in items.iter().enumerate() {
            let place = format!("{key}[{number}]");
            if let Node::Map(_) = item {
                sections.push(Section { place: self.place(&place), node: item, notes: self.notes });
            } else {
                self.expected(&place, "a mapping", item);
            }
        }
        sections
    }

    /// A list of texts; one text alone is a list of it.
    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let items = match node {
            Node::List(items) => items.as_slice(),
            Node::Scalar { .. } => std::slice::from_ref(node),
            Node::Null | Node::Map(_) => {
                self.expected(key, "a list of texts", node);
                &[]
            }
        };
        let mut texts = Vec::new();
        for (number, item) in items.iter().enumerate() {
            if let Node::Scalar { text, .. } = item {
                texts.push(text.clone());
            } else {
                self.expected(&format!("{key}[{number}]"), "text", item);
            }
        }
        texts
    }

    /// The entries of a mapping of texts; null is empty text.
    pub(super) fn text_map(&self, key: &str) -> Vec<(String, String)> {
        let section = self.section(key);
        let Node::Map(entries) = section.node else { return Vec::new() };
        let mut map = Vec::new();
        for (name, node) in entries {
            match node {
                Node::Null => map.push((name.clone(), String::new())),
                Node::Scalar { text, .. } => map.push((name.clone(), text.clone())),
                Node::List(_) | Node::Map(_) => section.expected(name, "text", node),
            }
        }
        map
    }

    /// One of a closed set of words.
    pub(super) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault(key, &format!("one of {} is expected, not {text:?}", all.join(", ")));
        }
        found
    }
}

/// Longest time that a manifest may ask for: a year; more is a slip of units.
const MAX_SECONDS: f64 = 366.0 * 24.0 * 3600.0;

fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let factor = match unit.trim() {
        "" | "s" | "sec" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let seconds = number * factor;
    (seconds > 0.0 && seconds <= MAX_SECONDS).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_or_are_seconds() {
        for (text, millis) in [
            ("15m", 900_000),
            ("8h", 28_800_000),
            ("120s", 120_000),
            ("500ms", 500),
            ("90", 90_000),
            ("1.5", 1500),
            ("1 min", 60_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "0", "-1", "1x", "m", "1e3", "400d", "99999999999999999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
