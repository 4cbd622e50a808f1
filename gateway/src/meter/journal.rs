//! Where records are appended: a segment that is written to, the next one ready behind it, and a thread that prepares
//! it and brings both to the disk.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use parking_lot::{Condvar, Mutex};

use super::{durability::Durability, record::Record, segment::Segment};

/// How often a disk that was full is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Memory that is ready ahead of what is appended, at least. All of it is written to the disk at the next round.
const AHEAD: usize = 16 << 10;

/// The segments of this process.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    bytes: usize,
    current: ArcSwapOption<Segment>,
    store: Mutex<Store>,
    bell: Condvar,
    /// Held by whoever prepares a segment.
    preparing: Mutex<()>,
    /// Why the last could not be prepared.
    failure: Mutex<Option<io::Error>>,
    /// Whether the last try to prepare a segment has failed.
    starved: AtomicBool,
    /// Records that found no room.
    lost: AtomicU64,
    /// Tries to bring what was appended to the disk that have failed.
    unsynced: AtomicU64,
    /// The last minute that somebody wants to be sealed, whether or not anything was recorded behind it.
    wanted: AtomicI64,
}

#[derive(Debug)]
struct Store {
    next: Option<Arc<Segment>>,
    number: u64,
    /// Those that were written to and may not be whole yet, the current one included.
    live: Vec<Arc<Segment>>,
    wanted: bool,
    ended: bool,
}

/// What changes while segments are kept.
#[derive(Debug)]
pub(super) enum Turn {
    /// A segment could not be prepared.
    Starved(io::Error),
    /// It could, at last.
    Recovered,
    /// What was appended could not be brought to the disk.
    Unsynced(io::Error),
    /// It could, at last.
    Synced,
}

/// What a segment is to this process.
#[derive(Debug)]
pub(super) enum Standing {
    /// It is written to.
    Live(Arc<Segment>),
    /// It will be.
    Coming,
    /// It is a file.
    File,
}

impl Journal {
    /// Segments of so many bytes in `folder`, numbered from behind `number` on. The first is prepared at once, if it can
    /// be.
    pub(super) fn open(folder: PathBuf, number: u64, bytes: usize) -> Self {
        let store = Store { next: None, number, live: Vec::new(), wanted: true, ended: false };
        let journal = Self {
            folder,
            bytes,
            current: ArcSwapOption::empty(),
            store: Mutex::new(store),
            bell: Condvar::new(),
            preparing: Mutex::new(()),
            failure: Mutex::new(None),
            starved: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            unsynced: AtomicU64::new(0),
            wanted: AtomicI64::new(i64::MIN),
        };
        journal.turn(None);
        journal
    }

    /// Appends a record; `false`: there is no room, and it is counted as lost.
    pub(super) fn append(&self, record: &Record<'_>) -> bool {
        loop {
            let current = self.current.load();
            let number = current.as_ref().map(|current| current.number);
            if current.as_ref().is_some_and(|current| current.append(record).is_ok()) {
                return true;
            }
            drop(current);
            if !self.turn(number) {
                self.lost.fetch_add(1, Ordering::Relaxed);
                return false;
            }
        }
    }

    /// Goes on to the next segment, unless somebody else has. `false`: there is none, and none can be made.
    fn turn(&self, full: Option<u64>) -> bool {
        if let Some(turned) = self.try_turn(full) {
            return turned;
        }
        if self.starved.load(Ordering::Relaxed) {
            return false;
        }
        // Faster than its preparation: whoever comes first makes it, or waits for the thread that does.
        let preparing = self.preparing.lock();
        if let Some(turned) = self.try_turn(full) {
            return turned;
        }
        self.prepare();
        drop(preparing);
        self.try_turn(full).unwrap_or(false)
    }

    /// The same with what there is; `None`: no segment is ready.
    fn try_turn(&self, full: Option<u64>) -> Option<bool> {
        let mut store = self.store.lock();
        if self.current.load().as_ref().map(|current| current.number) != full {
            return Some(true);
        }
        let next = store.next.take()?;
        store.live.push(Arc::clone(&next));
        self.current.store(Some(next));
        store.wanted = true;
        self.bell.notify_all();
        Some(true)
    }

    /// Makes the next segment, unless there is one. Whoever asks holds `preparing`, so that segments are used in the
    /// order of their numbers; whoever appends does not wait for it.
    fn prepare(&self) {
        let number = {
            let mut store = self.store.lock();
            if store.next.is_some() {
                return;
            }
            store.number += 1;
            store.number
        };
        let prepared = Segment::prepare(&self.folder, number, self.bytes);
        self.starved.store(prepared.is_err(), Ordering::Relaxed);
        match prepared {
            Ok(segment) => self.store.lock().next = Some(Arc::new(segment)),
            Err(error) => *self.failure.lock() = Some(error),
        }
    }

    /// Whether a call that begins now will find room for its record: the disk had some when it was last asked, or half
    /// of the segment is left for those that run.
    pub(super) fn has_room(&self) -> bool {
        if !self.starved.load(Ordering::Relaxed) {
            return true;
        }
        self.current.load().as_ref().is_some_and(|current| !current.is_half_full())
    }

    /// Somebody waits for this minute to be sealed.
    pub(super) fn want_sealed(&self, minute: i64) {
        self.wanted.fetch_max(minute, Ordering::Relaxed);
    }

    /// Whether somebody waits for a later minute than this to be sealed.
    pub(super) fn is_more_wanted(&self, sealed: Option<i64>) -> bool {
        self.wanted.load(Ordering::Relaxed) > sealed.unwrap_or(i64::MIN)
    }

    /// Records that found no room.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Tries to bring what was appended to the disk that have failed.
    pub(super) fn unsynced(&self) -> u64 {
        self.unsynced.load(Ordering::Relaxed)
    }

    /// What the segment of a number is.
    pub(super) fn standing(&self, number: u64) -> Standing {
        let store = self.store.lock();
        if let Some(live) = store.live.iter().find(|segment| segment.number == number) {
            return Standing::Live(Arc::clone(live));
        }
        // One that is just being prepared has the last number.
        if store.next.as_ref().map_or(store.number, |next| next.number) <= number {
            Standing::Coming
        } else {
            Standing::File
        }
    }

    /// Prepares and syncs until the end; `told` hears what changes.
    pub(super) fn keep(
        self: &Arc<Self>,
        interval: Duration,
        told: impl Fn(Turn) + Send + 'static,
    ) -> io::Result<thread::JoinHandle<()>> {
        let journal = Arc::clone(self);
        thread::Builder::new().name("par-usage-disk".to_owned()).spawn(move || {
            let (mut was_starved, mut durability) = (false, Durability::default());
            let mut appended = Appended::default();
            while journal.wait(interval) {
                journal.refill(&mut was_starved, &told);
                let synced = journal.sync();
                journal.populate(&mut appended);
                journal.unsynced.fetch_add(u64::from(synced.is_err()), Ordering::Relaxed);
                durability.after(synced).map(&told);
            }
            journal.sync().ok();
        })
    }

    /// Waits for the next round; `false`: there is none.
    fn wait(&self, interval: Duration) -> bool {
        let mut store = self.store.lock();
        if !store.wanted && !store.ended {
            let starved = self.starved.load(Ordering::Relaxed);
            let patience = if starved { interval.min(AGAIN) } else { interval };
            self.bell.wait_for(&mut store, patience);
        }
        store.wanted = false;
        !store.ended
    }

    fn refill(&self, was_starved: &mut bool, told: &impl Fn(Turn)) {
        {
            let _preparing = self.preparing.lock();
            self.prepare();
        }
        let is_starved = self.starved.load(Ordering::Relaxed);
        if is_starved != std::mem::replace(was_starved, is_starved) {
            let failure = self.failure.lock().take();
            told(failure.filter(|_| is_starved).map_or(Turn::Recovered, Turn::Starved));
        }
        // A process that begins with a full disk has no segment to append to.
        if !is_starved && self.current.load().is_none() {
            self.try_turn(None);
        }
    }

    /// Has memory ready for what the next round may bring: twice what the last one did. After a sync, which takes away
    /// that it can be written to.
    fn populate(&self, appended: &mut Appended) {
        let Some(current) = self.current.load_full() else {
            return;
        };
        let Some(ahead) = appended.ahead(current.number * self.bytes as u64 + current.used() as u64) else {
            return;
        };
        let behind = current.populate_ahead(ahead);
        let next = self.store.lock().next.clone();
        if let Some(next) = next.filter(|_| behind > 0) {
            next.populate_ahead(behind);
        }
    }

    /// Brings what was appended to the disk; those that are whole are then files like others.
    fn sync(&self) -> io::Result<()> {
        let live = self.store.lock().live.clone();
        let mut synced = Ok(());
        for segment in live {
            match segment.sync() {
                Ok(true) => self.store.lock().live.retain(|kept| kept.number != segment.number),
                Ok(false) => {}
                // The others may lie where the device is whole.
                Err(error) => synced = synced.and(Err(error)),
            }
        }
        synced
    }

    /// Ends the thread, which brings everything to the disk first.
    pub(super) fn end(&self) {
        self.store.lock().ended = true;
        self.bell.notify_all();
    }
}

/// How much is appended from one round to the next.
#[derive(Debug, Default)]
struct Appended {
    before: Option<u64>,
}

impl Appended {
    /// Bytes to have ready when so many were appended since segments are numbered; `None`: nothing has changed.
    fn ahead(&mut self, now: u64) -> Option<usize> {
        let before = self.before.replace(now);
        if before == Some(now) {
            return None;
        }
        let round = now.saturating_sub(before.unwrap_or(now));
        Some(usize::try_from(round.saturating_mul(2)).unwrap_or(usize::MAX).max(AHEAD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_ready_for_twice_what_the_last_round_brought() {
        let mut appended = Appended::default();
        assert_eq!(appended.ahead(40 << 20), Some(AHEAD), "nothing is known yet");
        assert_eq!(appended.ahead(43 << 20), Some(6 << 20));
        assert_eq!(appended.ahead((43 << 20) + 100), Some(AHEAD));
        assert_eq!(
            appended.ahead((43 << 20) + 100),
            None,
            "what nobody writes to is not written to the disk either"
        );
    }
}
