//! Directories by key that are built once: a key and a way to build enter, the finished directory leaves.
//!
//! Environments cannot be moved, so they are built where they stay: `<root>/<key>-<random>`, unknown to everybody until
//! `<key>.complete` names it by a rename. One build per key at a time, in this process and, by a file lock, on this
//! host. What a crash left half-built has a name of its own, is never reused, and goes at the next build of its key.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};

use crate::package::{PullError, Step, store::remove_tree};

/// How often a lock of another process is tried: builds take from 50 ms to minutes.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// Directories by key.
#[derive(Debug)]
pub(super) struct Shelf {
    root: PathBuf,
    flights: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Shelf {
    pub(super) fn open(root: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&root)?;
        let shelf = Self { root, flights: Mutex::default() };
        shelf.sweep_all();
        Ok(shelf)
    }

    /// The finished directory of a key.
    pub(super) fn find(&self, key: &str) -> Option<PathBuf> {
        let name = fs::read_to_string(self.marker(key)).ok()?;
        let directory = self.root.join(name.trim());
        (is_of(&directory, key) && directory.is_dir()).then_some(directory)
    }

    /// Forgets a key whose directory turned out to be unusable; processes that use it keep their files.
    pub(super) fn forget(&self, key: &str) {
        drop(fs::remove_file(self.marker(key)));
    }

    /// The finished directory of a key, built now if need be.
    pub(super) async fn obtain<Build, Building>(
        &self,
        key: &str,
        deadline: Instant,
        build: Build,
    ) -> Result<PathBuf, PullError>
    where
        Build: FnOnce(PathBuf) -> Building,
        Building: Future<Output = Result<(), PullError>>,
    {
        let flight = Arc::clone(self.flights.lock().entry(key.to_owned()).or_default());
        let guard = flight.lock().await;
        let outcome = self.obtain_alone(key, deadline, build).await;
        drop(guard);
        let mut flights = self.flights.lock();
        // Ours and the map's: nobody waits.
        if Arc::strong_count(&flight) == 2 {
            flights.remove(key);
        }
        outcome
    }

    async fn obtain_alone<Build, Building>(
        &self,
        key: &str,
        deadline: Instant,
        build: Build,
    ) -> Result<PathBuf, PullError>
    where
        Build: FnOnce(PathBuf) -> Building,
        Building: Future<Output = Result<(), PullError>>,
    {
        if let Some(directory) = self.find(key) {
            return Ok(directory);
        }
        let _lock = self.lock(key, deadline).await?;
        if let Some(directory) = self.find(key) {
            return Ok(directory);
        }
        self.sweep(key);
        let mut random = [0_u8; 6];
        getrandom::fill(&mut random).map_err(|_| disk(&io::Error::other("no random numbers")))?;
        let directory = self.root.join(format!("{key}-{}", hex::encode(random)));
        let mut half = HalfBuilt { directory: directory.clone(), complete: false };
        build(directory.clone()).await?;
        self.mark(key, &directory).map_err(|error| disk(&error))?;
        half.complete = true;
        Ok(directory)
    }

    fn mark(&self, key: &str, directory: &Path) -> io::Result<()> {
        let name = directory.file_name().unwrap_or_default();
        let beside = tempfile::NamedTempFile::new_in(&self.root)?;
        fs::write(beside.path(), name.as_encoded_bytes())?;
        beside.persist(self.marker(key)).map_err(|error| error.error)?;
        Ok(())
    }

    async fn lock(&self, key: &str, deadline: Instant) -> Result<File, PullError> {
        let file = File::create(self.root.join(format!("{key}.lock"))).map_err(|error| disk(&error))?;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if Instant::now() >= deadline {
                let detail = "another process is building the same environment and did not finish in time";
                return Err(PullError::transient(Step::Environment, detail));
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
        Ok(file)
    }

    /// Removes what builds of this key left; called under its lock, so nobody builds.
    fn sweep(&self, key: &str) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.path().is_dir() && is_of(&entry.path(), key) {
                drop(remove_tree(&entry.path()));
            }
        }
    }

    /// Removes what builds of dead processes left.
    fn sweep_all(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some((key, _)) = name.rsplit_once('-').filter(|_| path.is_dir()) else { continue };
            let Ok(lock) = File::create(self.root.join(format!("{key}.lock"))) else { continue };
            let idle = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
            if idle && self.find(key).is_none_or(|complete| complete != path) {
                drop(remove_tree(&path));
            }
        }
    }

    fn marker(&self, key: &str) -> PathBuf {
        self.root.join(format!("{key}.complete"))
    }
}

fn is_of(directory: &Path, key: &str) -> bool {
    let name = directory.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.rsplit_once('-')).is_some_and(|(of, _)| of == key)
}

fn disk(error: &io::Error) -> PullError {
    PullError::refused(Step::Environment, "the environment could not be written to disk")
        .with_log(error.to_string())
}

/// A directory that goes unless it was completed.
struct HalfBuilt {
    directory: PathBuf,
    complete: bool,
}

impl Drop for HalfBuilt {
    fn drop(&mut self) {
        if !self.complete {
            drop(remove_tree(&self.directory));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    async fn fill(directory: PathBuf) -> Result<(), PullError> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        fs::create_dir(&directory).unwrap();
        Ok(())
    }

    #[tokio::test]
    async fn a_key_is_built_once_however_many_ask() {
        let directory = tempfile::tempdir().unwrap();
        let shelves: Vec<Shelf> =
            (0..2).map(|_| Shelf::open(directory.path().to_path_buf()).unwrap()).collect();
        let built = AtomicUsize::new(0);
        let ask = |shelf: usize| {
            let (built, shelf) = (&built, &shelves[shelf]);
            async move {
                shelf
                    .obtain("key", soon(), |path| async move {
                        built.fetch_add(1, Ordering::SeqCst);
                        fill(path).await
                    })
                    .await
                    .unwrap()
            }
        };
        let (a, b, c, d) = tokio::join!(ask(0), ask(0), ask(1), ask(1));
        assert_eq!(built.load(Ordering::SeqCst), 1);
        assert!(a == b && b == c && c == d && a.is_dir());
        assert!(shelves.iter().all(|shelf| shelf.flights.lock().is_empty()));
    }

    #[tokio::test]
    async fn what_failed_or_was_cancelled_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(directory.path().to_path_buf()).unwrap();
        let failing = shelf.obtain("key", soon(), |path| async move {
            fill(path).await?;
            Err(PullError::refused(Step::Environment, "no"))
        });
        assert!(failing.await.is_err());
        let cancelled = shelf.obtain("key", soon(), |path| async move {
            fill(path).await?;
            std::future::pending().await
        });
        assert!(tokio::time::timeout(Duration::from_millis(100), cancelled).await.is_err());
        assert_eq!(shelf.find("key"), None);
        fs::create_dir(directory.path().join("key-crashed")).unwrap();
        fs::create_dir(directory.path().join("key-2-other")).unwrap();
        let built = shelf.obtain("key", soon(), fill).await.unwrap();
        assert!(!directory.path().join("key-crashed").exists());
        let directories =
            fs::read_dir(directory.path()).unwrap().flatten().filter(|entry| entry.path().is_dir());
        let mut left: Vec<PathBuf> = directories.map(|entry| entry.path()).collect();
        left.sort();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left.contains(&built));
        let reopened = Shelf::open(directory.path().to_path_buf()).unwrap();
        assert_eq!(reopened.find("key"), Some(built));
        assert!(!directory.path().join("key-2-other").exists());
    }
}
