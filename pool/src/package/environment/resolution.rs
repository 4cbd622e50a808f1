//! Requirements to exact versions: requirement lines enter, a lock with hashes leaves.
//!
//! A lock is kept by what was asked (lines, interpreter, platform, wheelhouse), so a rollout that changes only code
//! starts no resolver. It is as old as the first time it was asked for: [`Resolutions::forget`] makes it fresh. What it was
//! before stays for the case that nothing can be asked then.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use sha2::{Digest as _, Sha256};

use super::{
    interpreter::Interpreter,
    tool::{Tools, arguments},
};
use crate::package::{PullError, Step};

/// The file that tells when locks were forgotten last.
const FORGOTTEN: &str = "forgotten";

/// Endings of a lock and of one that was forgotten.
const LOCK: &str = "txt";
const FORMER: &str = "former";

/// Locks by what was asked.
#[derive(Debug)]
pub(super) struct Resolutions {
    root: PathBuf,
}

/// What a resolver is asked.
pub(super) struct Question<'a> {
    pub(super) lines: &'a str,
    pub(super) constraints: &'a str,
    pub(super) interpreter: &'a Interpreter,
    pub(super) wheelhouse: Option<&'a Path>,
}

impl Resolutions {
    pub(super) fn open(root: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&root)?;
        Ok(Self { root })
    }

    /// The lock for a question, from before or resolved now.
    pub(super) async fn resolve(
        &self,
        question: &Question<'_>,
        uv: &Path,
        tools: &Tools,
        deadline: Instant,
    ) -> Result<String, PullError> {
        let kept = self.root.join(question.key()).with_extension(LOCK);
        if let Ok(lock) = fs::read_to_string(&kept) {
            return Ok(lock);
        }
        let disk = |error: io::Error| {
            PullError::refused(Step::Environment, "the requirements could not be written to disk")
                .with_log(error.to_string())
        };
        let read = [question.interpreter.prefix.as_path()].into_iter().chain(question.wheelhouse);
        let work = tools.workshop().map_err(disk)?.reading(read);
        let of = |name: &str| work.path().join(name);
        fs::write(of("requirements.in"), question.lines).map_err(disk)?;
        fs::write(of("constraints.in"), question.constraints).map_err(disk)?;
        let mut command = arguments([
            &"pip",
            &"compile",
            &"--quiet",
            &"--no-header",
            &"--no-annotate",
            &"--generate-hashes",
            &"--python",
            &question.interpreter.path,
            &"--output-file",
            &"lock.txt",
            &"--constraints",
            &"constraints.in",
        ]);
        if let Some(wheelhouse) = question.wheelhouse {
            command.extend(arguments([&"--no-index", &"--find-links", &wheelhouse]));
        }
        command.extend(arguments([&"requirements.in"]));
        let resolved = tools.install_by_uv(uv, &command, work.path(), &work, deadline).await;
        if let Err(error) = resolved {
            let refusal = tools.refusal("resolving the requirements", &error);
            // A start without the index serves what the last one served.
            let Ok(former) = fs::read_to_string(kept.with_extension(FORMER)) else { return Err(refusal) };
            tracing::warn!(
                event = "resolution_kept",
                log = %refusal.log,
                "the versions that were installed before are used again: {}", refusal.detail
            );
            return Ok(former);
        }
        let lock = fs::read_to_string(of("lock.txt")).map_err(disk)?;
        let beside = tempfile::NamedTempFile::new_in(&self.root).map_err(disk)?;
        fs::write(beside.path(), &lock).map_err(disk)?;
        beside.persist(kept).map_err(|error| disk(error.error))?;
        Ok(lock)
    }

    /// Forgets all locks: the next install of each set resolves anew. Returns how many there were.
    pub(super) fn forget(root: &Path) -> io::Result<usize> {
        let mut forgotten = 0;
        for entry in fs::read_dir(root)? {
            let lock = entry?.path();
            if lock.extension().is_none_or(|ending| ending != LOCK) {
                continue;
            }
            match fs::rename(&lock, lock.with_extension(FORMER)) {
                Ok(()) => forgotten += 1,
                // Somebody else has just forgotten it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        fs::write(root.join(FORGOTTEN), now.as_nanos().to_string())?;
        Ok(forgotten)
    }

    /// What tells installs before the locks were forgotten from those after it; nothing if they never were. For
    /// installers that keep no locks.
    pub(super) fn age(&self) -> String {
        fs::read_to_string(self.root.join(FORGOTTEN)).unwrap_or_default()
    }
}

impl Question<'_> {
    fn key(&self) -> String {
        let mut hash = Sha256::new();
        for part in ["lock 1", self.lines, self.constraints, &self.interpreter.key(), &self.wheels()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hex::encode(hash.finalize())
    }

    /// The wheelhouse and what is in it: a wheel that is added may be a better answer.
    fn wheels(&self) -> String {
        let Some(wheelhouse) = self.wheelhouse else { return String::new() };
        let entries = fs::read_dir(wheelhouse).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        format!("{} {}", wheelhouse.display(), names.join(" "))
    }
}
