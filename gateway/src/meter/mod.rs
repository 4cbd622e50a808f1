//! What tenants use: recorded before its response leaves, added up in the background, kept in a ledger.
//!
//! A call's record ([`record`]) is copied into a mapped file ([`segment`], [`journal`]) and survives from then on whatever
//! becomes of this process. [`fold`] adds records to the [`ledger`], once each. Segments are kept for a while as the
//! journal of single calls.

mod clock;
mod collector;
mod durability;
mod fold;
mod journal;
mod keeper;
mod ledger;
mod lookup;
mod metrics;
mod outcome;
mod query;
mod record;
pub(crate) mod report;
mod retention;
mod scan;
mod segment;
mod tally;
mod told;
mod when;

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use prometheus::Registry;

pub(crate) use self::{
    collector::Collector,
    ledger::{Ledger, LedgerError},
    lookup::{Entry, each, request},
    outcome::Outcome,
    query::{Question, answer},
    record::{Record, Surface, Usage},
    told::{Told, tenant},
    when::minute,
};
use self::{journal::Journal, keeper::Keeper, metrics::MeterMetrics};
use crate::config::{Config, Metering, OnFull};

/// The folder of segments and ledger, in the data directory.
const FOLDER: &str = "usage";

/// Where the usage of a data directory lies.
pub(crate) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDER)
}

/// Tries in a directory what recording needs of its file system: room that is promised, and memory that is a file's.
///
/// # Errors
/// What the file system says.
pub(crate) fn attempt(directory: &Path) -> io::Result<()> {
    segment::Segment::prepare(directory, 0, 2 * segment::HEAD).map(drop)
}

/// Records calls.
#[derive(Debug)]
pub(crate) struct Meter {
    journal: Arc<Journal>,
    refuses: bool,
    keeper: Mutex<Option<Keeper>>,
}

impl Meter {
    /// The meter that a configuration asks for, if it does.
    ///
    /// # Errors
    /// The folder cannot be used, or belongs to a later version of the runtime.
    pub(crate) fn of(config: &Config, registry: &Registry) -> io::Result<Option<Arc<Self>>> {
        let Some(settings) = &config.metering else { return Ok(None) };
        let metrics = MeterMetrics::register(registry).map_err(io::Error::other)?;
        Self::start(settings, &config.data_dir, metrics).map(Some)
    }

    /// Begins a new segment behind those that are there, and the threads that keep them. A disk without room is no
    /// error: it is told, and asked again.
    fn start(settings: &Metering, data_dir: &Path, metrics: MeterMetrics) -> io::Result<Arc<Self>> {
        let folder = folder(data_dir);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let numbers = segment::numbers(&folder)?;
        let added = match Ledger::read(&folder) {
            Ok(Some(ledger)) => ledger.position().map_or(0, |position| position.segment),
            Err(error @ LedgerError::Later(_)) => return Err(io::Error::other(error)),
            // What is wrong with it is found again when it is written to, and dealt with there.
            Ok(None) | Err(_) => 0,
        };
        // After the loss of power the ledger may know of a segment that the disk does not.
        let last = numbers.last().copied().unwrap_or(0).max(added);
        let journal = Arc::new(Journal::open(folder.clone(), last, settings.segment_bytes));
        let refuses = settings.on_full == OnFull::Refuse;
        let keeper = Keeper::start(folder, Arc::clone(&journal), settings, metrics)?;
        Ok(Arc::new(Self { journal, refuses, keeper: Mutex::new(Some(keeper)) }))
    }

    /// Whether a call may begin: always, unless calls that cannot be recorded are refused.
    pub(crate) fn admits(&self) -> bool {
        !self.refuses || self.journal.has_room()
    }

    /// Records what a call has used. It survives the end of this process when this returns, and if the disk is full it
    /// is counted as lost.
    pub(crate) fn record(&self, record: &Record<'_>) {
        self.journal.append(record);
    }

    /// Has minutes up to this one sealed when they are over, also if nothing is recorded any more.
    pub(crate) fn want_sealed(&self, minute: i64) {
        self.journal.want_sealed(minute);
    }

    /// Adds what is not in the ledger yet and ends the threads; what they do not manage in time is done after the next
    /// start.
    pub(crate) fn stop(&self, patience: Duration) {
        if let Some(keeper) = self.keeper.lock().take() {
            keeper.stop(patience);
        }
    }
}
