//! Where a package comes from: a text of the command line, a variable or an index enters, a [`Source`] leaves.
//! Nothing is fetched here; of the file system only the kind of a path is asked.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::Arc,
};

use par_proto::ids::{Digest, IdError};
use url::{Host, Url};

/// What separates a source from the digest that its bytes must have.
const DIGEST_MARK: &str = "#sha256=";

/// Instance metadata services outside the link-local ranges: of EC2 over IPv6, of Alibaba Cloud, of Oracle Cloud.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Names that mean the same; what another name resolves to is not known here.
const METADATA_NAMES: [&str; 2] = ["metadata.google.internal", "metadata.goog"];

/// Where the bytes are.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// An archive on disk.
    File(PathBuf),
    /// A package directory.
    Directory(PathBuf),
    /// `https://…`, or `http://…` of a loopback host.
    Https(Url),
    /// `s3://bucket/key`; the bucket is empty for `s3:///key`, which means the configured one.
    S3 {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
}

/// A place of a package and, if known, the digest of its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// Where the bytes are.
    pub location: Location,
    /// What they must hash to.
    pub sha256: Option<Digest>,
    /// Its detached signature, if somebody said where it is; else it is looked for beside the package.
    pub signature: Option<Signature>,
    /// The source as it was written. It may contain credentials: show [`Source`] itself instead.
    pub given: String,
}

/// Where the detached signature of a package is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// At a place of its own.
    At(Location),
    /// Here: it came with the package.
    Bytes(Arc<[u8]>),
}

/// Why a text is not a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Nothing written.
    #[error("a source is empty")]
    Empty,
    /// What follows `#sha256=` is no digest.
    #[error("the digest of source {shown}: {fault}")]
    Digest {
        /// The source without credentials.
        shown: String,
        /// What is wrong.
        fault: IdError,
    },
    /// Not a URL.
    #[error("source {shown} is not a valid URL: {fault}")]
    Url {
        /// The scheme only: what does not parse cannot be redacted.
        shown: String,
        /// What is wrong.
        fault: url::ParseError,
    },
    /// Clear text to another machine.
    #[error("source {0}: http:// is allowed for loopback hosts only, use https://")]
    ClearText(String),
    /// An address that only this host's cloud answers.
    #[error("source {0}: link-local and instance metadata addresses are refused")]
    LinkLocal(String),
    /// No key in an `s3://` address.
    #[error("source {0} has no key; write s3://bucket/key")]
    S3Key(String),
    /// A scheme that cannot be fetched.
    #[error("source {0} has an unknown scheme; use a path, file://, https:// or s3://")]
    Scheme(String),
    /// A directory that cannot be listed.
    #[error("the directory {directory} cannot be read: {reason}")]
    Directory {
        /// The directory.
        directory: String,
        /// The system's reason.
        reason: String,
    },
}

impl Source {
    /// Reads one source. A path that does not exist is an archive that is missing: fetching it says so.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let given = text.trim();
        let (place, digest) = match given.rfind(DIGEST_MARK) {
            Some(at) => (&given[..at], Some(&given[at + DIGEST_MARK.len()..])),
            None => (given, None),
        };
        if place.is_empty() {
            return Err(SourceError::Empty);
        }
        let location = Location::parse(place)?;
        let sha256 = digest
            .map(str::parse)
            .transpose()
            .map_err(|fault| SourceError::Digest { shown: location.to_string(), fault })?;
        Ok(Self { location, sha256, signature: None, given: given.to_owned() })
    }

    /// Reads one source as the command line means it: a directory without `agent.yaml` stands for each `*.apkg` in
    /// it, by name, and then for each direct subdirectory which has an `agent.yaml`.
    pub fn expand(text: &str) -> Result<Vec<Self>, SourceError> {
        let source = Self::parse(text)?;
        match &source.location {
            Location::Directory(directory) if !directory.join("agent.yaml").is_file() => list(directory),
            Location::Directory(_) | Location::File(_) | Location::Https(_) | Location::S3 { .. } => {
                Ok(vec![source])
            }
        }
    }

    /// The source of a path.
    pub fn path(path: &Path) -> Self {
        let location = if path.is_dir() {
            Location::Directory(path.to_path_buf())
        } else {
            Location::File(path.to_path_buf())
        };
        Self { location, sha256: None, signature: None, given: path.to_string_lossy().into_owned() }
    }
}

fn list(directory: &Path) -> Result<Vec<Source>, SourceError> {
    let unreadable = |error: std::io::Error| SourceError::Directory {
        directory: directory.display().to_string(),
        reason: error.to_string(),
    };
    let mut archives = Vec::new();
    let mut packages = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "apkg") {
            archives.push(path);
        } else if path.join("agent.yaml").is_file() {
            packages.push(path);
        }
    }
    archives.sort();
    packages.sort();
    Ok(archives.iter().chain(&packages).map(|path| Source::path(path)).collect())
}

impl Location {
    fn parse(place: &str) -> Result<Self, SourceError> {
        let Some((scheme, rest)) = place.split_once("://") else {
            return Ok(Self::of_path(Path::new(place)));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => {
                let path =
                    url(place)?.to_file_path().map_err(|()| SourceError::Scheme("file://…".to_owned()))?;
                Ok(Self::of_path(&path))
            }
            "s3" => match rest.split_once('/') {
                Some((bucket, key)) if !key.is_empty() => {
                    Ok(Self::S3 { bucket: bucket.to_owned(), key: key.to_owned() })
                }
                _ => Err(SourceError::S3Key(format!("s3://{rest}"))),
            },
            "https" | "http" => {
                let url = url(place)?;
                check_url(&url)?;
                Ok(Self::Https(url))
            }
            other => Err(SourceError::Scheme(format!("{other}://…"))),
        }
    }

    fn of_path(path: &Path) -> Self {
        if path.is_dir() { Self::Directory(path.to_path_buf()) } else { Self::File(path.to_path_buf()) }
    }
}

fn url(place: &str) -> Result<Url, SourceError> {
    Url::parse(place).map_err(|fault| SourceError::Url {
        shown: format!("{}://…", place.split_once("://").map_or("", |(scheme, _)| scheme)),
        fault,
    })
}

/// Whether only this host and its cloud know an address: link-local, or an instance metadata service.
pub(crate) fn is_hosts_own(address: IpAddr) -> bool {
    let address = match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
    };
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    link_local || METADATA.contains(&address)
}

/// Whether an address may be asked at all: https anywhere but link-local, http on loopback. Redirects pass here too.
pub(crate) fn check_url(url: &Url) -> Result<(), SourceError> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)),
        Some(Host::Domain(_)) | None => None,
    };
    let named = url.host_str().is_some_and(|host| METADATA_NAMES.contains(&host.trim_end_matches('.')));
    if named || address.is_some_and(is_hosts_own) {
        return Err(SourceError::LinkLocal(shown(url)));
    }
    let loopback =
        address.is_some_and(|address| address.is_loopback()) || url.host_str() == Some("localhost");
    match url.scheme() {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        "http" => Err(SourceError::ClearText(shown(url))),
        other => Err(SourceError::Scheme(format!("{other}://…"))),
    }
}

/// A URL as it may be shown: no user, password, query or fragment.
pub(crate) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Https(url) => f.write_str(&shown(url)),
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Without credentials and query.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.location, f)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_path_or_an_address() {
        let digest = "ab".repeat(32);
        let cases = [
            ("/a/b.apkg", "/a/b.apkg", false),
            ("b.apkg", "b.apkg", false),
            ("file:///a/b%20c.apkg", "/a/b c.apkg", false),
            ("https://u:p@h.example:8443/x.apkg?token=s", "https://h.example:8443/x.apkg", false),
            ("http://127.0.0.1:9/x", "http://127.0.0.1:9/x", false),
            ("http://localhost/x", "http://localhost/x", false),
            ("http://[::1]/x", "http://[::1]/x", false),
            ("s3://b/k/x.apkg", "s3://b/k/x.apkg", false),
            ("s3:///k", "s3:///k", false),
            (&format!("b#1.apkg#sha256={digest}"), "b#1.apkg", true),
            (&format!("https://h/x?y=1#sha256={digest}"), "https://h/x", true),
        ];
        for (text, shown, digested) in cases {
            let source = Source::parse(text).unwrap();
            assert_eq!(source.to_string(), shown, "{text}");
            assert_eq!(format!("{source:?}"), shown, "{text}");
            assert_eq!(source.sha256.is_some(), digested, "{text}");
        }
    }

    #[test]
    fn what_must_not_be_fetched_is_no_source() {
        for text in [
            "",
            "  ",
            "http://example.com/x",
            "http://127.0.0.1.example.com/",
            "ftp://h/x",
            "s3://bucket",
            "s3://b/",
            "https://169.254.169.254/x",
            "http://[::ffff:169.254.1.1]/x",
            "https://[fe80::1]/x",
            "https://[fd00:ec2::254]/x",
            "https://100.100.100.200/x",
            "https://metadata.google.internal./x",
            "https://",
            "a#sha256=12",
        ] {
            assert!(Source::parse(text).is_err(), "{text:?}");
        }
        let error = Source::parse("http://user:secret@example.com/x?token=secret").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn a_directory_without_a_manifest_stands_for_the_packages_in_it() {
        let directory = tempfile::tempdir().unwrap();
        for file in ["b.apkg", "a.apkg", "notes.txt"] {
            std::fs::write(directory.path().join(file), "x").unwrap();
        }
        for package in ["z", "c", "empty"] {
            std::fs::create_dir(directory.path().join(package)).unwrap();
        }
        for package in ["z", "c"] {
            std::fs::write(directory.path().join(package).join("agent.yaml"), "x").unwrap();
        }
        let names = |sources: Vec<Source>| -> Vec<String> {
            let root = format!("{}/", directory.path().display());
            sources.iter().map(|source| source.to_string().replace(&root, "")).collect()
        };
        let text = directory.path().to_str().unwrap();
        assert_eq!(names(Source::expand(text).unwrap()), ["a.apkg", "b.apkg", "c", "z"]);
        assert_eq!(names(Source::expand(&format!("{text}/z")).unwrap()), ["z"]);
    }
}
