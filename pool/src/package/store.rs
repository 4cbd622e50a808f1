//! Packages on disk by digest: a finished tree enters, a pinned directory of that digest leaves.
//!
//! `cache_dir/<first two>/<digest>/` has `tree` (the package's files) and `complete` (what is known about
//! them, written before the rename that makes the entry visible). What is being made is in
//! `cache_dir/tmp-<owner>-<n>`; an owner is a file that a living store keeps locked, so leftovers of crashes
//! are known without trusting clocks or pids. Several processes may share a store: an entry in use is locked
//! through its `complete`.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use par_proto::ids::Digest;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock, syncfs};

use self::pin::Marker;
use super::tree;

mod evict;
mod pin;

pub use pin::Pin;

/// Packages by digest.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    max_bytes: u64,
    owner: Owner,
    /// Entries whose files were compared with their marker by this process, by the inode of the marker.
    verified: Mutex<HashMap<Digest, u64>>,
    /// Whether anything may be evicted yet.
    settled: AtomicBool,
    evicting: Mutex<()>,
    told_over: AtomicBool,
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
    _store: Arc<Shared>,
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
    /// Opens the store and removes what dead processes left. Nothing is evicted before [`Store::settle`].
    pub fn open(root: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        // Import paths are made from this one.
        let root = root.canonicalize()?;
        let mut bytes = [0_u8; 8];
        getrandom::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
        let token = hex::encode(bytes);
        let path = root.join(format!("owner-{token}"));
        // Locked before it has its name: a sweeping neighbour must never find it unlocked.
        let locked = tempfile::Builder::new().prefix("new-owner-").tempfile_in(&root)?;
        flock(locked.as_file(), FlockOperation::NonBlockingLockExclusive)?;
        let locked = locked.persist(&path).map_err(|error| error.error)?;
        let owner = Owner { token, path, next: AtomicU64::new(0), _locked: locked };
        let shared = Shared {
            root,
            max_bytes,
            owner,
            verified: Mutex::default(),
            settled: AtomicBool::new(false),
            evicting: Mutex::default(),
            told_over: AtomicBool::new(false),
        };
        let store = Self { shared: Arc::new(shared) };
        store.sweep();
        Ok(store)
    }

    /// Begins to keep the store within its limit: now, and after each publishing. To be called when
    /// everything that a start wants to have back was pinned: before, an entry that is about to be served
    /// again looks unused.
    pub fn settle(&self) {
        self.shared.settled.store(true, Ordering::Relaxed);
        self.evict();
    }

    /// A new path for something temporary on the store's file system; nothing is there yet.
    pub fn scratch(&self) -> Scratch {
        let number = self.shared.owner.next.fetch_add(1, Ordering::Relaxed);
        let path = self.shared.root.join(format!("tmp-{}-{number}", self.shared.owner.token));
        Scratch { path, _store: Arc::clone(&self.shared) }
    }

    /// The entry of a digest, if it is there and complete; it stays as long as the pin lives.
    pub fn pin(&self, digest: Digest) -> Option<Pin> {
        Pin::take(&self.entry(digest), digest)
    }

    /// The same, but its files are compared with what was stored if this process has not done so yet. An
    /// entry that is damaged is removed.
    pub fn recall(&self, digest: Digest) -> Option<Pin> {
        let pin = self.pin(digest)?;
        if self.shared.verified.lock().get(&digest) == Some(&pin.inode()) {
            return Some(pin);
        }
        let fault = match tree::content(pin.root()) {
            Ok(content) if pin.holds(content) => {
                self.shared.verified.lock().insert(digest, pin.inode());
                return Some(pin);
            }
            Ok(_) => "files were changed, added or removed".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            event = "store_damaged",
            %digest,
            fault,
            "a stored package is damaged and not used; it is fetched again"
        );
        self.discard(digest);
        None
    }

    /// Makes `scratch/tree` the tree of a digest, or drops it in favour of one that is already there.
    /// `signer` is the fingerprint of the key whose signature was verified.
    ///
    /// Durable when it returns: the files by one `syncfs` before the rename, which costs one journal commit
    /// where thousands of `fsync` calls cost thousands, then the directories that know the name.
    pub fn publish(&self, scratch: &Scratch, digest: Digest, signer: Option<String>) -> io::Result<Pin> {
        let content = tree::content(&scratch.path().join("tree"))?;
        let entry = self.entry(digest);
        let marker = Marker::new(digest, content, signer);
        let pin = Pin::create(marker, &scratch.path().join("complete"), entry.join("tree"))?;
        syncfs(File::open(scratch.path())?)?;
        let folder = entry.parent().unwrap_or(&self.shared.root);
        fs::create_dir_all(folder)?;
        let mut tries = 0;
        // Another process may publish, or leave something incomplete, between the look and the rename.
        while let Err(error) = fs::rename(scratch.path(), &entry) {
            if let Some(there) = self.recall(digest) {
                return Ok(there);
            }
            tries += 1;
            if tries > 3 || !entry.exists() {
                return Err(error);
            }
            self.discard(digest);
        }
        File::open(folder)?.sync_all()?;
        File::open(&self.shared.root)?.sync_all()?;
        self.shared.verified.lock().insert(digest, pin.inode());
        if self.shared.settled.load(Ordering::Relaxed) {
            self.evict();
        }
        Ok(pin)
    }

    /// Says of an entry whose signature was verified; `signer` is the fingerprint of the key.
    pub fn endorse(&self, mut pin: Pin, signer: String) -> io::Result<Pin> {
        pin.endorse(signer)?;
        Ok(pin)
    }

    fn entry(&self, digest: Digest) -> PathBuf {
        let text = digest.to_string();
        let (first, _) = text.split_at(2);
        self.shared.root.join(first).join(&text)
    }

    /// Moves an entry out of sight and removes it.
    fn discard(&self, digest: Digest) {
        self.shared.verified.lock().remove(&digest);
        let scratch = self.scratch();
        // Gone already is as good.
        drop(fs::rename(self.entry(digest), scratch.path()));
    }

    fn sweep(&self) {
        for path in fs::read_dir(&self.shared.root).into_iter().flatten().flatten().map(|entry| entry.path())
        {
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
        token == self.shared.owner.token
            || File::open(self.shared.root.join(format!("owner-{token}")))
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
mod tests;
