//! A text that is to be checked, read once: JSON enters, its value leaves, bounded in memory.
//!
//! A value takes much more room than its text: `1,` are two bytes and become 72, `{"":1},` are seven and become 600.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Most values that are held for one text, where a mapping counts as [`MAPPING`] of them. About 100 MB. The largest
/// body, filled with numbers of ten digits, stays below it.
const MAX_VALUES: usize = 1 << 20;

/// What a mapping takes beside its values: room for four entries and their index.
const MAPPING: usize = 6;

/// What is told of a text with more values than that.
pub(super) const TOO_MANY: &str = "it has more values than are checked against a schema (1,048,576)";

/// A text as values.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) value: Value,
    /// The longest JSON Pointer into it, in bytes, without what escaping adds.
    pub(super) longest_path: usize,
}

/// Why a text cannot be read.
#[derive(Debug)]
pub(super) enum ReadError {
    Syntax(serde_json::Error),
    TooMany,
}

impl Instance {
    /// Reads a text whole. Nesting ends at 128, where the parser ends.
    pub(super) fn read(text: &str) -> Result<Self, ReadError> {
        let count = Count { left: Cell::new(MAX_VALUES), longest_path: Cell::new(0) };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = Reader { count: &count, path: 0 }.deserialize(&mut deserializer);
        match read.and_then(|value| deserializer.end().map(|()| value)) {
            Ok(value) => Ok(Self { value, longest_path: count.longest_path.get() }),
            Err(_) if count.left.get() == 0 => Err(ReadError::TooMany),
            Err(error) => Err(ReadError::Syntax(error)),
        }
    }
}

struct Count {
    left: Cell<usize>,
    longest_path: Cell<usize>,
}

impl Count {
    fn take<E: serde::de::Error>(&self, values: usize) -> Result<(), E> {
        self.left.set(self.left.get().saturating_sub(values));
        if self.left.get() == 0 { Err(E::custom(TOO_MANY)) } else { Ok(()) }
    }
}

/// Reads the value at a path of so many bytes.
#[derive(Clone, Copy)]
struct Reader<'a> {
    count: &'a Count,
    path: usize,
}

impl Reader<'_> {
    fn below(self, name: usize) -> Self {
        Self { path: self.path + 1 + name, ..self }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count.take(1)?;
        self.count.longest_path.set(self.count.longest_path.get().max(self.path));
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
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

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        // A place in a list has up to seven digits.
        while let Some(item) = items.next_element_seed(self.below(7))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.count.take(MAPPING)?;
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self.below(name.len()))?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_the_usual_reader_reads() {
        for text in [
            "null",
            " [1, -2, 3.5, 18446744073709551615, 1e3, \"a\\u00e9\", true, {\"a\": {\"a~/b\": []}}] ",
            "{\"a\": 1, \"a\": 2}",
            "123456789012345678901234567890",
        ] {
            let read = Instance::read(text).unwrap().value;
            assert_eq!(read, serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        for broken in ["", "{", "[1,]", "{} {}", "NaN", "\u{feff}1", "{1: 2}"] {
            assert!(matches!(Instance::read(broken), Err(ReadError::Syntax(_))), "{broken}");
        }
        let deep = "[".repeat(200_000);
        assert!(matches!(Instance::read(&deep), Err(ReadError::Syntax(_))));
    }

    #[test]
    fn small_texts_cannot_take_much_room() {
        let numbers = |count: usize| format!("[{}1]", "1,".repeat(count));
        assert!(Instance::read(&numbers(1_000_000)).is_ok());
        assert!(matches!(Instance::read(&numbers(1_100_000)), Err(ReadError::TooMany)));
        let mappings = |count: usize| format!("[{}1]", "{},".repeat(count));
        assert!(Instance::read(&mappings(140_000)).is_ok());
        assert!(matches!(Instance::read(&mappings(160_000)), Err(ReadError::TooMany)));
    }

    #[test]
    fn the_longest_path_is_known() {
        let path = |text: &str| Instance::read(text).unwrap().longest_path;
        assert_eq!(path("1"), 0);
        assert_eq!(path("{\"abc\": {\"de\": 1}, \"z\": 2}"), "/abc/de".len());
        assert_eq!(path("[{\"a\": 1}]"), "/1234567/a".len());
    }
}
