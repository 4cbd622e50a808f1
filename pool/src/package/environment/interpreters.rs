//! The interpreters of this host: where they may be enters, the one that a package wants leaves.
//!
//! Each is asked at most once, and only those that can matter: a shim takes a tenth of a second to answer, and there may
//! be a dozen. What a program says of itself is kept until the program changes; what a script leads to depends on more
//! than the script, so scripts are asked at every start.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::{
    interpreter::{self, Interpreter, OLDEST, QUESTION},
    tool::Tools,
};
use crate::package::{PullError, manifest::checked::PythonWanted};

/// The newest minor looked for by name; newer ones are found as `python3`.
const NEWEST: u8 = 14;
/// Longest answer of an interpreter; one on a slow disk takes a second.
const PATIENCE: Duration = Duration::from_secs(15);
/// The name that is looked for first, and whose first bearer is the operator's word.
const USUAL: &str = "python3";

/// All that may be interpreters.
#[derive(Debug)]
pub(super) struct Interpreters {
    candidates: Vec<Candidate>,
    tools: Tools,
    known: Known,
}

/// A path, and what it answered.
#[derive(Debug)]
struct Candidate {
    /// The name by which it was found.
    name: String,
    path: PathBuf,
    answer: OnceCell<Option<Interpreter>>,
}

impl Interpreters {
    /// Those given, else those on PATH, `python3` first. Nobody is asked yet. What they said before is in the file
    /// `known`.
    pub(super) fn new(given: &[PathBuf], tools: Tools, known: PathBuf) -> Self {
        let candidate = |(name, path)| Candidate { name, path, answer: OnceCell::new() };
        let found = if given.is_empty() {
            on_path(&std::env::var_os("PATH").unwrap_or_default())
        } else {
            given.iter().map(|path| (USUAL.to_owned(), path.clone())).collect()
        };
        Self { candidates: found.into_iter().map(candidate).collect(), tools, known: Known::open(known) }
    }

    /// Asks those that most packages need.
    pub(super) async fn foresee(&self) {
        self.ask(|name| name == USUAL).await;
    }

    /// The interpreter that a package wants, and what is to be said about it.
    pub(super) async fn choose(
        &self,
        wanted: &PythonWanted,
    ) -> Result<(Interpreter, Option<String>), PullError> {
        let exact = match wanted {
            PythonWanted::Minor(major, minor) => Some(format!("python{major}.{minor}")),
            PythonWanted::Any | PythonWanted::Range(_) => None,
        };
        let mut found = self.ask(|name| name == USUAL || Some(name) == exact.as_deref()).await;
        if !interpreter::is_settled(&found, wanted) {
            found = self.all().await;
        }
        interpreter::choose(&found, wanted).map(|(interpreter, warning)| (interpreter.clone(), warning))
    }

    /// All usable ones.
    pub(super) async fn all(&self) -> Vec<Interpreter> {
        self.ask(|_| true).await
    }

    /// The usable ones of some names, at once, in order; the first of a minor counts.
    async fn ask(&self, is_meant: impl Fn(&str) -> bool) -> Vec<Interpreter> {
        let meant = self.candidates.iter().filter(|candidate| is_meant(&candidate.name));
        let answers =
            join_all(meant.map(|candidate| candidate.answer.get_or_init(|| self.answer(&candidate.path))))
                .await;
        let mut seen = HashSet::new();
        let usable = answers.into_iter().flatten().filter(|interpreter| interpreter.is_usable());
        usable.filter(|interpreter| seen.insert(interpreter.minor())).cloned().collect()
    }

    async fn answer(&self, path: &Path) -> Option<Interpreter> {
        let before = Stamp::of(path).ok();
        if let Some(known) = before.as_ref().and_then(|stamp| self.known.recall(path, stamp)) {
            return Some(known);
        }
        let arguments = ["-I", "-c", QUESTION].map(OsString::from);
        let answer = self.tools.run(path, &arguments, Instant::now() + PATIENCE).await;
        let answer =
            answer.inspect_err(|error| tracing::debug!(path = %path.display(), %error, "not an interpreter"));
        let mut interpreter: Interpreter = serde_json::from_str(answer.ok()?.lines().last()?).ok()?;
        interpreter.path = interpreter.path.canonicalize().ok()?;
        if let Some(stamp) = before {
            self.known.keep(path, stamp, &interpreter);
        }
        Some(interpreter)
    }
}

/// Names and real paths, each path once.
fn on_path(path: &OsStr) -> Vec<(String, PathBuf)> {
    let names =
        std::iter::once(USUAL.to_owned()).chain((OLDEST..=NEWEST).map(|minor| format!("python3.{minor}")));
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for name in names {
        // All of a name: the first may be a shim that refuses.
        for directory in std::env::split_paths(path) {
            // `python3`, `python3.11` and `/bin` beside `/usr/bin` are mostly one file: it is asked once.
            let Ok(candidate) = directory.join(&name).canonicalize() else { continue };
            if candidate.is_file() && seen.insert(candidate.clone()) {
                found.push((name.clone(), candidate));
            }
        }
    }
    found
}

/// What programs said of themselves, across starts.
#[derive(Debug)]
struct Known {
    file: PathBuf,
    entries: Mutex<BTreeMap<PathBuf, Entry>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    stamp: Stamp,
    /// Of the program that it is in the end; the same one mostly.
    of: Stamp,
    says: Interpreter,
}

/// What changes with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of a program that stands at its own place.
    ///
    /// # Errors
    /// For links and scripts: what they lead to depends on more than themselves.
    fn of(path: &Path) -> io::Result<Self> {
        let facts = fs::symlink_metadata(path)?;
        let mut begin = [0; 2];
        File::open(path)?.read_exact(&mut begin)?;
        if !facts.is_file() || begin == *b"#!" {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self {
            device: facts.dev(),
            inode: facts.ino(),
            size: facts.size(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
        })
    }
}

impl Known {
    /// What cannot be read is not known: the programs are asked again.
    fn open(file: PathBuf) -> Self {
        let kept = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { file, entries: Mutex::new(kept.unwrap_or_default()) }
    }

    fn recall(&self, path: &Path, stamp: &Stamp) -> Option<Interpreter> {
        let entry = self.entries.lock().get(path).filter(|entry| entry.stamp == *stamp).cloned()?;
        let is_same = Stamp::of(&entry.says.path).is_ok_and(|now| now == entry.of);
        is_same.then_some(entry.says)
    }

    fn keep(&self, path: &Path, stamp: Stamp, says: &Interpreter) {
        // Changed while it was asked: what it said may be about either.
        if !Stamp::of(path).is_ok_and(|now| now == stamp) {
            return;
        }
        let Ok(of) = Stamp::of(&says.path) else { return };
        let mut entries = self.entries.lock();
        entries.insert(path.to_path_buf(), Entry { stamp, of, says: says.clone() });
        if let Err(error) = self.save(&entries) {
            tracing::debug!(%error, "what interpreters say is not kept");
        }
    }

    fn save(&self, entries: &BTreeMap<PathBuf, Entry>) -> io::Result<()> {
        let directory = self.file.parent().unwrap_or(Path::new("/"));
        let beside = tempfile::NamedTempFile::new_in(directory)?;
        fs::write(beside.path(), serde_json::to_vec(entries)?)?;
        beside.persist(&self.file).map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Host {
        directory: tempfile::TempDir,
    }

    impl Host {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap() }
        }

        /// A start of the runtime.
        fn start(&self, given: &[PathBuf]) -> Interpreters {
            let tools = Tools::new(self.directory.path(), None).unwrap();
            Interpreters::new(given, tools, self.directory.path().join("interpreters.json"))
        }

        /// A script that leads to `path` and leaves a mark each time.
        fn shim(&self, path: &Path) -> PathBuf {
            let shim = self.directory.path().join("shim");
            let marks = self.directory.path().join("marks");
            fs::write(&shim, format!("#!/bin/sh\necho asked >> {marks:?}\nexec {path:?} \"$@\"\n")).unwrap();
            fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
            shim
        }

        fn marks(&self) -> usize {
            fs::read_to_string(self.directory.path().join("marks")).unwrap_or_default().lines().count()
        }
    }

    async fn any(interpreters: &Interpreters) -> Interpreter {
        interpreters.choose(&PythonWanted::Any).await.unwrap().0
    }

    #[tokio::test]
    async fn shims_lead_to_the_real_interpreter() {
        let host = Host::new();
        let found = host.start(&[]).ask(|_| true).await;
        assert!(!found.is_empty());
        for interpreter in &found {
            assert!(
                interpreter.path.is_file() && !interpreter.path.to_string_lossy().contains("shims"),
                "{interpreter:?}"
            );
        }
        let none = host.start(&[PathBuf::from("/bin/false"), PathBuf::from("/missing")]);
        assert!(none.choose(&PythonWanted::Any).await.is_err());
    }

    #[tokio::test]
    async fn a_program_is_asked_once_and_a_shim_at_every_start() {
        let host = Host::new();
        let real = any(&host.start(&[])).await;
        let shim = host.shim(&real.path);
        for starts in 1..=2 {
            let interpreters = host.start(std::slice::from_ref(&shim));
            interpreters.foresee().await;
            assert_eq!(any(&interpreters).await, real);
            assert_eq!(host.marks(), starts, "once a start");
        }
        // The kept word of a program is believed without running it.
        let known = host.directory.path().join("interpreters.json");
        let real_path = std::slice::from_ref(&real.path);
        any(&host.start(real_path)).await;
        let word = fs::read_to_string(&known).unwrap();
        fs::write(&known, word.replace(&real.tag, "kept")).unwrap();
        assert_eq!(any(&host.start(real_path)).await.tag, "kept");
        // Another program at its place is asked again, and so is everyone if the file is damaged.
        let mut kept: serde_json::Value = serde_json::from_slice(&fs::read(&known).unwrap()).unwrap();
        for entry in kept.as_object_mut().unwrap().values_mut() {
            entry["stamp"]["size"] = 1.into();
        }
        fs::write(&known, kept.to_string()).unwrap();
        assert_eq!(any(&host.start(real_path)).await, real);
        fs::write(&known, "{").unwrap();
        assert_eq!(any(&host.start(real_path)).await, real);
    }
}
