//! One entry of the store in use: a digest enters, a directory that stays leaves.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use par_proto::ids::Digest;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::super::tree::Content;

/// Most bytes of a marker; ours have 300.
const MAX_MARKER: u64 = 16 * 1024;

/// What `complete` says about its entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// The digest of the package.
    digest: Digest,
    /// The digest of the unpacked files.
    tree: Digest,
    /// Bytes of the unpacked files.
    bytes: u64,
    /// Fingerprint of the key that signed the package, if a signature was verified.
    signer: Option<String>,
}

impl Marker {
    pub(super) fn new(digest: Digest, content: Content, signer: Option<String>) -> Self {
        Self { digest, tree: content.digest, bytes: content.bytes, signer }
    }

    /// Reads a marker; one that cannot be understood is none.
    pub(super) fn read(file: &File) -> Option<Self> {
        let mut text = Vec::new();
        file.take(MAX_MARKER).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write(&self, mut file: &File) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        file.write_all(&text)?;
        file.set_len(text.len() as u64)
    }
}

/// A package of the store that is in use. As long as this value lives no process evicts it; a lock on the
/// entry's marker says so, so a process that dies lets go of it.
#[derive(Debug)]
pub struct Pin {
    root: PathBuf,
    marker: Marker,
    inode: u64,
    _locked: File,
}

impl Pin {
    /// Directory of the package's files.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Fingerprint of the key whose signature was verified when the package came in.
    pub fn signer(&self) -> Option<&str> {
        self.marker.signer.as_deref()
    }

    /// Writes the marker of a tree that nobody sees yet, and pins it before anybody can evict it. `root` is
    /// where the tree will be.
    pub(super) fn create(marker: Marker, path: &Path, root: PathBuf) -> io::Result<Self> {
        let file = File::create_new(path)?;
        marker.write(&file)?;
        flock(&file, FlockOperation::NonBlockingLockShared)?;
        Ok(Self { root, marker, inode: file.metadata()?.ino(), _locked: file })
    }

    /// Pins an entry that is complete. Waits for a process that is about to move it away.
    pub(super) fn take(entry: &Path, digest: Digest) -> Option<Self> {
        let path = entry.join("complete");
        let file = File::open(&path).ok()?;
        flock(&file, FlockOperation::LockShared).ok()?;
        let inode = file.metadata().ok()?.ino();
        // Moved away between the two: the lock is on something that nobody finds any more.
        if path.metadata().ok()?.ino() != inode {
            return None;
        }
        let marker = Marker::read(&file).filter(|marker| marker.digest == digest)?;
        let root = entry.join("tree");
        if !root.is_dir() {
            return None;
        }
        // The time of last use. In a store of another user it cannot be set, and the owner's use counts.
        file.set_modified(SystemTime::now()).ok();
        Some(Self { root, marker, inode, _locked: file })
    }

    /// Which file the lock is on: another one under the same digest is another entry.
    pub(super) fn inode(&self) -> u64 {
        self.inode
    }

    /// Whether the files are those that were stored.
    pub(super) fn holds(&self, content: Content) -> bool {
        self.marker.tree == content.digest
    }

    /// Says whose signature was verified. Written in place, because the lock is on this very file: a crash
    /// amid it leaves a marker that counts as none, and the package is fetched again.
    pub(super) fn endorse(&mut self, signer: String) -> io::Result<()> {
        self.marker.signer = Some(signer);
        let file = File::options().write(true).open(self.root.with_file_name("complete"))?;
        self.marker.write(&file)?;
        file.sync_all()
    }

    /// One for a directory that is in no store.
    #[cfg(test)]
    pub(crate) fn unlocked(root: &Path) -> Self {
        let content = Content { digest: Digest::new([0; 32]), bytes: 0 };
        let marker = Marker::new(content.digest, content, None);
        Self { root: root.to_path_buf(), marker, inode: 0, _locked: tempfile::tempfile().unwrap() }
    }
}
