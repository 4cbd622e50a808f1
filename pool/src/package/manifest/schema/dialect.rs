//! Which JSON Schema a schema is written in, and whether it is one: a schema enters, its dialect leaves.

use jsonschema::{Draft, draft7, draft201909, draft202012};
use serde_json::Value;

use super::{SchemaFault, misfit};

/// The versions of JSON Schema that are offered. Older ones differ in what stands beside `$id` and `$ref`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Draft 7.
    Seven,
    /// 2019-09.
    Nineteen,
    /// 2020-12.
    Twenty,
}

impl Dialect {
    /// What `$schema` asks for; 2020-12 if it asks for nothing.
    pub(super) fn of(schema: &Value) -> Result<Self, SchemaFault> {
        let asked = match schema.get("$schema") {
            None => return Ok(Self::Twenty),
            Some(Value::String(asked)) => asked.trim_end_matches('#'),
            Some(_) => return Err(SchemaFault::new("/$schema", "it is no text")),
        };
        match asked {
            "https://json-schema.org/draft/2020-12/schema" => Ok(Self::Twenty),
            "https://json-schema.org/draft/2019-09/schema" => Ok(Self::Nineteen),
            "http://json-schema.org/draft-07/schema" | "https://json-schema.org/draft-07/schema" => {
                Ok(Self::Seven)
            }
            _ => {
                let asked: String = asked.chars().take(100).collect();
                let reason =
                    format!("{asked:?} is not offered; JSON Schema 2020-12, 2019-09 and draft 7 are");
                Err(SchemaFault::new("/$schema", reason))
            }
        }
    }

    /// Whether a schema is one, by the dialect's own schema of schemas.
    pub(super) fn check(self, schema: &Value) -> Result<(), SchemaFault> {
        let checked = match self {
            Self::Seven => draft7::meta::validate(schema),
            Self::Nineteen => draft201909::meta::validate(schema),
            Self::Twenty => draft202012::meta::validate(schema),
        };
        checked.map_err(|error| SchemaFault::new(error.instance_path().as_str(), misfit::shortened(&error)))
    }

    /// The name that the validator has for it.
    pub(super) const fn draft(self) -> Draft {
        match self {
            Self::Seven => Draft::Draft7,
            Self::Nineteen => Draft::Draft201909,
            Self::Twenty => Draft::Draft202012,
        }
    }

    /// The keywords by which a schema refers to another one.
    pub(super) const fn references(self) -> &'static [&'static str] {
        match self {
            Self::Seven => &["$ref"],
            Self::Nineteen => &["$ref", "$recursiveRef"],
            Self::Twenty => &["$ref", "$dynamicRef"],
        }
    }

    /// Whether everything beside a `$ref` is without effect.
    pub(super) fn is_ref_alone(self) -> bool {
        self == Self::Seven
    }
}
