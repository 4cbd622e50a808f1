//! The threads that keep what was recorded, and what they tell of it.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use rustix::process::setpriority_process;

use super::{
    clock::Slip,
    fold::{Damage, Fold, Told},
    journal::{Journal, Turn},
    ledger::LedgerError,
    metrics::MeterMetrics,
    retention::Retention,
};
use crate::config::{Metering, OnFull};

/// How important the thread is that adds: less than calls.
const LOW: i32 = 10;

/// Time between two rounds. Queries read what was not added yet themselves; longer rounds would make them slower, shorter
/// ones wake a processor for nothing.
const ROUND: Duration = Duration::from_secs(2);

/// Two threads: one for the disk, one that adds.
#[derive(Debug)]
pub(super) struct Keeper {
    journal: Arc<Journal>,
    end: Sender<()>,
    ended: Receiver<()>,
}

impl Keeper {
    /// Starts them.
    pub(super) fn start(
        folder: PathBuf,
        journal: Arc<Journal>,
        settings: &Metering,
        metrics: MeterMetrics,
    ) -> io::Result<Self> {
        let on_full = settings.on_full;
        journal.keep(settings.fsync_interval, move |turn| tell_turn(&turn, on_full))?;
        let (end, asked) = channel();
        let (done, ended) = channel();
        let counters = metrics.clone();
        let retention = Retention::new(folder.clone(), settings);
        let fold = Fold::new(folder, Arc::clone(&journal), move |told| tell(&told, &counters));
        let adding = Adding { fold, retention, journal: Arc::clone(&journal), metrics, failed: false };
        thread::Builder::new().name("par-usage".to_owned()).spawn(move || {
            // On Linux this is about the calling thread alone. One that stays important is a nuisance, no fault.
            setpriority_process(None, LOW).ok();
            adding.run(&asked);
            // Whoever waited too long is gone.
            done.send(()).ok();
        })?;
        Ok(Self { journal, end, ended })
    }

    /// Adds once more, brings everything to the disk, and ends.
    pub(super) fn stop(self, patience: Duration) {
        self.journal.end();
        drop(self.end);
        // Too late, or the thread has panicked: the next start adds the rest.
        self.ended.recv_timeout(patience).ok();
    }
}

struct Adding<T> {
    fold: Fold<T>,
    retention: Retention,
    journal: Arc<Journal>,
    metrics: MeterMetrics,
    failed: bool,
}

impl<T: Fn(Told)> Adding<T> {
    fn run(mut self, asked: &Receiver<()>) {
        loop {
            self.round();
            match asked.recv_timeout(ROUND) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.round();
    }

    fn round(&mut self) {
        let lost = self.journal.lost();
        self.metrics.lost.inc_by(lost.saturating_sub(self.metrics.lost.get()));
        let unsynced = self.journal.unsynced();
        self.metrics.unsynced.inc_by(unsynced.saturating_sub(self.metrics.unsynced.get()));
        let done = self.fold.round().and_then(|()| self.retention.sweep(&mut self.fold));
        self.tell(done.as_ref().err());
    }

    /// Once when it begins to fail, once when it works again.
    fn tell(&mut self, error: Option<&LedgerError>) {
        match (error, self.failed) {
            (Some(error), false) => tracing::error!(
                event = "ledger_failed",
                cause = %causes(error),
                "usage is recorded, but the ledger is not kept up"
            ),
            (None, true) => tracing::info!(event = "ledger_recovered", "usage is added to the ledger again"),
            (Some(_), true) | (None, false) => {}
        }
        self.failed = error.is_some();
    }
}

fn causes(error: &LedgerError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn tell_turn(turn: &Turn, on_full: OnFull) {
    match turn {
        Turn::Starved(error) => {
            let then = match on_full {
                OnFull::Serve => "calls go on, and those that find no room any more are not recorded",
                OnFull::Refuse => "calls are refused as soon as there is no room left for those that run",
            };
            tracing::error!(event = "usage_disk_full", %error, "no room can be made for what calls use: {then}");
        }
        Turn::Recovered => tracing::info!(event = "usage_disk_recovered", "what calls use is recorded again"),
        Turn::Unsynced(error) => {
            tracing::error!(
                event = "usage_not_synced",
                %error,
                "what calls use may not survive the loss of power; failures are counted in par_usage_sync_failures_total"
            );
        }
        Turn::Synced => tracing::info!(
            event = "usage_synced",
            "what calls use is brought to the disk again; what was not may be lost with the power"
        ),
    }
}

fn tell(told: &Told, metrics: &MeterMetrics) {
    match told {
        Told::Damage(Damage::Lost { segment, at, bytes }) => {
            metrics.damaged.inc_by(*bytes as u64);
            tracing::error!(
                event = "usage_damaged",
                segment,
                at,
                bytes,
                "recorded usage cannot be read any more"
            );
        }
        Told::Damage(Damage::Unfinished { segment, bytes }) => tracing::info!(
            event = "usage_cut",
            segment,
            bytes,
            "a record that was never finished was left out: nobody had the answer to its call"
        ),
        Told::Damage(Damage::Unreadable { segment, cause }) => tracing::error!(
            event = "usage_unreadable",
            segment,
            %cause,
            "a segment of recorded usage cannot be read and is left out"
        ),
        Told::Tokens { agent, input, output } => {
            for (kind, count) in [("input", input), ("output", output)] {
                metrics.tokens.with_label_values(&[agent.as_ref(), kind]).inc_by(*count);
            }
        }
        Told::Rebuilt { cause, aside } => tracing::error!(
            event = "ledger_damaged",
            cause,
            aside = %aside.display(),
            "the ledger was damaged and set aside; it is built again from the segments that are kept"
        ),
        Told::Slip(Slip::Ahead(by)) => tracing::warn!(
            event = "clock_jumped",
            seconds = by.as_secs(),
            "the clock has jumped ahead; no minute is closed by it unless it stays there"
        ),
        Told::Slip(Slip::Behind(by)) => tracing::warn!(
            event = "clock_jumped",
            seconds = -i64::try_from(by.as_secs()).unwrap_or(i64::MAX),
            "the clock has gone back; usage counts for the first minute that is not closed"
        ),
    }
}
