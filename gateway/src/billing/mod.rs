//! What tenants have used becomes what they are billed: events of the ledger's sums, sent to Stripe once each.
//!
//! [`plan`] makes events of windows that are over (pure), [`book`] keeps every event with what has become of it, [`round`]
//! sends, [`verdict`] says what an answer means (pure), [`notice`] reads what is told later (pure), and [`audit`] compares
//! the ledger, the book and the other side.

mod audit;
mod book;
mod customers;
mod entry;
mod fate;
mod measure;
mod metrics;
mod notice;
mod plan;
mod round;
mod stripe;
mod verdict;
mod windows;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, SystemTime},
};

use axum::http::HeaderMap;
use parking_lot::Mutex;
use prometheus::Registry;
use serde::Serialize;
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

pub(crate) use self::{
    audit::Audit, book::BookError, measure::Measure, notice::NoticeFault, round::RoundError, windows::Width,
};
use self::{
    book::{Book, Entry},
    metrics::BillingMetrics,
    notice::Notice,
    plan::next_round,
    round::{Planned, Rounds, now},
    stripe::Stripe,
};
use crate::{
    auth::Accounts,
    config::{BillingSettings, Config},
    meter::{self, Meter},
    observe::timestamp,
};

/// Longest sleep: a clock that was set, or a map of customers that has changed, is noticed within it.
const LOOK: Duration = Duration::from_secs(5);

/// Pause before windows that were not sealed yet are looked at again.
const SEAL: Duration = Duration::from_secs(1);

/// Rounds in a row that may fail before somebody should look.
const PATIENCE: u32 = 3;

/// How long usage may be due before somebody should look.
const LONG: i64 = 12 * 3600;

/// Events that are shown of those that need somebody.
const SHOWN: u32 = 100;

/// The billing of one runtime.
#[derive(Debug)]
pub(crate) struct Billing {
    settings: Arc<BillingSettings>,
    folder: PathBuf,
    /// For how many minutes the ledger knows minutes.
    minutes_kept: i64,
    wake: Arc<Notify>,
    stop: CancellationToken,
    ended: Mutex<Option<mpsc::Receiver<()>>>,
}

/// What `GET /runtime/usage/billing` tells.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Status {
    /// Whether usage is billed at all.
    enabled: bool,
    /// Everything that was used before this time is in events. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    planned_until: Option<String>,
    /// Events that wait to be taken.
    unsent: i64,
    /// For how long the oldest of them is due.
    oldest_unsent_seconds: i64,
    /// Events that need somebody: refused, too old, or waiting for a reason. The newest first, at most a hundred.
    troubled: Vec<Troubled>,
}

/// An event that needs somebody.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Troubled {
    identifier: String,
    tenant: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer: Option<String>,
    measure: &'static str,
    value: i64,
    /// Begin of its window, RFC 3339.
    from: String,
    /// End of its window.
    to: String,
    state: &'static str,
    tries: u32,
    reason: Option<String>,
}

impl Billing {
    /// Begins to bill, if the configuration asks for it.
    ///
    /// # Errors
    /// The thread or the client cannot be made. A book that cannot be used is no error: it is told, and asked again.
    pub(crate) fn start(
        config: &Config,
        meter: Option<&Arc<Meter>>,
        accounts: Option<Arc<Accounts>>,
        registry: &Registry,
    ) -> io::Result<Option<Arc<Self>>> {
        // Also where nothing is billed: a series that is 0 says more than one that is not there.
        let metrics = BillingMetrics::register(registry).map_err(io::Error::other)?;
        let (Some(settings), Some(meter)) = (&config.billing, meter) else { return Ok(None) };
        let settings = Arc::new(settings.clone());
        let folder = meter::folder(&config.data_dir);
        // Made before anybody asks for it: two that make it at once would refuse each other. What is wrong with it is told
        // by the first round.
        drop(Book::open(&folder));
        let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let (done, ended) = mpsc::channel();
        let stripe = client(&settings)?;
        let rounds = Rounds::new(Arc::clone(&settings), folder.clone(), Arc::clone(meter), stripe, accounts);
        let work = Work { rounds, metrics, failures: 0, late: false };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (woken, stopped) = (Arc::clone(&wake), stop.clone());
        thread::Builder::new().name("par-billing".to_owned()).spawn(move || {
            runtime.block_on(work.run(&woken, &stopped));
            // Whoever waited too long is gone.
            done.send(()).ok();
        })?;
        let ended = Mutex::new(Some(ended));
        let kept = config.metering.as_ref().map_or(0, |metering| metering.minutes_kept.as_secs() / 60);
        let minutes_kept = kept.cast_signed();
        Ok(Some(Arc::new(Self { settings, folder, minutes_kept, wake, stop, ended })))
    }

    /// How billing does.
    pub(crate) fn status(&self) -> Result<Status, BookError> {
        let book = Book::open(&self.folder)?;
        let (unsent, oldest) = book.unsent()?;
        Ok(Status {
            enabled: true,
            planned_until: book.planned()?.map(|(_, planned)| day(planned)),
            unsent,
            oldest_unsent_seconds: oldest.map_or(0, |due| (now() - due).max(0)),
            troubled: book.troubled(SHOWN)?.into_iter().map(troubled).collect(),
        })
    }

    /// Compares the ledger, the book and the other side: in sum, and window by window if that is asked for.
    pub(crate) async fn audit(&self, by: Option<Width>) -> Result<Audit, RoundError> {
        let mut stripe = client(&self.settings).map_err(|error| RoundError::Locked(error.to_string()))?;
        let (settings, folder, minutes) =
            (Arc::clone(&self.settings), self.folder.clone(), self.minutes_kept);
        // Five weeks of many tenants take their time.
        let kept = tokio::task::spawn_blocking(move || {
            audit::keep(&settings, &Book::open(&folder)?, &folder, (by, minutes))
        });
        let kept = kept.await.map_err(|error| RoundError::Cut(error.to_string()))??;
        audit::compare(&self.settings, kept, &self.folder, &mut stripe).await
    }

    /// Lets an event that was refused or is too old begin anew, and gives its name. `None`: there is none, or it was
    /// counted.
    pub(crate) fn retry(&self, identifier: &str) -> Result<Option<String>, BookError> {
        let reopened = Book::open(&self.folder)?.reopen(identifier)?;
        if reopened.is_some() {
            self.wake.notify_one();
        }
        Ok(reopened)
    }

    /// Takes a notice of the billing side. Gives how many events it has closed.
    ///
    /// # Errors
    /// [`NoticeError`]; the sender tries again then.
    pub(crate) async fn noticed(&self, headers: &HeaderMap, body: &[u8]) -> Result<usize, NoticeError> {
        let notice = notice::verify(&self.settings.webhook_secrets, headers, body, SystemTime::now())?;
        let notice = match notice::read(&notice) {
            Notice::Thin { id } => {
                let stripe = client(&self.settings).map_err(|error| NoticeError::Later(error.to_string()))?;
                let told =
                    stripe.happened(&id).await.map_err(|error| NoticeError::Later(error.to_string()))?;
                notice::read(&told)
            }
            notice @ (Notice::Rejected { .. } | Notice::Other) => notice,
        };
        let Notice::Rejected { samples, count } = notice else { return Ok(0) };
        let book = Book::open(&self.folder).map_err(|error| NoticeError::Later(error.to_string()))?;
        let mut closed = 0;
        for sample in &samples {
            let known = book.reject(&sample.identifier, &sample.reason);
            closed += usize::from(known.map_err(|error| NoticeError::Later(error.to_string()))?);
        }
        tracing::error!(
            event = "usage_rejected",
            count,
            closed,
            reason = samples.first().map(|sample| sample.reason.as_str()),
            "the billing side has refused usage that it had taken"
        );
        Ok(closed)
    }

    /// Ends the thread; a round that runs is cut, and what was not sent is sent after the next start.
    pub(crate) fn stop(&self, patience: Duration) {
        self.stop.cancel();
        if let Some(ended) = self.ended.lock().take() {
            // Too late, or it has panicked: the next start goes on.
            ended.recv_timeout(patience).ok();
        }
    }
}

/// Why a notice was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoticeError {
    /// It never will be.
    #[error(transparent)]
    Fault(#[from] NoticeFault),
    /// It may be the next time.
    #[error("the notice cannot be taken now: {0}")]
    Later(String),
}

/// Asks for every meter that is billed by, and does nothing: whether the key is good and the meters are there. How many.
pub(crate) async fn look(settings: &BillingSettings) -> Result<usize, String> {
    let mut stripe = client(settings).map_err(|error| error.to_string())?;
    for (_, name) in &settings.names {
        stripe.meter(name).await.map_err(|unanswered| unanswered.to_string())?;
    }
    Ok(settings.names.len())
}

fn client(settings: &BillingSettings) -> io::Result<Stripe> {
    Stripe::new(settings.key.clone(), settings.api_url.clone(), settings.stream_url.clone())
}

fn day(minute: i64) -> String {
    timestamp::text(SystemTime::UNIX_EPOCH + Duration::from_secs(minute.unsigned_abs() * 60))
}

fn troubled(entry: Entry) -> Troubled {
    Troubled {
        identifier: entry.event.identifier,
        tenant: entry.event.tenant,
        customer: entry.customer,
        measure: entry.event.measure.text(),
        value: entry.event.value,
        from: day(entry.event.window.from),
        to: day(entry.event.window.to),
        state: entry.state.text(),
        tries: entry.tries,
        reason: entry.reason,
    }
}

/// The thread's.
struct Work {
    rounds: Rounds,
    metrics: BillingMetrics,
    /// Rounds in a row that came to no end.
    failures: u32,
    /// Whether somebody was told that usage is due for long.
    late: bool,
}

impl Work {
    async fn run(mut self, wake: &Notify, stop: &CancellationToken) {
        // At the start: what was left over.
        let mut next = 0;
        loop {
            let pause = tokio::select! {
                () = stop.cancelled() => break,
                pause = self.once(&mut next) => pause,
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
        // What tokens have said in the last seconds. If it cannot be written, the next one says it again.
        if let Ok(mut book) = Book::open(&self.rounds.folder) {
            self.rounds.customers.learn(&mut book).ok();
        }
    }

    /// One round, if it is time for one, and everything that is due. Gives the time until the next look.
    async fn once(&mut self, next: &mut i64) -> Duration {
        match self.try_once(next).await {
            Ok(pause) => {
                if std::mem::take(&mut self.failures) >= PATIENCE {
                    tracing::info!(event = "billing_recovered", "usage is billed again");
                }
                pause
            }
            Err(error) => {
                // A file that somebody else has open is there the next time; a key that is not good stays so.
                let step = if matches!(error, RoundError::Locked(_)) { PATIENCE } else { 1 };
                let before = self.failures;
                self.failures = before.saturating_add(step);
                if before < PATIENCE && self.failures >= PATIENCE {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(event = "billing_failed", %error, cause, "usage is kept, but not billed");
                }
                LOOK
            }
        }
    }

    async fn try_once(&mut self, next: &mut i64) -> Result<Duration, RoundError> {
        let mut book = Book::open(&self.rounds.folder)?;
        let every = self.rounds.settings.every.as_secs().cast_signed().max(1);
        let mut pause = LOOK;
        if now() >= *next {
            match self.rounds.plan(&mut book, now())? {
                Planned::All => *next = next_round(now(), every),
                Planned::Waiting => pause = SEAL,
            }
        }
        let sent = self.rounds.send(&mut book).await;
        self.measure(&book)?;
        let rest = sent?;
        let due = [Some(*next), book.next_try()?].into_iter().flatten();
        let soonest = due.map(|at| Duration::from_secs((at - now()).max(0).unsigned_abs())).min();
        let pause = soonest.map_or(pause, |soonest| soonest.min(pause)).max(Duration::from_millis(200));
        Ok(rest.map_or(pause, |rest| rest.min(LOOK).max(pause)))
    }

    fn measure(&mut self, book: &Book) -> Result<(), BookError> {
        let (unsent, oldest) = book.unsent()?;
        let age = oldest.map_or(0, |due| (now() - due).max(0));
        self.metrics.unsent.set(unsent);
        self.metrics.oldest.set(age as f64);
        let is_late = age > LONG;
        if is_late && !self.late {
            tracing::warn!(event = "usage_unsent", unsent, seconds = age, "usage is not billed for long");
        }
        self.late = is_late;
        Ok(())
    }
}
