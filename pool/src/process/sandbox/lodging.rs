//! How long directories of packages live: they are made by whoever starts the first process of a package, and go with the
//! last generation. A version that is gone leaves no files of its agents on a host that goes on.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::runtime::Handle;

/// Who lives where.
#[derive(Debug, Clone, Default)]
pub(super) struct Lodgings(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    /// Generations by the name of their directories: those of the same bytes share them.
    living: HashMap<String, usize>,
    /// How many directories were taken away.
    gone: u64,
}

/// A generation's share in the directories of its package. The last one that is dropped has them removed.
#[derive(Debug)]
pub(crate) struct Lodging {
    all: Lodgings,
    name: String,
    directories: Directories,
    background: Handle,
}

/// Where files of one package are.
#[derive(Debug, Clone, Default)]
pub(super) struct Directories {
    /// Temporary files of its processes.
    pub(super) temporary: PathBuf,
    /// Directories of its isolated sessions.
    pub(super) sessions: PathBuf,
    /// Files that come with its calls.
    pub(super) uploads: PathBuf,
}

impl Lodging {
    /// Where files that come with calls of the package are kept: it may read those whose names it is told.
    pub(crate) fn uploads(&self) -> &Path {
        &self.directories.uploads
    }
}

impl Lodgings {
    /// A share in directories, whether or not they are there yet.
    pub(super) fn enter(&self, name: String, directories: Directories, background: Handle) -> Lodging {
        *self.0.lock().living.entry(name.clone()).or_default() += 1;
        Lodging { all: self.clone(), name, directories, background }
    }

    /// Gives a share back, and removes what nobody lives in any more. Blocks for as long as the disk does.
    fn leave(&self, name: &str, directories: &Directories) {
        for path in self.vacated(name, directories) {
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(event = "temporary_left", %error, path = %path.display(), "files of a package that is gone could not be removed");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Directories that are to be removed, under other names: whoever enters meanwhile makes new ones, and nobody waits
    /// for a disk with the book in his hands.
    fn vacated(&self, name: &str, directories: &Directories) -> Vec<PathBuf> {
        let mut book = self.0.lock();
        let Some(living) = book.living.get_mut(name) else { return Vec::new() };
        *living -= 1;
        if *living > 0 {
            return Vec::new();
        }
        book.living.remove(name);
        let mut vacated = Vec::new();
        for path in [&directories.temporary, &directories.sessions, &directories.uploads] {
            book.gone += 1;
            let aside = aside(path, book.gone);
            if fs::rename(path, &aside).is_ok() {
                vacated.push(aside);
            }
        }
        vacated
    }
}

/// Beside it, under a name that no package has: versions begin behind an `@`.
fn aside(path: &Path, number: u64) -> PathBuf {
    path.with_file_name(format!("gone-{number}"))
}

impl Drop for Lodging {
    fn drop(&mut self) {
        let (all, name) = (self.all.clone(), std::mem::take(&mut self.name));
        let directories = std::mem::take(&mut self.directories);
        // What is not removed because the process ends is swept at the next start.
        self.background.spawn_blocking(move || all.leave(&name, &directories));
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Runtime;

    use super::*;

    /// Directories of a package, of which one was never made.
    fn made(top: &Path) -> Directories {
        let [temporary, sessions, uploads] = ["temporary", "sessions", "uploads"].map(|name| top.join(name));
        for path in [&temporary, &uploads] {
            fs::create_dir_all(path.join("inner")).expect("a directory");
            fs::write(path.join("inner/file"), "x").expect("a file");
        }
        Directories { temporary, sessions, uploads }
    }

    #[test]
    fn directories_go_with_the_last_that_lives_in_them() {
        let (top, runtime) = (tempfile::tempdir().expect("a directory"), Runtime::new().expect("a runtime"));
        let (directories, all) = (made(top.path()), Lodgings::default());
        let [one, other] =
            [(); 2].map(|()| all.enter("a".to_owned(), directories.clone(), runtime.handle().clone()));
        all.leave("a", &directories);
        assert!(one.uploads().join("inner/file").exists(), "the other one lives there");
        drop(one);
        // Ends when what was begun has ended.
        drop(runtime);
        assert_eq!(fs::read_dir(top.path()).expect("it is there").count(), 0);
        std::mem::forget(other);
    }

    #[test]
    fn whoever_enters_while_another_leaves_has_directories_of_its_own() {
        let (top, runtime) = (tempfile::tempdir().expect("a directory"), Runtime::new().expect("a runtime"));
        let (directories, all) = (made(top.path()), Lodgings::default());
        let enter = || all.enter("a".to_owned(), directories.clone(), runtime.handle().clone());
        std::mem::forget(enter());
        let vacated = all.vacated("a", &directories);
        std::mem::forget(enter());
        made(top.path());
        assert_eq!(vacated.len(), 2);
        for path in &vacated {
            fs::remove_dir_all(path).expect("it was moved aside");
        }
        assert!(directories.temporary.join("inner/file").exists());
    }
}
