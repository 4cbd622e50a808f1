//! What may go: the entries and the limit enter, the least recently used that nobody pins leave.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::SystemTime,
};

use rustix::fs::{FlockOperation, flock};

use super::{Store, pin::Marker};

/// An entry as eviction sees it.
struct Kept {
    entry: PathBuf,
    /// When it was pinned last; entries without a marker that we understand are the oldest of all.
    used: SystemTime,
    bytes: u64,
}

impl Store {
    /// Removes the least recently used entries until the rest is within the limit. What any process has
    /// pinned stays; if that alone is beyond the limit, it is said once.
    pub(super) fn evict(&self) {
        let _one_at_a_time = self.shared.evicting.lock();
        let mut kept = self.entries();
        kept.sort_by(|one, other| (one.used, &one.entry).cmp(&(other.used, &other.entry)));
        let mut total: u64 = kept.iter().map(|kept| kept.bytes).sum();
        for oldest in kept {
            if total <= self.shared.max_bytes {
                break;
            }
            if self.take_away(&oldest.entry) {
                let entry = oldest.entry.file_name().unwrap_or_default().to_string_lossy();
                tracing::debug!(event = "store_evicted", %entry, bytes = oldest.bytes, "package evicted");
                total -= oldest.bytes;
            }
        }
        let over = total > self.shared.max_bytes;
        if over && !self.shared.told_over.swap(over, Ordering::Relaxed) {
            tracing::warn!(
                event = "store_full",
                bytes = total,
                limit = self.shared.max_bytes,
                "the packages in use are larger than the cache may be: MAX_CACHE_SIZE_MB sets the limit"
            );
        }
        self.shared.told_over.store(over, Ordering::Relaxed);
    }

    fn entries(&self) -> Vec<Kept> {
        let shelves = fs::read_dir(&self.shared.root).into_iter().flatten().flatten();
        shelves
            .filter(|shelf| shelf.file_name().len() == 2)
            .flat_map(|shelf| fs::read_dir(shelf.path()).into_iter().flatten().flatten())
            .map(|entry| kept(entry.path()))
            .collect()
    }

    /// Removes an entry unless somebody has it pinned; nobody can pin it between the look and the move.
    fn take_away(&self, entry: &Path) -> bool {
        let locked = File::open(entry.join("complete"));
        if let Ok(file) = &locked
            && flock(file, FlockOperation::NonBlockingLockExclusive).is_err()
        {
            return false;
        }
        if let Some(digest) = entry.file_name().and_then(|name| name.to_str()?.parse().ok()) {
            self.shared.verified.lock().remove(&digest);
        }
        let scratch = self.scratch();
        fs::rename(entry, scratch.path()).is_ok()
    }
}

fn kept(entry: PathBuf) -> Kept {
    let read = File::open(entry.join("complete")).ok().and_then(|file| {
        let used = file.metadata().and_then(|metadata| metadata.modified()).ok()?;
        Some((used, Marker::read(&file)?.bytes()))
    });
    match read {
        Some((used, bytes)) => Kept { entry, used, bytes },
        None => {
            let files = walkdir::WalkDir::new(&entry).into_iter().flatten();
            let bytes = files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum();
            Kept { entry, used: SystemTime::UNIX_EPOCH, bytes }
        }
    }
}
