//! A schema as a graph: a document enters, every schema in it leaves with those that it applies, or the reason why
//! there is no end to them.
//!
//! A schema applies others *here*, to the same value (`$ref`, `allOf`, `anyOf`, `oneOf`, `not`, `if`…), or *below*, to
//! parts of it. What is below comes to an end with the value. What is here must come to an end by itself: no schema may
//! lead back to itself, nor through more than [`MAX_HEIGHT`] others, nor to more than [`MAX_VISITS`].

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{
    SchemaFault,
    dialect::Dialect,
    reference::{Reference, escaped},
};

/// Most schemas that one value may meet. A union of a hundred models with all their bases has less than a thousand.
const MAX_VISITS: u64 = 10_000;

/// How deep they may be within each other; each takes some stack.
const MAX_HEIGHT: u32 = 64;

/// Where the schemas of a keyword are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// To the same value.
    Here,
    /// To some parts of it.
    Below,
    /// To each part of it.
    Each,
    /// Nowhere, until a reference leads to them.
    Aside,
}

/// `(keyword, role, whether its schemas have names)`. Those of all drafts: a draft that does not know one ignores it,
/// and is bounded a little too strictly.
const KEYWORDS: &[(&str, Role, bool)] = &[
    ("allOf", Role::Here, false),
    ("anyOf", Role::Here, false),
    ("oneOf", Role::Here, false),
    ("not", Role::Here, false),
    ("if", Role::Here, false),
    ("then", Role::Here, false),
    ("else", Role::Here, false),
    ("dependentSchemas", Role::Here, true),
    ("dependencies", Role::Here, true),
    ("properties", Role::Below, true),
    ("prefixItems", Role::Below, false),
    ("patternProperties", Role::Each, true),
    ("additionalProperties", Role::Each, false),
    ("propertyNames", Role::Each, false),
    ("items", Role::Each, false),
    ("additionalItems", Role::Each, false),
    ("contains", Role::Each, false),
    ("unevaluatedItems", Role::Each, false),
    ("unevaluatedProperties", Role::Each, false),
    ("$defs", Role::Aside, true),
    ("definitions", Role::Aside, true),
    ("contentSchema", Role::Aside, false),
];

/// Keywords whose value is data: no schema is in it.
const DATA: &[&str] = &["const", "enum", "default", "examples"];

/// A schema within a document.
#[derive(Debug)]
pub(super) struct Node<'a> {
    /// JSON Pointer to it.
    pub(super) place: String,
    /// What stands there.
    pub(super) schema: &'a Value,
    /// The schema that it refers to.
    pub(super) target: Option<usize>,
    /// Those that it applies to the same value, the target included.
    pub(super) here: Vec<usize>,
    /// Those that it applies to some parts of it.
    pub(super) below: Vec<usize>,
    /// Those that it applies to each part of it.
    pub(super) each: Vec<usize>,
}

/// A document and its schemas; the first one is the whole.
#[derive(Debug)]
pub(super) struct Outline<'a> {
    pub(super) document: &'a Value,
    pub(super) nodes: Vec<Node<'a>>,
    by_place: HashMap<String, usize>,
}

/// Finds all schemas of a document and bounds them.
pub(super) fn read(document: &Value, dialect: Dialect) -> Result<Outline<'_>, SchemaFault> {
    let mut outline = Outline { document, nodes: Vec::new(), by_place: HashMap::new() };
    outline.node(String::new(), document);
    let mut references = Vec::new();
    let mut anchors = HashMap::new();
    let mut at = 0;
    // Nodes are found while they are visited. A place that a reference names may be one that no keyword leads to.
    while let Some(node) = outline.nodes.get(at) {
        let (place, schema) = (node.place.clone(), node.schema);
        if let Value::Object(entries) = schema {
            identity(&place, entries)?;
            for keyword in ["$anchor", "$dynamicAnchor"] {
                if let Some(Value::String(name)) = entries.get(keyword) {
                    anchors.entry(name.as_str()).or_insert(at);
                }
            }
            outline.children(at, &place, entries, dialect);
            if let Some(reference) = reference(&place, entries, dialect)? {
                if let Reference::Place(target) = &reference {
                    outline.refer(&place, target)?;
                }
                references.push((at, reference));
            }
        }
        at += 1;
    }
    for (from, reference) in references {
        let (target, name) = match &reference {
            Reference::Place(target) => (outline.by_place.get(target).copied(), target.as_str()),
            Reference::Anchor(name) => (anchors.get(name.as_str()).copied(), name.as_str()),
        };
        let Some(node) = outline.nodes.get_mut(from) else { continue };
        let Some(target) = target else {
            return Err(SchemaFault::new(&node.place, format!("there is no {name:?} in this document")));
        };
        node.target = Some(target);
        node.here.push(target);
    }
    outline.bound()?;
    Ok(outline)
}

/// Parts of a document with a name of their own would make it several documents.
fn identity(place: &str, entries: &Map<String, Value>) -> Result<(), SchemaFault> {
    if place.is_empty() || !matches!(entries.get("$id"), Some(Value::String(_))) {
        return Ok(());
    }
    Err(SchemaFault::new(format!("{place}/$id"), "only the whole schema may have an $id"))
}

fn reference(
    place: &str,
    entries: &Map<String, Value>,
    dialect: Dialect,
) -> Result<Option<Reference>, SchemaFault> {
    let mut found = None;
    for keyword in dialect.references() {
        let Some(Value::String(text)) = entries.get(*keyword) else { continue };
        let fault = |reason: &str| SchemaFault::new(format!("{place}/{keyword}"), reason);
        if found.is_some() {
            return Err(fault("a schema may have one reference; allOf takes more"));
        }
        found = Some(Reference::parse(text).map_err(fault)?);
    }
    Ok(found)
}

impl<'a> Outline<'a> {
    /// The number of the node at a place, made if it is new.
    fn node(&mut self, place: String, schema: &'a Value) -> usize {
        let next = self.nodes.len();
        let at = *self.by_place.entry(place.clone()).or_insert(next);
        if at == next {
            self.nodes.push(Node {
                place,
                schema,
                target: None,
                here: Vec::new(),
                below: Vec::new(),
                each: Vec::new(),
            });
        }
        at
    }

    /// The schema at a place, if there is one.
    pub(super) fn find(&self, place: &str) -> Option<usize> {
        self.by_place.get(place).copied()
    }

    fn children(&mut self, at: usize, place: &str, entries: &'a Map<String, Value>, dialect: Dialect) {
        let alone = dialect.is_ref_alone() && entries.contains_key("$ref");
        for (keyword, value) in entries {
            let Some((_, role, named)) = KEYWORDS.iter().find(|(name, ..)| name == keyword) else { continue };
            if alone && *role != Role::Aside {
                continue;
            }
            let place = format!("{place}/{keyword}");
            let parts: Vec<(String, &'a Value)> = match value {
                Value::Object(parts) if *named => {
                    parts.iter().map(|(name, part)| (format!("{place}/{}", escaped(name)), part)).collect()
                }
                Value::Array(parts) => parts
                    .iter()
                    .enumerate()
                    .map(|(number, part)| (format!("{place}/{number}"), part))
                    .collect(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                    vec![(place, value)]
                }
            };
            for (place, part) in parts {
                if !matches!(part, Value::Object(_) | Value::Bool(_)) {
                    continue;
                }
                let child = self.node(place, part);
                let Some(node) = self.nodes.get_mut(at) else { continue };
                match role {
                    Role::Here => node.here.push(child),
                    Role::Below => node.below.push(child),
                    Role::Each => node.each.push(child),
                    Role::Aside => {}
                }
            }
        }
    }

    /// Finds the schema that a reference at `from` leads to.
    fn refer(&mut self, from: &str, target: &str) -> Result<(), SchemaFault> {
        if self.by_place.contains_key(target) {
            return Ok(());
        }
        let fault = |reason: String| Err(SchemaFault::new(from, reason));
        match self.document.pointer(target) {
            None => fault(format!("there is no {target:?} in this document")),
            Some(schema @ (Value::Object(_) | Value::Bool(_))) => {
                if target.split('/').any(|token| DATA.contains(&token)) {
                    return fault(format!("what stands at {target:?} is data, not a schema"));
                }
                self.node(target.to_owned(), schema);
                Ok(())
            }
            Some(_) => fault(format!("what stands at {target:?} is no schema")),
        }
    }

    /// Whether there is an end to every schema.
    fn bound(&self) -> Result<(), SchemaFault> {
        let mut reaches = vec![Reach::Unknown; self.nodes.len()];
        for at in 0..self.nodes.len() {
            self.reach(at, 1, &mut reaches)?;
        }
        Ok(())
    }

    fn reach(&self, at: usize, depth: u32, reaches: &mut [Reach]) -> Result<(u64, u32), SchemaFault> {
        let Some(node) = self.nodes.get(at) else { return Ok((0, 0)) };
        let fault = |reason: &str| Err(SchemaFault::new(&node.place, reason));
        match reaches.get(at) {
            Some(Reach::Known { visits, height }) => return Ok((*visits, *height)),
            Some(Reach::Open) => return fault("it refers to itself without an end"),
            Some(Reach::Unknown) | None => {}
        }
        if depth > MAX_HEIGHT {
            return fault("too many schemas within each other are applied to one value (more than 64)");
        }
        set(reaches, at, Reach::Open);
        let (mut visits, mut height) = (1_u64, 0);
        for child in &node.here {
            let (more, higher) = self.reach(*child, depth + 1, reaches)?;
            visits = visits.saturating_add(more);
            height = height.max(higher);
        }
        height += 1;
        if visits > MAX_VISITS {
            return fault("too many schemas are applied to one value (more than 10,000)");
        }
        if height > MAX_HEIGHT {
            return fault("too many schemas within each other are applied to one value (more than 64)");
        }
        set(reaches, at, Reach::Known { visits, height });
        Ok((visits, height))
    }
}

/// What is known of what a schema applies to one value.
#[derive(Debug, Clone, Copy)]
enum Reach {
    Unknown,
    /// It is being looked at.
    Open,
    Known {
        visits: u64,
        height: u32,
    },
}

fn set(reaches: &mut [Reach], at: usize, reach: Reach) {
    if let Some(place) = reaches.get_mut(at) {
        *place = reach;
    }
}

#[cfg(test)]
mod tests;
