//! The index of a registry: its bytes enter, entries that can be brought in leave, and the faults of those
//! that cannot. One bad entry does not stop the others; bytes that are no index at all are refused whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use par_proto::ids::{Digest, PackageId};
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::entry::{Entry, EntryFault, object};
use crate::package::source::Location;

#[cfg(test)]
mod tests;

/// Largest index in bytes: 60,000 entries of 280 bytes, where a host mounts 100 packages by default. What is
/// read is in memory several times, so half a gigabyte of index would be a host without memory; fetching
/// stops here too.
pub const LARGEST: usize = 16 << 20;

/// Most entries of an index: more than fit into [`LARGEST`] with names and addresses as people choose them.
/// Without it an index of `0,0,0,…` would become five million sentences.
const MOST_ENTRIES: usize = 100_000;

/// Deepest nesting of an index; entries need three levels, and labels of a publisher a few more. What is
/// nested as if to exhaust a reader was not written by a registry, so nothing of it is believed.
const DEEPEST: usize = 64;

/// What an index says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// What can be brought in, in the order of the index; each name and version once.
    pub entries: Vec<Entry>,
    /// What cannot, in the order of the index.
    pub faults: Vec<EntryFault>,
}

/// Why bytes are no index. The sources quote the index, which may contain credentials: they are for the log.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Over [`LARGEST`].
    #[error("the index has {0} bytes; at most {LARGEST} are read")]
    TooLarge(usize),
    /// Not text.
    #[error("the index is not UTF-8")]
    Encoding(#[source] std::str::Utf8Error),
    /// Not JSON.
    #[error("the index is not valid JSON (line {}, column {})", .0.line(), .0.column())]
    Json(#[source] serde_json::Error),
    /// JSON, but something else.
    #[error("the index is not of the form {{\"version\": 1, \"packages\": [...]}}")]
    Shape(#[source] Option<serde_json::Error>),
    /// A form that is not known here.
    #[error("the index has version {0}; only version 1 is understood")]
    Version(String),
    /// Nested deeper than [`DEEPEST`].
    #[error("the index is nested deeper than {DEEPEST} levels")]
    Depth,
    /// Over the limit of entries.
    #[error("the index has more than {MOST_ENTRIES} entries")]
    Entries,
}

#[derive(Deserialize)]
struct RawIndex<'a> {
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    #[serde(borrow)]
    packages: Option<&'a RawValue>,
}

/// `packages`, not looked into, up to the limit.
struct RawEntries<'a> {
    entries: Vec<&'a RawValue>,
    cut_off: bool,
}

impl Index {
    /// Reads an index that was found at `base`. Unknown fields are ignored.
    pub fn parse(bytes: &[u8], base: &Location) -> Result<Self, IndexError> {
        if bytes.len() > LARGEST {
            return Err(IndexError::TooLarge(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(IndexError::Encoding)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // Values stay text until they are needed: checking text for being JSON takes no stack, however deep
        // it is.
        let whole: &RawValue = serde_json::from_str(text).map_err(IndexError::Json)?;
        if depth(whole.get()) > DEEPEST {
            return Err(IndexError::Depth);
        }
        let raw: RawIndex<'_> = object(whole).map_err(IndexError::Shape)?;
        match raw.version.map(RawValue::get) {
            Some("1") => {}
            Some(other) => return Err(IndexError::Version(other.chars().take(32).collect())),
            None => return Err(IndexError::Shape(None)),
        }
        let packages = raw.packages.ok_or(IndexError::Shape(None))?;
        let packages: RawEntries<'_> =
            serde_json::from_str(packages.get()).map_err(|error| IndexError::Shape(Some(error)))?;
        if packages.cut_off {
            return Err(IndexError::Entries);
        }
        let mut index = Self::default();
        for (position, raw) in packages.entries.into_iter().enumerate() {
            match Entry::parse(position, raw, base) {
                Ok(entry) => index.entries.push(entry),
                Err(fault) => index.faults.push(fault),
            }
        }
        index.settle_repetitions();
        Ok(index)
    }

    /// Of the same name and version twice the first stands, if both are the same bytes. Otherwise nobody can
    /// say which was meant, and none of them stands.
    fn settle_repetitions(&mut self) {
        let id = |entry: &Entry| PackageId { name: entry.name.clone(), version: entry.version.clone() };
        let mut digests: BTreeMap<PackageId, BTreeSet<Digest>> = BTreeMap::new();
        for entry in &self.entries {
            digests.entry(id(entry)).or_default().insert(entry.sha256);
        }
        let mut stands = BTreeSet::new();
        for entry in std::mem::take(&mut self.entries) {
            let id = id(&entry);
            if digests.get(&id).is_some_and(|digests| digests.len() > 1) {
                self.faults.push(entry.fault("this name and version is listed with different digests"));
            } else if stands.insert(id) {
                self.entries.push(entry);
            }
        }
        self.faults.sort_by_key(|fault| fault.position);
    }
}

/// How deep valid JSON is nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl<'de> Deserialize<'de> for RawEntries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = RawEntries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut raw = RawEntries { entries: Vec::new(), cut_off: false };
                while let Some(entry) = list.next_element::<&RawValue>()? {
                    if raw.entries.len() < MOST_ENTRIES {
                        raw.entries.push(entry);
                    } else {
                        raw.cut_off = true;
                    }
                }
                Ok(raw)
            }
        }

        deserializer.deserialize_seq(List)
    }
}
