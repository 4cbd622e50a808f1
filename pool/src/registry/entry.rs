//! One entry of an index: its text enters, a checked [`Entry`] or the [`EntryFault`] that names what is wrong
//! leaves.

use std::fmt;

use par_proto::ids::{Digest, PackageName, Version};
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::place;
use crate::package::source::{Location, Signature, Source};

/// Longest text of a bad entry that a fault repeats, in characters: as long as a name or a version may be.
const SHOWN: usize = 128;

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Place in the index, from 0. A bare agent id belongs to the first package that has it.
    pub position: usize,
    /// The name that the package must have.
    pub name: PackageName,
    /// The version that the package must have.
    pub version: Version,
    /// Digest of the archive; `source.sha256` is the same.
    pub sha256: Digest,
    /// Where it is. `source.given` can be read again by [`Source::parse`], which does not know the signature.
    pub source: Source,
    /// Its bytes, if the index says so; a hint only, the digest decides.
    pub size: Option<u64>,
    /// This version serves, whatever else is there.
    pub active: bool,
    /// Listed at once, fetched and mounted at the first call.
    pub lazy: bool,
}

/// An entry that cannot be brought in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryFault {
    /// Place in the index, from 0.
    pub position: usize,
    /// The name as written, if there is one; cut after 128 characters.
    pub name: Option<String>,
    /// The version as written, if there is one; cut after 128 characters.
    pub version: Option<String>,
    /// Why, in one sentence without credentials.
    pub detail: String,
}

/// The fields stay text until they are looked at: nesting costs no stack, and each wrong one can be named.
#[derive(Deserialize)]
struct RawEntry<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    #[serde(borrow)]
    url: Option<&'a RawValue>,
    #[serde(borrow)]
    sha256: Option<&'a RawValue>,
    #[serde(borrow)]
    signature: Option<&'a RawValue>,
    #[serde(borrow)]
    size: Option<&'a RawValue>,
    #[serde(borrow)]
    active: Option<&'a RawValue>,
    #[serde(borrow)]
    lazy: Option<&'a RawValue>,
}

impl Entry {
    /// Reads the entry at `position` of the index at `base`. Unknown fields are ignored, `null` is as good as
    /// absent.
    pub(super) fn parse(position: usize, raw: &RawValue, base: &Location) -> Result<Self, EntryFault> {
        let raw: RawEntry<'_> = object(raw).map_err(|error| {
            // What is left is a field that is given twice; serde names the field and nothing else.
            let detail = error.map_or("the entry is not an object".to_owned(), |error| error.to_string());
            EntryFault { position, name: None, version: None, detail }
        })?;
        raw.check(position, base).map_err(|detail| {
            let shown = |field: Option<&RawValue>| {
                field.and_then(decoded).map(|text| text.chars().take(SHOWN).collect())
            };
            EntryFault { position, name: shown(raw.name), version: shown(raw.version), detail }
        })
    }

    /// A fault of an entry that reads well by itself.
    pub(super) fn fault(&self, detail: impl Into<String>) -> EntryFault {
        EntryFault {
            position: self.position,
            name: Some(self.name.to_string()),
            version: Some(self.version.to_string()),
            detail: detail.into(),
        }
    }
}

/// `entry 3 (billing@1.4.0): …`, for log lines; counted from 1 as people do.
impl fmt::Display for EntryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}", self.position + 1)?;
        match (&self.name, &self.version) {
            (Some(name), Some(version)) => write!(f, " ({name}@{version})")?,
            (Some(text), None) | (None, Some(text)) => write!(f, " ({text})")?,
            (None, None) => {}
        }
        write!(f, ": {}", self.detail)
    }
}

impl RawEntry<'_> {
    fn check(&self, position: usize, base: &Location) -> Result<Entry, String> {
        let name = text("name", self.name)?.parse::<PackageName>().map_err(|error| error.to_string())?;
        let version = text("version", self.version)?.parse::<Version>().map_err(|error| error.to_string())?;
        let sha256 = text("sha256", self.sha256)?
            .parse::<Digest>()
            .map_err(|error| format!("the field sha256: {error}"))?;
        let (location, said) = place::resolve(&text("url", self.url)?, base)
            .map_err(|error| format!("the field url {error}"))?;
        if said.is_some_and(|said| said != sha256) {
            return Err("the field url has another digest than the field sha256".to_owned());
        }
        let signature = match self.signature {
            Some(_) => {
                let (location, _) = place::resolve(&text("signature", self.signature)?, base)
                    .map_err(|error| format!("the field signature {error}"))?;
                Some(Signature::At(location))
            }
            None => None,
        };
        let size = match self.size {
            Some(size) => Some(size.get().parse().map_err(|_| "the field size is no number of bytes")?),
            None => None,
        };
        let given = written(&location, sha256);
        Ok(Entry {
            position,
            name,
            version,
            sha256,
            source: Source { location, sha256: Some(sha256), signature, given },
            size,
            active: flag("active", self.active)?,
            lazy: flag("lazy", self.lazy)?,
        })
    }
}

/// The fields of an object. A list is none, although its items could be taken for the fields in order.
pub(super) fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, Option<serde_json::Error>> {
    if raw.get().starts_with('{') { serde_json::from_str(raw.get()).map_err(Some) } else { Err(None) }
}

fn decoded(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn text(field: &str, raw: Option<&RawValue>) -> Result<String, String> {
    let raw = raw.ok_or_else(|| format!("the field {field} is missing"))?;
    decoded(raw).ok_or_else(|| format!("the field {field} is not a text"))
}

fn flag(field: &str, raw: Option<&RawValue>) -> Result<bool, String> {
    match raw.map(RawValue::get) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(format!("the field {field} is neither true nor false")),
    }
}

/// A file is written as an address: a path may look like one (`a://b`), and names that are not text survive.
fn written(location: &Location, sha256: Digest) -> String {
    match location {
        Location::Https(url) => format!("{url}#sha256={sha256}"),
        Location::S3 { bucket, key } => format!("s3://{bucket}/{key}#sha256={sha256}"),
        Location::File(path) | Location::Directory(path) => match Url::from_file_path(path) {
            Ok(url) => format!("{url}#sha256={sha256}"),
            // Paths of an index are absolute; one that is not can only be a plain one.
            Err(()) => format!("{}#sha256={sha256}", path.display()),
        },
    }
}
