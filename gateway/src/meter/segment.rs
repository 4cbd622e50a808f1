//! One file of records, mapped: appending is a copy into memory that the kernel writes to the disk in its own time,
//! whether or not this process still lives.
//!
//! Its room on the disk is allocated when it is prepared, so that a full disk is an error there, and never the signal
//! that a write to a mapped page would raise. Its memory is taken a little before it is written to: a gateway that
//! nobody calls holds a few pages, and not two segments. Several threads append at once: each takes its room by one addition and publishes what
//! it has written there by storing the size, which readers look at first.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    ptr,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap},
};

use super::{outcome::Outcome, record::Record, scan::END};

/// What a segment begins with: the form of what follows.
const MAGIC: &[u8; 8] = b"PARUSE\x01\n";

/// Bytes before the first record: magic, number, and the names of outcomes, one a line.
pub(super) const HEAD: usize = 4096;

/// What memory is mapped by. Where pages are larger, the kernel refuses a part of one and its writer pays for it.
const PAGE: usize = 4096;

/// How files are named: numbers that sort as they are.
const SUFFIX: &str = "usage";

/// There is no room for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// A segment that records are appended to.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    file: File,
    map: Map,
    /// Bytes that were given out, which may be more than there are.
    head: AtomicUsize,
    /// Bytes that are on the disk.
    synced: AtomicUsize,
}

/// Where a segment lies.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.{SUFFIX}"))
}

/// The numbers of the segments in a folder, ascending; none where there is no folder.
pub(super) fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(numbers),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let is_ours = path.extension().is_some_and(|suffix| suffix == SUFFIX);
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        numbers.extend(number.filter(|_| is_ours));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

impl Segment {
    /// Makes a segment of so many bytes: on the disk, in memory, and with a name.
    pub(super) fn prepare(folder: &Path, number: u64, bytes: usize) -> io::Result<Self> {
        let path = path(folder, number);
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let made = Self::fill(&mut file, number, bytes).and_then(|()| Map::of(&file, bytes));
        match made {
            Ok(map) => Ok(Self { number, file, map, head: HEAD.into(), synced: HEAD.into() }),
            Err(error) => {
                // What has no room must not take some.
                fs::remove_file(&path).ok();
                Err(error)
            }
        }
    }

    fn fill(file: &mut File, number: u64, bytes: usize) -> io::Result<()> {
        match fallocate(&*file, FallocateFlags::empty(), 0, bytes as u64) {
            // A file system that cannot promise room gives it to whoever takes it.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let written = io::copy(&mut io::repeat(0).take(bytes as u64), file)?;
                debug_assert_eq!(written, bytes as u64, "copy writes all or fails");
                file.rewind()?;
            }
            allocated => allocated?,
        }
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&number.to_le_bytes());
        head.extend_from_slice(Outcome::names().join("\n").as_bytes());
        head.resize(HEAD, 0);
        file.write_all(&head)
    }

    /// Appends a record. It survives the end of this process when this returns.
    pub(super) fn append(&self, record: &Record<'_>) -> Result<(), Full> {
        let size = record.size();
        let at = self.head.fetch_add(size, Ordering::Relaxed);
        if at + size > self.map.bytes {
            if at + 8 <= self.map.bytes {
                self.map.publish(at, END);
            }
            return Err(Full);
        }
        record.encode(self.map.exclusive(at + 4, size - 4));
        self.map.publish(at, size as u32);
        Ok(())
    }

    /// Bytes that are taken.
    pub(super) fn used(&self) -> usize {
        self.head.load(Ordering::Relaxed).min(self.map.bytes)
    }

    /// Whether more than half of it is taken.
    pub(super) fn is_half_full(&self) -> bool {
        self.used() > self.map.bytes / 2
    }

    /// Has the pages of the next so many bytes in memory and writable, so that whoever appends does not pay for them:
    /// what was brought to the disk costs its next writer a fault, which may wait for the file system's journal. How many
    /// of these bytes lie behind the end: the next segment's.
    pub(super) fn populate_ahead(&self, bytes: usize) -> usize {
        let used = self.used();
        let wanted = used.saturating_add(bytes);
        let from = used - used % PAGE;
        let to = wanted.min(self.map.bytes).next_multiple_of(PAGE).min(self.map.bytes);
        if to > from {
            self.map.populate(from, to);
        }
        wanted.saturating_sub(self.map.bytes)
    }

    /// A copy of what was published without a gap from a place on, and whether that is all that will ever be.
    pub(super) fn published(&self, from: usize) -> (Vec<u8>, bool) {
        let (to, is_over) = self.walk(from);
        (self.map.copy(from, to), is_over)
    }

    /// How far what was published goes without a gap.
    fn walk(&self, from: usize) -> (usize, bool) {
        let mut to = from;
        loop {
            if to + 8 > self.map.bytes {
                return (to, true);
            }
            match self.map.size(to) {
                0 => return (to, false),
                END => return (to, true),
                size => to += size as usize,
            }
        }
    }

    /// Writes to the disk what was appended since the last time. Whether nothing more will be.
    pub(super) fn sync(&self) -> io::Result<bool> {
        let synced = self.synced.load(Ordering::Relaxed);
        let (to, is_over) = self.walk(synced);
        if to > synced {
            self.file.sync_data()?;
            self.synced.store(to, Ordering::Relaxed);
        }
        Ok(is_over)
    }
}

/// The bytes of a segment that nobody appends to, from a place on, and what its numbers of outcomes mean.
pub(super) fn read(folder: &Path, number: u64, from: usize) -> io::Result<(Vec<u8>, Vec<Box<str>>)> {
    let mut file = File::open(path(folder, number))?;
    let mut head = vec![0; HEAD];
    file.read_exact(&mut head)?;
    let names = names(&head, number)?;
    file.seek(SeekFrom::Start(from.max(HEAD) as u64))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((bytes, names))
}

fn names(head: &[u8], number: u64) -> io::Result<Vec<Box<str>>> {
    let told = head.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(&number.to_le_bytes()));
    let text = told.and_then(|names| std::str::from_utf8(names).ok());
    let text =
        text.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it does not begin as a segment"))?;
    Ok(text.trim_end_matches('\0').lines().map(Box::from).collect())
}

/// Gives back the room behind the last record of a segment that nobody appends to.
pub(super) fn trim(folder: &Path, number: u64, used: usize) -> io::Result<()> {
    OpenOptions::new().write(true).open(path(folder, number))?.set_len(used as u64)
}

/// Shared memory of a file. Each byte is written once, by whoever was given its place.
#[derive(Debug)]
struct Map {
    start: *mut u32,
    bytes: usize,
}

#[expect(unsafe_code, reason = "mapped memory has no safe form")]
mod mapped {
    use super::*;

    // SAFETY: the memory stays mapped until the value is dropped. Who writes to it has its place alone, and readers
    // read only what was published (see the methods).
    unsafe impl Send for Map {}
    // SAFETY: as above.
    unsafe impl Sync for Map {}

    impl Map {
        pub(super) fn of(file: &File, bytes: usize) -> io::Result<Self> {
            // SAFETY: a new mapping at a place that the kernel chooses; nothing else refers to it. The file has these
            // bytes, and nobody makes it shorter while it is mapped.
            let start = unsafe {
                mmap(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)?
            };
            Ok(Self { start: start.cast(), bytes })
        }

        /// Has the pages from one place to another in memory, both multiples of [`PAGE`] or the end. Older kernels
        /// cannot do it: then each page costs its first writer a fault.
        pub(super) fn populate(&self, from: usize, to: usize) {
            let bytes = to - from;
            // SAFETY: the range lies in the mapping, as `place` checks; nothing in it changes.
            unsafe { madvise(self.place(from, bytes).cast(), bytes, Advice::LinuxPopulateWrite) }.ok();
        }

        fn place(&self, at: usize, bytes: usize) -> *mut u8 {
            assert!(at + bytes <= self.bytes, "a place of the segment");
            // SAFETY: within the mapping, as was just checked.
            unsafe { self.start.cast::<u8>().add(at) }
        }

        /// Room that was given to the caller and to nobody else.
        #[expect(clippy::mut_from_ref, reason = "each place is given out once")]
        pub(super) fn exclusive(&self, at: usize, bytes: usize) -> &mut [u8] {
            // SAFETY: the place lies in the mapping and was given out once, by the addition in `append`. Nobody reads
            // it before it is published.
            unsafe { std::slice::from_raw_parts_mut(self.place(at, bytes), bytes) }
        }

        fn word(&self, at: usize) -> &AtomicU32 {
            assert!(at.is_multiple_of(4) && at + 4 <= self.bytes, "the size of a record");
            // SAFETY: within the mapping, which begins with a page, and these four bytes are touched as an atomic only.
            unsafe { AtomicU32::from_ptr(self.start.add(at / 4)) }
        }

        pub(super) fn publish(&self, at: usize, size: u32) {
            self.word(at).store(size, Ordering::Release);
        }

        pub(super) fn size(&self, at: usize) -> u32 {
            self.word(at).load(Ordering::Acquire)
        }

        /// A copy of records that were published: [`Self::size`] was asked for each of them.
        pub(super) fn copy(&self, from: usize, to: usize) -> Vec<u8> {
            let length = to - from;
            // SAFETY: within the mapping; what was published is never written again.
            unsafe { std::slice::from_raw_parts(self.place(from, length), length) }.to_vec()
        }
    }

    impl Drop for Map {
        fn drop(&mut self) {
            // SAFETY: the range is the one that was mapped, and references to it live no longer than this value.
            unsafe { munmap(self.start.cast(), self.bytes) }.ok();
        }
    }
}

#[cfg(test)]
mod tests;
