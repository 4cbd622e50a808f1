//! Where an entry of an index points: a text and the place of the index enter, a location that may be asked
//! leaves. Of the file system only the kind and the real path of a file below the index are asked.

use std::path::{Component, Path, PathBuf};

use par_proto::ids::Digest;
use url::Url;

use crate::package::source::{Location, Source, SourceError, check_url};

/// What a server or a proxy between us and it may decode to `.`, `/`, `\`, NUL, or to the `%` of one of them.
const ENCODED: [&str; 5] = ["%2e", "%2f", "%5c", "%00", "%25"];

/// Why an entry may not point there: the end of a sentence that begins with the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlaceError {
    /// Nothing written.
    #[error("is empty")]
    Empty,
    /// Line breaks and the like: URL parsers drop some of them, so that what is checked is not what is asked.
    #[error("contains a control character")]
    Control,
    /// An index does not say which files of this host are read.
    #[error("file:// is refused; an index names https:// or s3:// addresses, or files below its folder")]
    File,
    /// An address that is refused everywhere.
    #[error("is refused: {0}")]
    Source(SourceError),
    /// Neither a known scheme nor a path.
    #[error("has an unknown scheme; use https://, s3:// or a path relative to the index")]
    Scheme,
    /// `/x`, `//host/x`.
    #[error("begins with a slash; a path is relative to the folder of the index")]
    Rooted,
    /// `\` is a slash to some.
    #[error("contains a backslash")]
    Backslash,
    /// `%2e%2e` and its relatives.
    #[error("contains an encoded dot, slash, backslash, percent sign or NUL")]
    Encoded,
    /// `..`, `.`, or an empty part.
    #[error("leaves the folder of the index, or has an empty or dotted part")]
    Leaves,
    /// A fragment.
    #[error("contains a #")]
    Fragment,
    /// A link that leads elsewhere.
    #[error("is a link out of the folder of the index")]
    Link,
    /// A directory, a pipe, a device.
    #[error("is not a file")]
    Kind,
    /// The index itself is nowhere.
    #[error("cannot be resolved: the folder of the index is not known")]
    Folder,
}

/// Resolves what an index at `base` says. The digest is the one behind `#sha256=` of an absolute address, if
/// any.
pub(super) fn resolve(text: &str, base: &Location) -> Result<(Location, Option<Digest>), PlaceError> {
    if text.is_empty() {
        return Err(PlaceError::Empty);
    }
    if text.chars().any(char::is_control) {
        return Err(PlaceError::Control);
    }
    if let Some((scheme, _)) = text.split_once("://")
        && !scheme.contains('/')
    {
        return absolute(scheme, text);
    }
    relative(text, base).map(|location| (location, None))
}

fn absolute(scheme: &str, text: &str) -> Result<(Location, Option<Digest>), PlaceError> {
    if scheme.trim().eq_ignore_ascii_case("file") {
        return Err(PlaceError::File);
    }
    let source = Source::parse(text).map_err(PlaceError::Source)?;
    let location = match source.location {
        Location::Https(mut url) => {
            url.set_fragment(None);
            Location::Https(url)
        }
        Location::S3 { bucket, key } => {
            if key.split('/').any(dotted) {
                return Err(PlaceError::Leaves);
            }
            Location::S3 { bucket, key }
        }
        Location::File(_) | Location::Directory(_) => return Err(PlaceError::File),
    };
    Ok((location, source.sha256))
}

fn dotted(part: &str) -> bool {
    matches!(part, "." | "..")
}

fn relative(text: &str, base: &Location) -> Result<Location, PlaceError> {
    let text = text.strip_prefix("./").unwrap_or(text);
    if text.starts_with('/') {
        return Err(PlaceError::Rooted);
    }
    if text.contains('\\') {
        return Err(PlaceError::Backslash);
    }
    let lower = text.to_ascii_lowercase();
    if ENCODED.iter().any(|encoded| lower.contains(encoded)) {
        return Err(PlaceError::Encoded);
    }
    // Only an address can have a query; in a key and in a file's name the mark is a letter like others.
    let path = match base {
        Location::Https(_) => text.split_once('?').map_or(text, |(path, _)| path),
        Location::File(_) | Location::Directory(_) | Location::S3 { .. } => text,
    };
    if path.split('/').any(|part| part.is_empty() || dotted(part.trim())) {
        return Err(PlaceError::Leaves);
    }
    if path.split('/').next().is_some_and(|first| first.contains(':')) {
        return Err(PlaceError::Scheme);
    }
    match base {
        Location::Https(index) => beside_address(text, index).map(Location::Https),
        Location::S3 { bucket, key } => {
            let folder = key.rfind('/').and_then(|at| key.get(..=at)).unwrap_or_default();
            Ok(Location::S3 { bucket: bucket.clone(), key: format!("{folder}{text}") })
        }
        Location::File(index) => {
            let index = std::path::absolute(index).map_err(|_| PlaceError::Folder)?;
            below(index.parent().ok_or(PlaceError::Folder)?, text).map(Location::File)
        }
        Location::Directory(folder) => {
            let folder = std::path::absolute(folder).map_err(|_| PlaceError::Folder)?;
            below(&folder, text).map(Location::File)
        }
    }
}

/// The query of the index, which may be its permit, does not go along.
fn beside_address(text: &str, index: &Url) -> Result<Url, PlaceError> {
    if text.contains('#') {
        return Err(PlaceError::Fragment);
    }
    // With the dot in front nothing in `text` can be read as a scheme or a host.
    let url = index.join(&format!("./{text}")).map_err(|_| PlaceError::Leaves)?;
    let folder = index.path().rfind('/').and_then(|at| index.path().get(..=at)).unwrap_or("/");
    if url.origin() != index.origin() || !url.path().starts_with(folder) || url.path().len() == folder.len() {
        return Err(PlaceError::Leaves);
    }
    check_url(&url).map_err(PlaceError::Source)?;
    Ok(url)
}

/// A file that is not there yet may come: fetching it says so. One that is there must lie where it seems to
/// lie.
fn below(folder: &Path, text: &str) -> Result<PathBuf, PlaceError> {
    let path = folder.join(text);
    let plain = Path::new(text).components().all(|part| matches!(part, Component::Normal(_)));
    if !plain {
        return Err(PlaceError::Leaves);
    }
    if let (Ok(real), Ok(folder)) = (path.canonicalize(), folder.canonicalize()) {
        if !real.starts_with(folder) {
            return Err(PlaceError::Link);
        }
        if !real.is_file() {
            return Err(PlaceError::Kind);
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Location {
        Source::parse(text).unwrap().location
    }

    fn bases() -> [Location; 4] {
        [
            at("https://u:p@h.example/registry/index.json?token=secret"),
            at("s3://bucket/registry/index.json"),
            at("s3:///index.json"),
            Location::File("/srv/registry/index.json".into()),
        ]
    }

    fn resolved(text: &str, base: &Location) -> String {
        match resolve(text, base).unwrap().0 {
            Location::Https(url) => url.to_string(),
            other @ (Location::S3 { .. } | Location::File(_) | Location::Directory(_)) => other.to_string(),
        }
    }

    #[test]
    fn a_relative_place_is_beside_the_index() {
        let [web, s3, configured, file] = bases();
        assert_eq!(resolved("a-1.apkg", &web), "https://u:p@h.example/registry/a-1.apkg");
        assert_eq!(resolved("./a/b+c 1.apkg?v=2", &web), "https://u:p@h.example/registry/a/b+c%201.apkg?v=2");
        assert_eq!(resolved("a/b c%20d?.apkg", &s3), "s3://bucket/registry/a/b c%20d?.apkg");
        assert_eq!(resolved("a.apkg", &configured), "s3:///a.apkg");
        assert_eq!(resolved("./a/b.apkg", &file), "/srv/registry/a/b.apkg");
    }

    #[test]
    fn an_absolute_place_is_taken_if_it_may_be_asked() {
        for base in bases() {
            for text in ["https://other.example/x.apkg?t=1", "http://127.0.0.1:9/x", "s3://b/k", "s3:///k"] {
                assert_eq!(resolved(text, &base), text);
            }
        }
    }

    #[test]
    fn a_place_outside_is_refused_with_its_reason() {
        use PlaceError::{Backslash, Control, Empty, Encoded, File, Leaves, Rooted, Scheme, Source};
        let judged = |text: &str, base: &Location| resolve(text, base).unwrap_err();
        for base in bases() {
            for (text, reason) in [
                ("", Empty),
                ("..", Leaves),
                ("../x", Leaves),
                ("a/../x", Leaves),
                ("a/..", Leaves),
                ("a//x", Leaves),
                ("a/", Leaves),
                (".", Leaves),
                (" ..", Leaves),
                ("././../x", Leaves),
                ("/etc/passwd", Rooted),
                ("//h.example/x", Rooted),
                (".//etc/passwd", Rooted),
                ("..\\x", Backslash),
                ("%2e%2E/x", Encoded),
                (".%2e/x", Encoded),
                ("a%2Fx", Encoded),
                ("%5c", Encoded),
                ("%252e%252e/x", Encoded),
                (".\t./x", Control),
                ("x\n", Control),
                ("file:///etc/passwd", File),
                ("FILE://localhost/etc/passwd", File),
                ("data:x", Scheme),
                ("https:x", Scheme),
                ("s3://b/../k", Leaves),
            ] {
                assert_eq!(judged(text, &base), reason, "{text:?} at {base}");
            }
            for text in [
                "https://169.254.169.254/latest/meta-data",
                "https://[::ffff:a9fe:a9fe]/",
                "https://[fd00:ec2::254]/latest",
                "https://metadata.google.internal/x",
                "http://example.com/x",
                "ftp://h/x",
                "s3://bucket",
            ] {
                assert!(matches!(judged(text, &base), Source(_)), "{text:?} at {base}");
            }
        }
    }

    #[test]
    fn a_link_out_of_the_folder_is_refused_and_one_within_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("registry");
        std::fs::create_dir_all(folder.join("data")).unwrap();
        std::fs::write(directory.path().join("outside.apkg"), "x").unwrap();
        std::fs::write(folder.join("data/inside.apkg"), "x").unwrap();
        std::os::unix::fs::symlink("../outside.apkg", folder.join("out.apkg")).unwrap();
        std::os::unix::fs::symlink("data/inside.apkg", folder.join("in.apkg")).unwrap();
        std::os::unix::fs::symlink("..", folder.join("up")).unwrap();
        for base in [Location::File(folder.join("index.json")), Location::Directory(folder.clone())] {
            let resolved = |text| resolve(text, &base).map(|(location, _)| location);
            assert_eq!(resolved("in.apkg"), Ok(Location::File(folder.join("in.apkg"))));
            assert_eq!(resolved("later.apkg"), Ok(Location::File(folder.join("later.apkg"))));
            assert_eq!(resolved("out.apkg"), Err(PlaceError::Link));
            assert_eq!(resolved("up/outside.apkg"), Err(PlaceError::Link));
            assert_eq!(resolved("data"), Err(PlaceError::Kind));
        }
    }

    proptest! {
        #[test]
        fn no_relative_place_leaves_the_folder(
            text in r"([a-z:?# +\t\\/]|\.|%2[eEfF5]|%5[cC]|%252e|\.\./|//|\PC){0,12}",
        ) {
            prop_assume!(!text.contains("://"));
            for base in bases() {
                match resolve(&text, &base) {
                    Ok((Location::Https(url), _)) => {
                        prop_assert_eq!(url.host_str(), Some("h.example"));
                        prop_assert!(url.path().starts_with("/registry/"), "{}", url);
                        prop_assert!(!url.path().split('/').any(dotted), "{}", url);
                        prop_assert!(!url.as_str().contains("secret"), "{}", url);
                    }
                    Ok((Location::S3 { key, .. }, _)) => {
                        let folder = if base == at("s3:///index.json") { "" } else { "registry/" };
                        prop_assert!(key.starts_with(folder), "{}", key);
                        prop_assert!(!key.split('/').any(dotted), "{}", key);
                    }
                    Ok((Location::File(path) | Location::Directory(path), _)) => {
                        prop_assert!(path.starts_with("/srv/registry"), "{}", path.display());
                        prop_assert!(!path.components().any(|part| part == Component::ParentDir));
                    }
                    Err(_) => {}
                }
            }
        }
    }
}
