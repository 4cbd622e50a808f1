//! A schema as it is compiled: outline and prices enter, a validator leaves that pays for what it does, and knows
//! where it is in the source.
//!
//! Every schema `S` that has a price becomes `{"allOf": [{price}, S]}`: keywords of ours come last among the keywords
//! of one schema, and would be passed over whenever one before them fails. The edition that explains also has every
//! `anyOf` and `oneOf` as `{"not": {"not": {…}}}`: asked why a value fits no branch, the validator would tell it for
//! every branch and with a copy of the value in each error, a hundred megabytes for one of input; asked this way it
//! only says that it fits none. Only `unevaluated…` must see which branch fitted: where it is used, branches stay and
//! copies are paid for.

use std::collections::HashMap;

use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value, json};

use super::{
    SchemaFault,
    dialect::Dialect,
    misfit,
    misfit::Misfit,
    outline::{Node, Outline},
    pattern,
    reference::{encoded, escaped},
    unique::Unique,
    work::{KEYWORD, Price},
};

/// A compiled schema.
pub(super) struct Edition {
    pub(super) validator: Validator,
    /// Whether errors of branches are collected, with copies of values.
    pub(super) keeps_branches: bool,
    /// Places of the edition and what they are in the source.
    places: HashMap<String, Origin>,
}

/// What stands at a place.
#[derive(Debug, Clone)]
struct Origin {
    place: String,
    /// The keyword whose branches stand there, as a whole.
    branches: Option<&'static str>,
}

/// Keywords that only a whole document has, or that lead to what is written as a place now.
const IDENTITY: &[&str] =
    &["$schema", "$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", "$comment", KEYWORD];

/// Keywords of branches.
const BRANCHES: &[&str] = &["anyOf", "oneOf"];

/// Formats of the validator that are not asserted: nobody expects them, and some cost more than a look at each letter.
const LET_PASS: &[&str] =
    &["regex", "iri", "iri-reference", "idn-email", "idn-hostname", "uri-template", "relative-json-pointer"];

/// The edition that says whether a value fits.
pub(super) fn judging(
    outline: &Outline<'_>,
    prices: &[Option<Price>],
    dialect: Dialect,
) -> Result<Edition, SchemaFault> {
    write(outline, prices, dialect, true)
}

/// The edition that says why a value does not fit.
pub(super) fn explaining(
    outline: &Outline<'_>,
    prices: &[Option<Price>],
    dialect: Dialect,
) -> Result<Edition, SchemaFault> {
    let sees_branches = |node: &Node<'_>| {
        ["unevaluatedItems", "unevaluatedProperties"].iter().any(|keyword| node.schema.get(keyword).is_some())
    };
    write(outline, prices, dialect, outline.nodes.iter().any(sees_branches))
}

fn write(
    outline: &Outline<'_>,
    prices: &[Option<Price>],
    dialect: Dialect,
    keeps_branches: bool,
) -> Result<Edition, SchemaFault> {
    let mut writer =
        Writer { outline, prices, dialect, keeps_branches, stands: HashMap::new(), places: HashMap::new() };
    // The first time only to learn where everything comes to stand: references lead forward too.
    writer.value(outline.document, "", "");
    let document = writer.value(outline.document, "", "");
    let mut options = jsonschema::options()
        .with_draft(dialect.draft())
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(pattern::options(pattern::LARGEST))
        .with_keyword(KEYWORD, |_, value, _| Ok(Box::new(Price::read(value))))
        .with_keyword("uniqueItems", |_, value, _| Ok(Box::new(Unique(*value == Value::Bool(true)))));
    for format in LET_PASS {
        options = options.with_format(*format, |_| true);
    }
    let places = writer.places;
    let validator = options.build(&document).map_err(|error| {
        SchemaFault::new(origin(&places, error.instance_path().as_str()).0, misfit::shortened(&error))
    })?;
    Ok(Edition { validator, keeps_branches, places })
}

impl Edition {
    /// An error of this validator, with its place in the source.
    pub(super) fn misfit(&self, error: &ValidationError<'_>) -> Misfit {
        let (place, branches) = origin(&self.places, error.schema_path().as_str());
        Misfit::new(error, place, branches)
    }
}

/// What stands at a place of an edition: the nearest place around it that is known leads there.
fn origin(places: &HashMap<String, Origin>, path: &str) -> (String, Option<&'static str>) {
    let mut around = path;
    loop {
        if let Some(origin) = places.get(around) {
            let rest = path.get(around.len()..).filter(|_| origin.branches.is_none()).unwrap_or_default();
            return (format!("{}{rest}", origin.place), origin.branches);
        }
        let Some(end) = around.rfind('/') else { return (path.to_owned(), None) };
        around = around.get(..end).unwrap_or_default();
    }
}

struct Writer<'a> {
    outline: &'a Outline<'a>,
    prices: &'a [Option<Price>],
    dialect: Dialect,
    keeps_branches: bool,
    /// Where the schema of a place of the source stands in the edition.
    stands: HashMap<String, String>,
    places: HashMap<String, Origin>,
}

impl Writer<'_> {
    /// Writes what stands at `source`, to stand at `edition`.
    fn value(&mut self, value: &Value, source: &str, edition: &str) -> Value {
        let outline = self.outline;
        if let Some(at) = outline.find(source) {
            let price = self.prices.get(at).copied().flatten();
            self.stands.insert(source.to_owned(), edition.to_owned());
            self.known(edition, source, None);
            if let (Value::Object(entries), Some(node)) = (value, outline.nodes.get(at)) {
                return self.schema(node, entries, price, edition);
            }
        }
        match value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(at, item)| self.value(item, &format!("{source}/{at}"), &format!("{edition}/{at}")))
                .collect(),
            Value::Object(entries) => entries
                .iter()
                .map(|(name, value)| {
                    let name_in_path = escaped(name);
                    let value = self.value(
                        value,
                        &format!("{source}/{name_in_path}"),
                        &format!("{edition}/{name_in_path}"),
                    );
                    (name.clone(), value)
                })
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }

    fn schema(
        &mut self,
        node: &Node<'_>,
        entries: &Map<String, Value>,
        price: Option<Price>,
        edition: &str,
    ) -> Value {
        let source = node.place.as_str();
        let inner = if price.is_some() { format!("{edition}/allOf/1") } else { edition.to_owned() };
        self.known(&inner, source, None);
        let alone = self.dialect.is_ref_alone() && node.target.is_some();
        let mut own = Map::new();
        let mut apart = Vec::new();
        for (keyword, value) in entries {
            if IDENTITY.contains(&keyword.as_str()) {
                continue;
            }
            if self.dialect.references().contains(&keyword.as_str()) && node.target.is_some() {
                own.insert("$ref".to_owned(), self.reference(node).into());
                continue;
            }
            let place = format!("{source}/{}", escaped(keyword));
            let branches = BRANCHES.iter().find(|name| *name == keyword);
            if let Some(branches) = branches.filter(|_| price.is_some() && !self.keeps_branches && !alone) {
                let stands = format!("{edition}/allOf/{}", apart.len() + 2);
                self.known(&stands, &place, Some(branches));
                let value = self.value(value, &place, &format!("{stands}/definitions/none/not/{branches}"));
                // By reference, since an error holds a copy of what stands after `not`.
                let negation = format!("#{}/definitions/none", encoded(&stands));
                apart.push(json!({
                    "not": {"$ref": negation},
                    "definitions": {"none": {"not": {*branches: value}}},
                }));
                continue;
            }
            let value = self.value(value, &place, &format!("{inner}/{}", escaped(keyword)));
            own.insert(keyword.clone(), value);
        }
        let Some(price) = price else { return Value::Object(own) };
        let mut all = vec![json!({KEYWORD: price.write()}), Value::Object(own)];
        all.append(&mut apart);
        json!({ "allOf": all })
    }

    /// Where the schema that a node refers to stands, as a fragment.
    fn reference(&self, node: &Node<'_>) -> String {
        let target = node.target.and_then(|at| self.outline.nodes.get(at));
        let stands = target.and_then(|target| self.stands.get(&target.place));
        format!("#{}", encoded(stands.map_or("", String::as_str)))
    }

    fn known(&mut self, edition: &str, source: &str, branches: Option<&'static str>) {
        self.places.insert(edition.to_owned(), Origin { place: source.to_owned(), branches });
    }
}
