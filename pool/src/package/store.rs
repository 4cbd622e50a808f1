//! Packages on disk by digest: a finished tree enters, the directory of that digest leaves.
//!
//! `cache_dir/<first two>/<digest>/` has `tree` (the package's files) and `complete` (the digest, written before the
//! rename that makes the entry visible). What is being made is in `cache_dir/tmp-<owner>-<n>`; an owner is a file
//! that a living store keeps locked, so leftovers of crashes are known without trusting clocks or pids.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use par_proto::ids::Digest;
use rustix::fs::{FlockOperation, flock};

/// Packages by digest.
#[derive(Debug, Clone)]
pub struct Store {
    root: Arc<Path>,
    owner: Arc<Owner>,
}

/// The lock that says that our temporary directories are still in use.
#[derive(Debug)]
struct Owner {
    token: String,
    path: PathBuf,
    next: AtomicU64,
    _locked: File,
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// A file or directory that goes when it is dropped, unless it was published.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _owner: Arc<Owner>,
}

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(remove_tree(&self.path));
    }
}

impl Store {
    /// Opens the store and removes what dead processes left.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        // Import paths are made from this one.
        let root = &root.canonicalize()?;
        let mut bytes = [0_u8; 8];
        getrandom::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
        let token = hex::encode(bytes);
        let path = root.join(format!("owner-{token}"));
        // Locked before it has its name: a sweeping neighbour must never find it unlocked.
        let locked = tempfile::Builder::new().prefix("new-owner-").tempfile_in(root)?;
        flock(locked.as_file(), FlockOperation::NonBlockingLockExclusive)?;
        let locked = locked.persist(&path).map_err(|error| error.error)?;
        let owner = Owner { token, path, next: AtomicU64::new(0), _locked: locked };
        let store = Self { root: Arc::from(root.as_path()), owner: Arc::new(owner) };
        store.sweep();
        Ok(store)
    }

    /// A new path for something temporary on the store's file system; nothing is there yet.
    pub fn scratch(&self) -> Scratch {
        let number = self.owner.next.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(format!("tmp-{}-{number}", self.owner.token));
        Scratch { path, _owner: Arc::clone(&self.owner) }
    }

    /// The tree of a digest, if it is there and complete.
    pub fn find(&self, digest: Digest) -> Option<PathBuf> {
        let entry = self.entry(digest);
        let tree = entry.join("tree");
        let marked = fs::read_to_string(entry.join("complete")).ok()?;
        (marked == digest.to_string() && tree.is_dir()).then_some(tree)
    }

    /// Makes `scratch/tree` the tree of a digest, or drops it in favour of one that is already there.
    pub fn publish(&self, scratch: &Scratch, digest: Digest) -> io::Result<PathBuf> {
        fs::write(scratch.path().join("complete"), digest.to_string())?;
        let entry = self.entry(digest);
        if let Some(parent) = entry.parent() {
            fs::create_dir_all(parent)?;
        }
        // Twice: another process may publish, or leave something incomplete, between the look and the rename.
        for _ in 0..2 {
            if let Some(tree) = self.find(digest) {
                return Ok(tree);
            }
            match fs::rename(scratch.path(), &entry) {
                Ok(()) => return Ok(entry.join("tree")),
                Err(_) if entry.exists() && self.find(digest).is_none() => {
                    let broken = self.scratch();
                    fs::rename(&entry, broken.path())?;
                }
                Err(_) if entry.exists() => {}
                Err(error) => return Err(error),
            }
        }
        fs::rename(scratch.path(), &entry)?;
        Ok(entry.join("tree"))
    }

    fn entry(&self, digest: Digest) -> PathBuf {
        let text = digest.to_string();
        let (first, _) = text.split_at(2);
        self.root.join(first).join(&text)
    }

    fn sweep(&self) {
        for path in fs::read_dir(&self.root).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let dead = if let Some(rest) = name.strip_prefix("tmp-") {
                let token = rest.split('-').next().unwrap_or_default();
                !self.is_alive(token)
            } else if let Some(token) = name.strip_prefix("owner-") {
                !self.is_alive(token)
            } else {
                false
            };
            if dead {
                drop(remove_tree(&path));
            }
        }
    }

    fn is_alive(&self, token: &str) -> bool {
        token == self.owner.token
            || File::open(self.root.join(format!("owner-{token}")))
                .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_err())
    }
}

/// Removes a file or a tree, also one whose directories are read-only. Nothing there is fine.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.is_dir() {
        return fs::remove_file(path);
    }
    for entry in walkdir::WalkDir::new(path).into_iter().flatten() {
        // A directory is opened for listing after it was yielded, so the mode is right in time.
        if entry.file_type().is_dir() {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700))?;
        }
    }
    fs::remove_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(store: &Store, content: &str) -> Scratch {
        let scratch = store.scratch();
        fs::create_dir_all(scratch.path().join("tree/inner")).unwrap();
        fs::write(scratch.path().join("tree/inner/file"), content).unwrap();
        fs::set_permissions(scratch.path().join("tree/inner"), fs::Permissions::from_mode(0o555)).unwrap();
        fs::set_permissions(scratch.path().join("tree"), fs::Permissions::from_mode(0o555)).unwrap();
        scratch
    }

    fn names(root: &Path) -> Vec<String> {
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn only_complete_entries_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let digest = Digest::new([7; 32]);
        assert_eq!(store.find(digest), None);
        let published = store.publish(&tree(&store, "first"), digest).unwrap();
        assert_eq!(store.find(digest), Some(published.clone()));
        let second = tree(&store, "second");
        assert_eq!(store.publish(&second, digest).unwrap(), published);
        drop(second);
        assert_eq!(fs::read_to_string(published.join("inner/file")).unwrap(), "first");
        fs::write(published.parent().unwrap().join("complete"), "other").unwrap();
        assert_eq!(store.find(digest), None);
        store.publish(&tree(&store, "third"), digest).unwrap();
        assert_eq!(fs::read_to_string(published.join("inner/file")).unwrap(), "third");
        assert!(!names(directory.path()).iter().any(|name| name.starts_with("tmp-")));
    }

    #[test]
    fn leftovers_of_the_dead_go_and_those_of_the_living_stay() {
        let directory = tempfile::tempdir().unwrap();
        let dead = directory.path().join("tmp-00ff-3");
        fs::create_dir_all(dead.join("tree")).unwrap();
        fs::write(directory.path().join("owner-00ff"), "").unwrap();
        let living = Store::open(directory.path()).unwrap();
        let kept = tree(&living, "x");
        let other = Store::open(directory.path()).unwrap();
        assert!(!dead.exists() && !directory.path().join("owner-00ff").exists());
        assert!(kept.path().exists());
        drop((kept, living, other));
        assert_eq!(names(directory.path()), Vec::<String>::new());
    }
}
