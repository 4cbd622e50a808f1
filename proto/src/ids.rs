//! Identifiers: parsed once where they enter, displayed where they leave, never built from unchecked text.

use std::{fmt, str::FromStr, sync::Arc};

/// Longest name, version or export id in bytes. A package's directory is named after its digest, so this bounds
/// routes and log lines; 128 is twice the longest real name seen.
const MAX_LEN: usize = 128;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A package name outside `^[a-z0-9][a-z0-9._-]*$`.
    #[error("package name {0:?} must match ^[a-z0-9][a-z0-9._-]*$ and be at most 128 bytes")]
    Name(String),
    /// A version with characters that cannot stand in a path or a route.
    #[error("version {0:?} must match ^[A-Za-z0-9][A-Za-z0-9._+-]*$ and be at most 128 bytes")]
    Version(String),
    /// An export id outside `^[A-Za-z0-9][A-Za-z0-9._-]*$`.
    #[error("agent id {0:?} must match ^[A-Za-z0-9][A-Za-z0-9._-]*$ and be at most 128 bytes")]
    Export(String),
    /// Not `name@version`.
    #[error("{0:?} is not name@version")]
    Package(String),
    /// Not `name@version/export`.
    #[error("{0:?} is not name@version/export")]
    Agent(String),
    /// Not 64 hexadecimal digits.
    #[error("{0:?} is not a SHA-256 digest in hexadecimal")]
    Digest(String),
}

fn shaped(text: &str, first: fn(u8) -> bool, rest: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= MAX_LEN
        && bytes.first().is_some_and(|byte| first(*byte))
        && bytes.iter().all(|byte| rest(*byte))
        && !text.contains("..")
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $error:ident, $first:expr, $rest:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if shaped(text, $first, $rest) {
                    Ok(Self(Arc::from(text)))
                } else {
                    Err(IdError::$error(text.chars().take(MAX_LEN).collect()))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// A package's name.
    PackageName, Name,
    |b| b.is_ascii_lowercase() || b.is_ascii_digit(),
    |b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')
);
text_id!(
    /// A package's version, as it was written.
    Version, Version,
    |b| b.is_ascii_alphanumeric(),
    |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+')
);
text_id!(
    /// The id of one export of a package.
    ExportId, Export,
    |b| b.is_ascii_alphanumeric(),
    |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
);

/// `name@version`: one immutable package.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PackageId {
    /// The name.
    pub name: PackageName,
    /// The version.
    pub version: Version,
}

impl FromStr for PackageId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (name, version) = text.split_once('@').ok_or_else(|| IdError::Package(text.to_owned()))?;
        Ok(Self { name: name.parse()?, version: version.parse()? })
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl serde::Serialize for PackageId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PackageId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// `name@version/export`: the full id of an agent.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AgentId {
    /// The package.
    pub package: PackageId,
    /// The export.
    pub export: ExportId,
}

impl FromStr for AgentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (package, export) = text.split_once('/').ok_or_else(|| IdError::Agent(text.to_owned()))?;
        Ok(Self { package: package.parse()?, export: export.parse()? })
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.package, self.export)
    }
}

impl serde::Serialize for AgentId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A SHA-256 digest; displayed as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// A digest from its bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes)
            .map_err(|_| IdError::Digest(text.chars().take(MAX_LEN).collect()))?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether a text may stand as `X-Request-ID`: 1 to 128 of `[A-Za-z0-9._-]`.
pub fn is_request_id(text: &[u8]) -> bool {
    (1..=128).contains(&text.len())
        && text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_never_become_identifiers() {
        for name in ["", "a/b", "..", "a..b", "A", "-a", ".a", "a b", "a\0", "ä", "a@b", &"a".repeat(129)] {
            assert!(name.parse::<PackageName>().is_err(), "{name:?}");
        }
        for version in ["", "../1", "1/2", ".1", "1 2", "1\n", "a..b"] {
            assert!(version.parse::<Version>().is_err(), "{version:?}");
        }
        for export in ["", "a/b", "_x", "..", "a:b"] {
            assert!(export.parse::<ExportId>().is_err(), "{export:?}");
        }
    }

    #[test]
    fn full_ids_round_trip() {
        let id: AgentId = "billing-agents@1.10/sum.marize".parse().unwrap();
        assert_eq!(id.package.version.as_str(), "1.10");
        assert_eq!(id.to_string(), "billing-agents@1.10/sum.marize");
        assert!("billing/sum".parse::<AgentId>().is_err());
        let digest: Digest = "AB".repeat(32).parse().unwrap();
        assert_eq!(digest.to_string(), "ab".repeat(32));
        assert!("ab".parse::<Digest>().is_err());
    }

    #[test]
    fn request_ids_are_bounded() {
        assert!(is_request_id(b"a-B_9."));
        assert!(!is_request_id(b""));
        assert!(!is_request_id(b"a b"));
        assert!(!is_request_id(&[b'a'; 129]));
    }
}
