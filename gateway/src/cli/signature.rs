//! Whether somebody signed a package that is inspected, and what that is worth here.

use std::{
    ffi::OsString,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use par_pool::package::{Location, Source, Unpacked, signature::named_keys};
use serde_json::{Value, json};

/// What is appended to a package's name, in the order in which `par serve` looks.
const ENDINGS: &[&str] = &["asc", "sig"];

/// Longest signature that is read: one byte more than any that is understood.
const LONGEST: u64 = (64 << 10) + 1;

/// What is known of a package's signature.
pub(super) enum Signed {
    /// There is none beside the package, or nobody looked: the package is not a file.
    No,
    /// There is one, and no key is trusted here that could tell whether it holds.
    Unchecked(Vec<String>),
    /// There is something that is no signature, and none is needed here.
    Unusable(String),
    /// It holds, and a trusted key of this fingerprint made it.
    Verified(String),
}

impl Signed {
    /// Looks. A package of which the signature is required and does not hold has been refused before.
    pub(super) fn of(source: &Source, unpacked: &Unpacked) -> Self {
        if let Some(fingerprint) = unpacked.pin.signer() {
            return Self::Verified(fingerprint.to_owned());
        }
        let Location::File(package) = &source.location else { return Self::No };
        let Some(bytes) = ENDINGS.iter().find_map(|ending| read(&beside(package, ending))) else {
            return Self::No;
        };
        match named_keys(&bytes) {
            Ok(keys) => Self::Unchecked(keys),
            Err(error) => Self::Unusable(error.to_string()),
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::No => json!({"state": "none"}),
            Self::Unchecked(keys) => json!({"state": "unchecked", "keys": keys}),
            Self::Unusable(fault) => json!({"state": "unusable", "fault": fault}),
            Self::Verified(fingerprint) => json!({"state": "verified", "fingerprint": fingerprint}),
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        match self {
            Self::No => "none".to_owned(),
            Self::Unchecked(keys) => format!("by {}, not checked: no keys are trusted here", keys.join(", ")),
            Self::Unusable(fault) => fault.clone(),
            Self::Verified(fingerprint) => format!("verified, by {fingerprint}"),
        }
    }
}

fn beside(package: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(package);
    name.push(".");
    name.push(ending);
    name.into()
}

fn read(file: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
