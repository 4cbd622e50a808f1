//! Files that come with a call: written where its package may read them by their names, gone when the call is over.
//!
//! Writing and removing are work for threads that may wait for a disk; those of the edge may not.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{runtime::Handle, task::spawn_blocking, time::sleep};

use super::generation::Generation;

/// Bytes that wait in memory before they are written. A hop to another thread costs some 30 µs, which is nothing beside
/// writing as much; a call with small files makes one. Every upload under way may hold so much.
const BATCH: usize = 256 << 10;

/// Before each further try to remove files: a host that has no descriptor left, which removing needs, has some again
/// soon, and where the disk is at fault somebody is told within two minutes.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_secs(2), Duration::from_secs(20), Duration::from_secs(60)];

/// Files of one call that is over when the last clone of its `Arc` is dropped.
#[derive(Debug)]
pub struct Attached {
    directory: PathBuf,
    /// Whether there is one.
    made: AtomicBool,
    background: Handle,
}

impl Attached {
    /// The directory that has them.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Generation {
    /// Where files of one call go; its package may read them there.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn spool(&self) -> io::Result<Spool> {
        Spool::new(self.lodging.uploads(), self.settings.background.clone())
    }

    /// Moves files of a call to where this generation may read them, if they are not there: they may have been meant for
    /// another one.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn adopt(&self, files: &Arc<Attached>) -> io::Result<Arc<Attached>> {
        if files.directory().parent() == Some(self.lodging.uploads()) {
            Ok(Arc::clone(files))
        } else {
            self.spool()?.adopt(files).await
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if !self.made.load(Relaxed) {
            return;
        }
        let directory = std::mem::take(&mut self.directory);
        let background = self.background.clone();
        // What is not removed because the process ends is swept at the next start.
        self.background.spawn_blocking(move || {
            if remove(&directory).is_err() {
                background.spawn(remove_later(directory));
            }
        });
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Tries again: nobody else comes back to these files as long as the package is there.
async fn remove_later(directory: PathBuf) {
    let mut last = None;
    for pause in PAUSES {
        sleep(pause).await;
        let path = directory.clone();
        match spawn_blocking(move || remove(&path)).await {
            Ok(Err(error)) => last = Some(error),
            // Done, or the process ends.
            Ok(Ok(())) | Err(_) => return,
        }
    }
    if let Some(error) = last {
        tracing::warn!(event = "upload_left", %error, path = %directory.display(), "files of a call could not be removed");
    }
}

/// A part of one file.
#[derive(Debug)]
struct Piece {
    file: Arc<str>,
    bytes: Bytes,
}

/// Files of one call while they arrive.
#[derive(Debug)]
pub struct Spool {
    attached: Arc<Attached>,
    waiting: Vec<Piece>,
    size: usize,
}

impl Spool {
    /// A directory of its own below a package's, made with the first bytes.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn new(package: &Path, background: Handle) -> io::Result<Self> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        let directory = package.join(hex::encode(name));
        Ok(Self {
            attached: Arc::new(Attached { directory, made: AtomicBool::new(false), background }),
            waiting: Vec::new(),
            size: 0,
        })
    }

    /// Adds bytes to a file, which exists from its first call on, whether or not there are any. `file` is a plain name,
    /// and each file is written to its end before the next one.
    ///
    /// # Errors
    /// What the file system says of these bytes or of earlier ones.
    pub async fn write(&mut self, file: &Arc<str>, bytes: Bytes) -> io::Result<()> {
        self.size += bytes.len();
        self.waiting.push(Piece { file: Arc::clone(file), bytes });
        if self.size < BATCH { Ok(()) } else { self.flush().await }
    }

    /// All that was written, ready to be read.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn finish(mut self) -> io::Result<Arc<Attached>> {
        self.flush().await?;
        Ok(self.attached)
    }

    /// Takes files over from a call that they were kept for.
    async fn adopt(self, files: &Arc<Attached>) -> io::Result<Arc<Attached>> {
        let (from, to) = (Arc::clone(files), Arc::clone(&self.attached));
        self.attached.made.store(true, Relaxed);
        let moving = move || fs::rename(from.directory(), to.directory());
        self.attached.background.spawn_blocking(moving).await.map_err(io::Error::other)??;
        Ok(self.attached)
    }

    async fn flush(&mut self) -> io::Result<()> {
        let pieces = std::mem::take(&mut self.waiting);
        self.size = 0;
        // The directory is not removed before the last writer is done, or it would come back.
        let attached = Arc::clone(&self.attached);
        let writing = self.attached.background.spawn_blocking(move || append(&attached, &pieces));
        writing.await.map_err(io::Error::other)?
    }
}

fn append(attached: &Attached, pieces: &[Piece]) -> io::Result<()> {
    attached.made.store(true, Relaxed);
    match DirBuilder::new().mode(0o700).create(&attached.directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    for pieces in pieces.chunk_by(|one, next| one.file == next.file) {
        let Some(first) = pieces.first() else { continue };
        let path = attached.directory.join(&*first.file);
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        for piece in pieces {
            file.write_all(&piece.bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Waits for what the threads in the background have been given.
    async fn until_empty(path: &Path) {
        while !names(path).is_empty() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn files_are_there_as_long_as_somebody_needs_them() {
        let package = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(package.path(), Handle::current()).unwrap();
        let (large, empty): (Arc<str>, Arc<str>) = ("0".into(), "1.txt".into());
        for _ in 0..3 {
            spool.write(&large, Bytes::from(vec![7; BATCH - 1])).await.unwrap();
        }
        spool.write(&empty, Bytes::new()).await.unwrap();
        let attached = spool.finish().await.unwrap();
        let read = fs::read(attached.directory().join("0")).unwrap();
        assert!(read.len() == 3 * (BATCH - 1) && read.iter().all(|byte| *byte == 7));
        assert_eq!(fs::read(attached.directory().join("1.txt")).unwrap(), b"");
        let other = Arc::clone(&attached);
        drop(attached);
        assert_eq!(names(other.directory()).len(), 2);
        drop(other);
        until_empty(package.path()).await;
    }

    #[tokio::test]
    async fn what_cannot_be_removed_at_once_is_removed_later() {
        let package = tempfile::tempdir().unwrap();
        let place = package.path().join("call");
        fs::write(&place, "no directory").unwrap();
        assert!(remove(&place).is_err());
        let later = tokio::spawn(remove_later(place.clone()));
        fs::remove_file(&place).unwrap();
        fs::create_dir(&place).unwrap();
        fs::write(place.join("0"), "x").unwrap();
        later.await.unwrap();
        assert!(names(package.path()).is_empty());
    }

    #[tokio::test]
    async fn an_upload_that_is_given_up_leaves_nothing() {
        let package = tempfile::tempdir().unwrap();
        for polls in 0..3 {
            let mut spool = Spool::new(package.path(), Handle::current()).unwrap();
            let file = "0".into();
            {
                let mut writing = std::pin::pin!(spool.write(&file, Bytes::from(vec![0; BATCH])));
                for _ in 0..polls {
                    drop(futures_util::poll!(&mut writing));
                }
            }
            drop(spool);
            until_empty(package.path()).await;
        }
    }

    #[tokio::test]
    async fn files_can_be_taken_over_by_another_package_s_place() {
        let (former, later) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut spool = Spool::new(former.path(), Handle::current()).unwrap();
        spool.write(&"0".into(), Bytes::from_static(b"x")).await.unwrap();
        let attached = spool.finish().await.unwrap();
        let spool = Spool::new(later.path(), Handle::current()).unwrap();
        let adopted = spool.adopt(&attached).await.unwrap();
        drop(attached);
        assert!(names(former.path()).is_empty());
        assert_eq!(fs::read(adopted.directory().join("0")).unwrap(), b"x");
        drop(adopted);
        until_empty(later.path()).await;
    }

    #[tokio::test]
    async fn a_place_that_is_gone_is_told() {
        let package = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(&package.path().join("gone"), Handle::current()).unwrap();
        spool.write(&"0".into(), Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(spool.finish().await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
