//! Names in an archive: text that a stranger wrote enters, a path that is safe below the root leaves.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;

use super::{MAX_ENTRIES, UnpackError};

/// Longest path in bytes; with the store's own prefix it stays far below PATH_MAX.
const MAX_PATH: usize = 1024;
/// Longest component in bytes: what file systems take.
const MAX_COMPONENT: usize = 255;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// A directory that only the path of something else implies.
    Implied,
}

/// The paths of an archive so far, by the form in which some file system would confuse them.
#[derive(Debug, Default)]
pub(super) struct Names {
    seen: HashMap<String, (String, Kind)>,
}

impl Names {
    /// Checks a name and takes it in. What leaves has no `.`, no `..`, no doubled or trailing slash.
    pub(super) fn admit(&mut self, name: &str, kind: Kind) -> Result<String, UnpackError> {
        let path = clean(name)?;
        if path.is_empty() {
            // `./` itself: the root.
            return match kind {
                Kind::Directory | Kind::Implied => Ok(path),
                Kind::File => Err(UnpackError::name(name, "is empty")),
            };
        }
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends {
            self.enter(path.get(..end).unwrap_or_default(), Kind::Implied)?;
        }
        self.enter(&path, kind)?;
        Ok(path)
    }

    fn enter(&mut self, path: &str, kind: Kind) -> Result<(), UnpackError> {
        let full = self.seen.len() >= MAX_ENTRIES;
        match self.seen.get_mut(&folded(path)) {
            None if full => Err(UnpackError::Entries),
            None => {
                self.seen.insert(folded(path), (path.to_owned(), kind));
                Ok(())
            }
            Some((other, _)) if other != path => {
                Err(UnpackError::Collision { one: other.clone(), other: path.to_owned() })
            }
            Some((_, before)) => match (*before, kind) {
                (Kind::File, Kind::File) | (Kind::Directory, Kind::Directory) => {
                    Err(UnpackError::Duplicate(path.to_owned()))
                }
                (Kind::File, Kind::Directory | Kind::Implied)
                | (Kind::Directory | Kind::Implied, Kind::File) => {
                    Err(UnpackError::FileAndDirectory(path.to_owned()))
                }
                (Kind::Implied, Kind::Directory) => {
                    *before = Kind::Directory;
                    Ok(())
                }
                (Kind::Implied | Kind::Directory, Kind::Implied) => Ok(()),
            },
        }
    }
}

fn clean(name: &str) -> Result<String, UnpackError> {
    let refuse = |what| Err(UnpackError::name(name, what));
    if name.len() > MAX_PATH {
        return refuse("is longer than 1024 bytes");
    }
    if name.starts_with('/') {
        return refuse("is absolute");
    }
    if name.contains('\\') {
        return refuse("contains a backslash");
    }
    if name.chars().any(char::is_control) {
        return refuse("contains a control character");
    }
    let mut bytes = name.bytes();
    if bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic()) && bytes.next() == Some(b':') {
        return refuse("begins with a drive letter");
    }
    let mut parts = Vec::new();
    for part in name.strip_suffix('/').unwrap_or(name).split('/') {
        match part {
            "" => return refuse("has an empty component"),
            ".." => return refuse("leads out of the package"),
            "." => {}
            _ if part.len() > MAX_COMPONENT => return refuse("has a component longer than 255 bytes"),
            _ => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// One form for all spellings that a file system may take for the same: composed, case folded (upper, then lower,
/// which joins `ß` and `SS` as case folding does), composed again.
fn folded(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    let upper: String = path.nfc().flat_map(char::to_uppercase).collect();
    upper.chars().flat_map(char::to_lowercase).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_package_are_refused() {
        let long = format!("{}/x", "a/".repeat(512));
        let wide = "a".repeat(256);
        for name in [
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/..",
            "..",
            "C:/x",
            "c:x",
            "a\\b",
            "..\\x",
            "a\0b",
            "a\nb",
            "a//b",
            "",
            "//x",
            "\u{7f}",
            &long,
            &wide,
        ] {
            assert!(Names::default().admit(name, Kind::File).is_err(), "{name:?}");
        }
        for (name, path) in [("a/b.py", "a/b.py"), ("./a", "a"), ("a..b/...", "a..b/..."), ("ü/ß", "ü/ß")]
        {
            assert_eq!(Names::default().admit(name, Kind::File).unwrap(), path);
        }
        assert_eq!(Names::default().admit("a/b/", Kind::Directory).unwrap(), "a/b");
    }

    #[test]
    fn names_that_some_file_system_confuses_are_refused() {
        use Kind::{Directory, File};
        let refused = [
            [("a", File), ("a", File)],
            [("a/", Directory), ("./a/", Directory)],
            [("A", File), ("a", File)],
            [("Src/x", File), ("src/y", File)],
            [("é", File), ("e\u{301}", File)],
            [("straße", File), ("STRASSE", File)],
            [("a", File), ("a/b", File)],
            [("a/b", File), ("a", File)],
            [("a/", Directory), ("a", File)],
        ];
        for [(one, one_kind), (other, other_kind)] in refused {
            let mut names = Names::default();
            names.admit(one, one_kind).unwrap();
            assert!(names.admit(other, other_kind).is_err(), "{one} {other}");
        }
        let mut names = Names::default();
        for (name, kind) in
            [("a/b", File), ("a/", Directory), ("a/c/", Directory), ("a/c/d", File), ("./", Directory)]
        {
            names.admit(name, kind).unwrap();
        }
    }
}
