//! `uniqueItems`: a list enters, whether two of its values are equal leaves.
//!
//! The validator's own check gives `[[1], 2]` and `[[1, 2]]` the same hash and then compares each with each: half a
//! megabyte of brackets kept it busy for minutes.

use std::{
    collections::HashSet,
    hash::{Hash, Hasher},
};

use jsonschema::{Keyword, ValidationError};
use serde_json::{Number, Value};

/// The keyword, if its value is `true`.
pub(super) struct Unique(pub(super) bool);

impl Unique {
    fn fits(&self, value: &Value) -> bool {
        let Value::Array(items) = value else { return true };
        let mut seen = HashSet::with_capacity(if self.0 { items.len() } else { 0 });
        !self.0 || items.iter().all(|item| seen.insert(Hashed(item)))
    }
}

impl<'i> Keyword<'i> for Unique {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.fits(instance) {
            return Ok(());
        }
        Err(ValidationError::custom("the value has elements that are equal"))
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        self.fits(instance)
    }
}

/// A value that is hashed and compared as JSON Schema compares: `1` equals `1.0`, the order of names does not count.
struct Hashed<'a>(&'a Value);

/// A number as it is compared: whole ones exactly.
#[derive(PartialEq, Eq, Hash)]
enum Amount {
    Whole(i128),
    Bits(u64),
}

impl Amount {
    fn of(number: &Number) -> Self {
        /// 2^64: all numbers that are written as whole ones are below.
        const WHOLE: f64 = 18_446_744_073_709_551_616.0;
        if let Some(whole) = number.as_i128() {
            return Self::Whole(whole);
        }
        let float = number.as_f64().unwrap_or(f64::NAN);
        if float.fract() == 0.0 && float.abs() <= WHOLE {
            Self::Whole(float as i128)
        } else {
            Self::Bits(float.to_bits())
        }
    }
}

impl Hash for Hashed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self.0).hash(state);
        match self.0 {
            Value::Null => {}
            Value::Bool(flag) => flag.hash(state),
            Value::Number(number) => Amount::of(number).hash(state),
            Value::String(text) => text.hash(state),
            Value::Array(items) => {
                items.len().hash(state);
                for item in items {
                    Hashed(item).hash(state);
                }
            }
            Value::Object(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_unstable_by_key(|(name, _)| *name);
                entries.len().hash(state);
                for (name, value) in entries {
                    name.hash(state);
                    Hashed(value).hash(state);
                }
            }
        }
    }
}

impl PartialEq for Hashed<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self.0, other.0) {
            (Value::Number(one), Value::Number(other)) => Amount::of(one) == Amount::of(other),
            (Value::Array(one), Value::Array(other)) => {
                one.len() == other.len()
                    && one.iter().zip(other).all(|(one, other)| Hashed(one) == Hashed(other))
            }
            (Value::Object(one), Value::Object(other)) => {
                one.len() == other.len()
                    && one.iter().all(|(name, value)| {
                        other.get(name).is_some_and(|other| Hashed(value) == Hashed(other))
                    })
            }
            (one, other) => one == other,
        }
    }
}

impl Eq for Hashed<'_> {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_equal_as_json_is() {
        for (list, unique) in [
            (json!([]), true),
            (json!([1, 2, "1", true, null, false, [1], {"1": 1}]), true),
            (json!([1, 1.0]), false),
            (json!([0, -0.0]), false),
            (json!([u64::MAX, u64::MAX - 1]), true),
            (json!([0.1, 0.2, 0.1]), false),
            (json!([{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}]), false),
            (json!([{"a": 1}, {"a": 1, "b": 2}]), true),
            (json!([[[1], 2], [1, [2]], [[1, 2]]]), true),
            (json!([[], [[]], [[], []], {}]), true),
            (json!([{}, {}]), false),
            (json!("no list"), true),
        ] {
            assert_eq!(Unique(true).fits(&list), unique, "{list}");
            assert!(Unique(false).fits(&list), "{list}");
        }
    }
}
