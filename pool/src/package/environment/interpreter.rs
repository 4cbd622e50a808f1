//! Interpreters of this host: where they may be enters, the one that a package wants leaves. Each is asked once.

use std::{
    collections::HashSet,
    ffi::OsString,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::tool::Tools;
use crate::package::{PullError, Step, manifest::Comparisons, manifest::checked::PythonWanted};

/// The oldest minor that the worker's Python half runs on.
const OLDEST: u8 = 9;
/// The newest minor looked for by name; newer ones are found as `python3`.
const NEWEST: u8 = 14;
/// Longest answer of an interpreter; one on a slow disk takes a second.
const PATIENCE: Duration = Duration::from_secs(15);
/// What each is asked. The base executable, because environments made from environments are fragile.
const QUESTION: &str = "import json, sys, sysconfig; print(json.dumps({\
    'path': getattr(sys, '_base_executable', None) or sys.executable, 'version': list(sys.version_info[:3]),\
    'prefix': sys.base_prefix, 'platform': sysconfig.get_platform(), 'tag': sys.implementation.cache_tag}))";

/// A Python that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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

    fn minor(&self) -> (u8, u8) {
        (self.version[0], self.version[1])
    }
}

/// Asks all interpreters: those given, else those on PATH, `python3` first.
pub(super) async fn find(given: &[PathBuf], tools: &Tools) -> Vec<Interpreter> {
    let candidates = if given.is_empty() {
        on_path(&std::env::var_os("PATH").unwrap_or_default())
    } else {
        given.to_vec()
    };
    let asked = candidates.iter().map(|path| ask(path, tools));
    let answers = futures_util::future::join_all(asked).await;
    let mut seen = HashSet::new();
    let mut found: Vec<Interpreter> = answers.into_iter().flatten().collect();
    // The first of a minor counts: PATH order is the operator's word.
    found.retain(|interpreter| {
        let (major, minor) = interpreter.minor();
        major == 3 && minor >= OLDEST && seen.insert((major, minor))
    });
    found
}

fn on_path(path: &OsString) -> Vec<PathBuf> {
    let names = std::iter::once("python3".to_owned())
        .chain((OLDEST..=NEWEST).map(|minor| format!("python3.{minor}")));
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for name in names {
        // All of a name: the first may be a shim that refuses.
        for directory in std::env::split_paths(path) {
            // `python3`, `python3.11` and `/bin` beside `/usr/bin` are mostly one file: it is asked once.
            let Ok(candidate) = directory.join(&name).canonicalize() else { continue };
            if candidate.is_file() && seen.insert(candidate.clone()) {
                found.push(candidate);
            }
        }
    }
    found
}

async fn ask(path: &Path, tools: &Tools) -> Option<Interpreter> {
    let arguments = ["-I", "-c", QUESTION].map(OsString::from);
    let answer = tools.run(path, &arguments, Instant::now() + PATIENCE).await;
    let answer =
        answer.inspect_err(|error| tracing::debug!(path = %path.display(), %error, "not an interpreter"));
    let mut interpreter: Interpreter = serde_json::from_str(answer.ok()?.lines().last()?).ok()?;
    interpreter.path = interpreter.path.canonicalize().ok()?;
    Some(interpreter)
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
            let accepted = Comparisons::parse(text);
            let fits = |have: &&Interpreter| {
                accepted.as_ref().is_some_and(|accepted| accepted.accept(&have.version.map(u64::from)))
            };
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

    #[tokio::test]
    async fn shims_lead_to_the_real_interpreter() {
        let directory = tempfile::tempdir().unwrap();
        let tools = Tools::new(directory.path(), None).unwrap();
        let found = find(&[], &tools).await;
        assert!(!found.is_empty());
        for interpreter in &found {
            assert!(
                interpreter.path.is_file() && !interpreter.path.to_string_lossy().contains("shims"),
                "{interpreter:?}"
            );
        }
        assert!(find(&[PathBuf::from("/bin/false"), PathBuf::from("/missing")], &tools).await.is_empty());
    }
}
