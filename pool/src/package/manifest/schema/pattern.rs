//! What the parts of a schema cost: an outline enters, a price for each schema that has one leaves, or the pattern that
//! cannot be had.
//!
//! Patterns are matched without backtracking: each letter takes at most as much time as the pattern has states. How
//! many those are is found by building it with less and less room.

use std::collections::{BTreeSet, HashMap};

use jsonschema::PatternOptions;
use serde_json::{Map, Value};

use super::{
    SchemaFault,
    outline::{Node, Outline},
    work::Price,
};

/// `(bytes that a pattern may take when it is built, price of a letter)`. Almost always a letter costs a nanosecond; at
/// worst it costs a step for every state, and a state takes about 32 bytes. Measured: `^(a|b)*a(a|b){50}$` needs 900 ns.
const SIZES: &[(usize, u64)] =
    &[(2 << 10, 50), (4 << 10, 100), (16 << 10, 400), (64 << 10, 1600), (256 << 10, 6400), (LARGEST, 25_600)];

/// Room for the largest pattern that is taken. `^\p{L}{1,20}$` needs as much.
pub(super) const LARGEST: usize = 1 << 20;

/// Memory of one pattern while it is matched, on each thread.
const CACHE: usize = 1 << 20;

/// Room for all patterns of a package: many large ones must not fill the memory.
#[derive(Debug)]
pub struct PatternRoom(usize);

impl Default for PatternRoom {
    fn default() -> Self {
        Self(16 << 20)
    }
}

/// How patterns are built, within so many bytes.
pub(super) fn options(size: usize) -> PatternOptions<jsonschema::Regex> {
    PatternOptions::regex().size_limit(size).dfa_size_limit(CACHE)
}

/// The prices of all schemas; those without one are cheap and paid for by the schema around them.
pub(super) fn prices(
    outline: &Outline<'_>,
    room: &mut PatternRoom,
) -> Result<Vec<Option<Price>>, SchemaFault> {
    let mut patterns = Patterns { known: HashMap::new(), room };
    let mut letters = Vec::new();
    for node in &outline.nodes {
        letters.push(patterns.of(node)?);
    }
    let nodes = outline.nodes.iter().zip(letters);
    let costly: Vec<bool> =
        nodes.clone().map(|(node, letter)| letter > 0 || has_parts(node) || looks_at_all(node)).collect();
    let is_costly = |at: &usize| costly.get(*at).copied().unwrap_or_default();
    let steps = |at: &usize| -> u64 {
        if is_costly(at) { 1 } else { outline.nodes.get(*at).map_or(1, |node| count(node.schema)) }
    };
    Ok(nodes
        .zip(&costly)
        .map(|((node, letter), costly)| {
            costly.then(|| Price {
                visit: own(node) + node.here.iter().chain(&node.below).map(steps).sum::<u64>(),
                each: node.each.iter().map(steps).sum(),
                letter,
                whole: looks_at_all(node),
            })
        })
        .collect())
}

fn has_parts(node: &Node<'_>) -> bool {
    !(node.here.is_empty() && node.below.is_empty() && node.each.is_empty())
}

/// Whether it compares values down to their last part.
fn looks_at_all(node: &Node<'_>) -> bool {
    let Value::Object(entries) = node.schema else { return false };
    let has_container = |value: &Value| matches!(value, Value::Array(_) | Value::Object(_));
    entries.get("uniqueItems") == Some(&Value::Bool(true))
        || entries.get("const").is_some_and(has_container)
        || entries.get("enum").and_then(Value::as_array).is_some_and(|list| list.iter().any(has_container))
}

/// Keywords that do something by themselves, with all that they compare, and `not`, whose errors hold a copy of it.
const ASSERTING: &[&str] = &["required", "enum", "const", "dependentRequired", "dependencies", "type", "not"];

fn own(node: &Node<'_>) -> u64 {
    let Value::Object(entries) = node.schema else { return 1 };
    let compared = ASSERTING.iter().filter_map(|keyword| entries.get(*keyword)).map(count).sum::<u64>();
    entries.len() as u64 + compared
}

/// How many values there are.
fn count(value: &Value) -> u64 {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<u64>(),
        Value::Object(entries) => 1 + entries.values().map(count).sum::<u64>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

struct Patterns<'a, 'r> {
    known: HashMap<&'a str, u64>,
    room: &'r mut PatternRoom,
}

impl<'a> Patterns<'a, '_> {
    /// The price of a letter.
    fn of(&mut self, node: &Node<'a>) -> Result<u64, SchemaFault> {
        let Value::Object(entries) = node.schema else { return Ok(0) };
        let mut letter = 0;
        if let Some(Value::String(pattern)) = entries.get("pattern") {
            letter += self.price(pattern, || format!("{}/pattern", node.place))?;
        }
        if let Some(Value::Object(patterns)) = entries.get("patternProperties") {
            // They decide about what is additional or not evaluated too.
            let times = 1 + also(entries);
            for pattern in patterns.keys() {
                letter += times * self.price(pattern, || format!("{}/patternProperties", node.place))?;
            }
        }
        for keyword in ["format", "contentEncoding", "contentMediaType"] {
            letter += u64::from(entries.contains_key(keyword));
        }
        Ok(letter)
    }

    fn price(&mut self, pattern: &'a str, place: impl Fn() -> String) -> Result<u64, SchemaFault> {
        if let Some(price) = self.known.get(pattern) {
            return Ok(*price);
        }
        let fault = |reason: &str| {
            let pattern: String = pattern.chars().take(100).collect();
            Err(SchemaFault::new(place(), format!("the pattern {pattern:?} {reason}")))
        };
        let schema = serde_json::json!({ "pattern": pattern });
        let fits =
            |size: usize| jsonschema::options().with_pattern_options(options(size)).build(&schema).is_ok();
        let Some((size, price)) = SIZES.iter().find(|(size, _)| fits(*size)) else {
            // Nothing is matched here: this kind of engine only says what it understands.
            let other = jsonschema::options().with_pattern_options(PatternOptions::fancy_regex());
            return if fits(10 * LARGEST) {
                fault("is too large; long repetitions are better told by maxLength")
            } else if other.build(&schema).is_ok() {
                fault(
                    "needs look-around or back-references: patterns are matched in linear time, without them",
                )
            } else {
                fault("is no regular expression (ECMA-262), or is too large")
            };
        };
        let Some(room) = self.room.0.checked_sub(*size) else {
            return fault("is one too many: together the patterns of the package are too large");
        };
        self.room.0 = room;
        self.known.insert(pattern, *price);
        Ok(*price)
    }
}

/// Keywords that ask once more which properties the patterns match.
fn also(entries: &Map<String, Value>) -> u64 {
    let keywords: BTreeSet<&str> = entries.keys().map(String::as_str).collect();
    ["additionalProperties", "unevaluatedProperties"].iter().filter(|name| keywords.contains(*name)).count()
        as u64
}
