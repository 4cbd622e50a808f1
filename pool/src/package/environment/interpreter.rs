//! An interpreter: what one says of itself enters, the one that a package wants leaves.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::package::{PullError, Step, manifest::Comparisons, manifest::checked::PythonWanted};

/// The oldest minor that the worker's Python half runs on.
pub(super) const OLDEST: u8 = 9;

/// What each is asked. The base executable, because environments made from environments are fragile.
pub(super) const QUESTION: &str = "import json, sys, sysconfig; print(json.dumps({\
    'path': getattr(sys, '_base_executable', None) or sys.executable, 'version': list(sys.version_info[:3]),\
    'prefix': sys.base_prefix, 'platform': sysconfig.get_platform(), 'tag': sys.implementation.cache_tag}))";

/// A Python that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Interpreter {
    /// Its real path: no shim, no link.
    pub(super) path: PathBuf,
    /// Major, minor, patch.
    pub(super) version: [u8; 3],
    /// Where its standard library is installed.
    pub(super) prefix: PathBuf,
    /// Like `linux-x86_64`.
    pub(super) platform: String,
    /// Like `cpython-311`.
    pub(super) tag: String,
}

impl Interpreter {
    /// What of an interpreter decides whether an environment fits.
    pub(super) fn key(&self) -> String {
        let [major, minor, patch] = self.version;
        format!("{} {major}.{minor}.{patch} {} {}", self.path.display(), self.platform, self.tag)
    }

    /// Major and minor.
    pub(super) fn minor(&self) -> (u8, u8) {
        (self.version[0], self.version[1])
    }

    /// Whether the worker's Python half runs on it.
    pub(super) fn is_usable(&self) -> bool {
        let (major, minor) = self.minor();
        major == 3 && minor >= OLDEST
    }
}

/// Whether what a package wants is surely among these, whatever others there are. They are the first ones, in order.
pub(super) fn is_settled(found: &[Interpreter], wanted: &PythonWanted) -> bool {
    match wanted {
        PythonWanted::Any => !found.is_empty(),
        PythonWanted::Minor(major, minor) => found.iter().any(|have| have.minor() == (*major, *minor)),
        PythonWanted::Range(text) => found.first().is_some_and(|first| is_in(first, text)),
    }
}

fn is_in(have: &Interpreter, range: &str) -> bool {
    Comparisons::parse(range).is_some_and(|accepted| accepted.accept(&have.version.map(u64::from)))
}

/// The interpreter that a package wants, and what is to be said about it.
pub(super) fn choose<'a>(
    found: &'a [Interpreter],
    wanted: &PythonWanted,
) -> Result<(&'a Interpreter, Option<String>), PullError> {
    let Some(first) = found.first() else {
        let detail = "no Python 3.9 or newer was found on this host";
        return Err(
            PullError::refused(Step::Environment, detail).with_hint("install one, or name it in `pythons`")
        );
    };
    let none = |wanted: String| {
        let mut have: Vec<(u8, u8)> = found.iter().map(Interpreter::minor).collect();
        have.sort_unstable();
        let have: Vec<String> = have.iter().map(|(major, minor)| format!("{major}.{minor}")).collect();
        let detail = format!("the package needs Python {wanted}; this host has {}", have.join(", "));
        PullError::refused(Step::Environment, detail)
    };
    match wanted {
        PythonWanted::Any => Ok((first, None)),
        PythonWanted::Minor(major, minor) => {
            let fitting = found.iter().filter(|have| have.version[0] == *major && have.version[1] >= *minor);
            let nearest = fitting.min_by_key(|have| have.version[1]);
            let nearest = nearest.ok_or_else(|| none(format!("{major}.{minor} or newer")))?;
            let warning = (nearest.version[1] != *minor).then(|| {
                format!(
                    "Python {major}.{minor} is wanted but not on this host; {major}.{} is used",
                    nearest.version[1]
                )
            });
            Ok((nearest, warning))
        }
        PythonWanted::Range(text) => {
            let fits = |have: &&Interpreter| is_in(have, text);
            let newest = found.iter().filter(fits).max_by_key(|have| have.minor());
            let chosen = Some(first).filter(fits).or(newest).ok_or_else(|| none(text.clone()))?;
            Ok((chosen, None))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(minor: u8) -> Interpreter {
        Interpreter {
            path: format!("/usr/bin/python3.{minor}").into(),
            version: [3, minor, 2],
            prefix: "/usr".into(),
            platform: "linux-x86_64".to_owned(),
            tag: format!("cpython-3{minor}"),
        }
    }

    #[test]
    fn the_exact_minor_else_the_nearest_newer_never_an_older() {
        let found = [python(11), python(9), python(13)];
        let range = |text: &str| PythonWanted::Range(text.to_owned());
        for (wanted, chosen, warned) in [
            (PythonWanted::Any, Some(11), false),
            (PythonWanted::Minor(3, 9), Some(9), false),
            (PythonWanted::Minor(3, 10), Some(11), true),
            (PythonWanted::Minor(3, 12), Some(13), true),
            (PythonWanted::Minor(3, 14), None, false),
            (range(">=3.8"), Some(11), false),
            (range(">=3.12"), Some(13), false),
            (range("<3.10"), Some(9), false),
            (range(">=3.14"), None, false),
        ] {
            match choose(&found, &wanted) {
                Ok((interpreter, warning)) => {
                    assert_eq!(Some(interpreter.version[1]), chosen, "{wanted:?}");
                    assert_eq!(warning.is_some(), warned, "{wanted:?}");
                }
                Err(error) => {
                    assert_eq!(chosen, None, "{wanted:?}");
                    assert!(error.detail.contains("this host has 3.9, 3.11, 3.13"), "{error}");
                }
            }
        }
        assert!(choose(&[], &PythonWanted::Any).is_err());
    }

    #[test]
    fn what_the_first_ones_settle_is_what_all_would_say() {
        let all = [python(11), python(9), python(13), python(10)];
        let range = |text: &str| PythonWanted::Range(text.to_owned());
        let wanted = [
            PythonWanted::Any,
            PythonWanted::Minor(3, 9),
            PythonWanted::Minor(3, 12),
            range(">=3.10"),
            range(">=3.12"),
        ];
        for wanted in wanted {
            for asked in 0..=all.len() {
                let (first, _) = all.split_at(asked);
                if is_settled(first, &wanted) {
                    assert_eq!(choose(first, &wanted).unwrap(), choose(&all, &wanted).unwrap(), "{wanted:?}");
                }
            }
        }
        assert!(is_settled(&all, &PythonWanted::Minor(3, 10)) && is_settled(&all, &range("<3.12")));
        assert!(!is_settled(&all, &PythonWanted::Minor(3, 12)) && !is_settled(&[], &PythonWanted::Any));
    }
}
