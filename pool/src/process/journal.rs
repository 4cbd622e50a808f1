//! The page that a worker leaves behind when it dies, as `par` reads it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use par_proto::frames::{JOURNAL_SIZE, JournalImage, Progress};
use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    io::pread,
};

/// Our descriptor of a worker's journal.
#[derive(Debug)]
pub(crate) struct Journal(OwnedFd);

impl Journal {
    /// An empty one.
    pub(super) fn new() -> io::Result<Self> {
        let file = memfd_create("par-journal", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, JOURNAL_SIZE as u64)?;
        Ok(Self(file))
    }

    /// How far the worker has come; nothing, if that cannot be read.
    pub(super) fn progress(&self) -> Progress {
        let mut word = [0u8; 8];
        match pread(&self.0, &mut word, 0) {
            Ok(8) => Progress::of(u64::from_le_bytes(word)),
            Ok(_) | Err(_) => Progress::default(),
        }
    }

    /// All that it has left; nothing, if that cannot be read.
    pub(super) fn image(&self) -> JournalImage {
        let mut bytes = vec![0; JOURNAL_SIZE];
        let length = pread(&self.0, &mut bytes[..], 0).unwrap_or(0);
        JournalImage::parse(bytes.get(..length).unwrap_or_default())
    }
}

impl AsFd for Journal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
