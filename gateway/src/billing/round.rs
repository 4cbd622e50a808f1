//! One round of billing: windows that are over become events, events are sent, and what is answered is written down.
//!
//! Before an event is sent the book says so, and after its answer the book says that. A process that ends in between finds
//! an event whose fate nobody knows, and sends it again under the same name: the other side counts it once, as long as it
//! remembers names. That is a day; whoever comes later asks what was counted before it sends.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;

use super::{
    book::{Book, BookError, Entry, State, UNCLEAR, UNMAPPED},
    customers::{Customers, CustomersError},
    fate::{Fate, fate},
    measure::{Amounts, Measure},
    plan::{Window, events},
    stripe::{AT_ONCE, Sent, Stripe, told},
    verdict::{Verdict, pause},
};
use crate::{
    auth::Accounts,
    config::{BillingApi, BillingSettings},
    meter::{Ledger, LedgerError, Meter},
};

/// Events in flight at once: the other side takes a thousand a second of one account, and answers in a tenth of one.
const WAVE: usize = 64;

/// Events that are looked at for a wave: many of them may be of one customer, of which one is in flight at a time.
const LOOKED_AT: u32 = 4096;

/// For how long the other side surely remembers a name: a day, less an hour for clocks and ways.
const REMEMBERED: i64 = 23 * 3600;

/// How old an event may be when it is sent: 35 days, less an hour.
const OLDEST: i64 = (35 * 24 - 1) * 3600;

/// How long an event waits whose tenant is nobody's customer, unless the map of customers changes.
const UNMAPPED_WAIT: i64 = 86_400;

/// How long a question waits that was not answered.
const ASK_AGAIN: i64 = 900;

/// For how long events that were taken are kept: until nothing that could come about them is taken by the other side.
const KEPT: i64 = 90 * 24 * 60;

/// Why a round did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoundError {
    /// The book of events.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The ledger of usage.
    #[error("the ledger cannot be read")]
    Ledger(#[from] LedgerError),
    /// The map of customers.
    #[error(transparent)]
    Customers(#[from] CustomersError),
    /// Whoever compared was cut short.
    #[error("the comparison was cut short: {0}")]
    Cut(String),
    /// The key is not good.
    #[error("the billing side does not accept the key: {0}")]
    Locked(String),
}

/// Whether every window that is over has its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planned {
    /// All have.
    All,
    /// Some are not sealed yet.
    Waiting,
}

/// What rounds work on.
#[derive(Debug)]
pub(super) struct Rounds {
    pub(super) settings: Arc<BillingSettings>,
    pub(super) folder: PathBuf,
    pub(super) meter: Arc<Meter>,
    pub(super) stripe: Stripe,
    pub(super) customers: Customers,
    /// Waves in a row that brought nothing.
    failures: u32,
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// What tenants have used in a window, but for calls that are not billed.
pub(super) fn used(
    ledger: &mut Ledger,
    window: Window,
    not_billed: &[String],
) -> Result<Vec<(String, Amounts)>, LedgerError> {
    let marks = vec!["?"; not_billed.len()].join(", ");
    let mut read = ledger.connection().prepare(&format!(
        "SELECT tenant, SUM(requests), SUM(input_tokens), SUM(output_tokens), SUM(worker_us) FROM usage
         WHERE minute >= {} AND minute < {} AND outcome NOT IN ({marks}) GROUP BY tenant ORDER BY tenant",
        window.from, window.to
    ))?;
    let rows = read.query_map(rusqlite::params_from_iter(not_billed), |row| {
        let amounts = Amounts {
            requests: row.get(1)?,
            input_tokens: row.get(2)?,
            output_tokens: row.get(3)?,
            worker_us: row.get(4)?,
        };
        Ok((row.get(0)?, amounts))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Rounds {
    pub(super) fn new(
        settings: Arc<BillingSettings>,
        folder: PathBuf,
        meter: Arc<Meter>,
        stripe: Stripe,
        accounts: Option<Arc<Accounts>>,
    ) -> Self {
        let customers = Customers::new(settings.customers.clone(), accounts);
        Self { settings, folder, meter, stripe, customers, failures: 0 }
    }

    /// Makes events of every window that is over.
    pub(super) fn plan(&self, book: &mut Book, now: i64) -> Result<Planned, RoundError> {
        let (minute, width) = (now.div_euclid(60), self.settings.window_minutes);
        let mut from = match book.planned()? {
            Some((_, planned)) => planned,
            None => {
                let begin = self.settings.since.unwrap_or(minute.div_euclid(width) * width);
                book.begin(begin)?;
                tracing::info!(
                    event = "billing_began",
                    minute = begin,
                    "usage is billed from this minute on"
                );
                begin
            }
        };
        // Somebody else makes it, and is about to.
        let Some(mut ledger) = Ledger::read(&self.folder)? else { return Ok(Planned::Waiting) };
        let sealed = ledger.sealed()?;
        let measures: Vec<Measure> = self.settings.names.iter().map(|(measure, _)| *measure).collect();
        let mut window = Window::at(from, width);
        while window.is_over(minute) {
            if sealed.through.is_none_or(|through| through < window.to - 1) {
                self.meter.want_sealed(window.to - 1);
                return Ok(Planned::Waiting);
            }
            if window.from < sealed.from {
                tracing::error!(
                    event = "billing_incomplete",
                    from = window.from,
                    to = window.to,
                    "the ledger was built again and may lack calls of these minutes: what it has is billed"
                );
            }
            let (mut made, mut rests) = (Vec::new(), Vec::new());
            for (tenant, amounts) in used(&mut ledger, window, &self.settings.not_billed)? {
                let mut carried = Vec::with_capacity(measures.len());
                for measure in &measures {
                    carried.push((*measure, book.rest(&tenant, *measure)?));
                }
                let carried =
                    |measure| carried.iter().find(|(one, _)| *one == measure).map_or(0, |(_, rest)| *rest);
                let (events, left) = events(ledger.name(), &tenant, window, &amounts, &measures, carried);
                made.extend(events);
                rests.extend(left.into_iter().map(|(measure, rest)| (tenant.clone(), measure, rest)));
            }
            book.plan(window, &made, &rests, now)?;
            from = window.to;
            window = Window::at(from, width);
        }
        book.forget(minute - KEPT)?;
        Ok(Planned::All)
    }

    /// Sends what is due, wave by wave, until nothing is left or nothing comes through. Gives the time until another try
    /// makes sense, if that is known.
    pub(super) async fn send(&mut self, book: &mut Book) -> Result<Option<Duration>, RoundError> {
        self.customers.refresh(book)?;
        loop {
            let wave = self.wave(book).await?;
            if wave.is_empty() {
                return Ok(None);
            }
            let sent: Vec<_> = wave
                .iter()
                .map(|(entry, customer)| (entry.event.identifier.as_str(), customer.as_str()))
                .collect();
            book.sending(&sent, now())?;
            let verdicts = self.ask_for(&wave).await;
            let taken = verdicts.contains(&Verdict::Taken);
            let mut longest = None;
            for ((entry, _), verdict) in wave.iter().zip(verdicts) {
                longest = longest.max(write_down(book, entry, verdict)?);
            }
            if taken {
                self.failures = 0;
            } else if longest.is_some() {
                // Nobody is there, or wants to be left alone: the rest would only hear the same.
                self.failures += 1;
                return Ok(longest.max(Some(pause(self.failures, None, random()))));
            }
        }
    }

    /// What is sent next, and to which customer; what cannot be sent is written down. Of v1 one event of each customer
    /// and meter: more at once are refused.
    async fn wave(&mut self, book: &mut Book) -> Result<Vec<(Entry, String)>, RoundError> {
        let now = now();
        let (mut wave, mut busy) = (Vec::new(), HashSet::new());
        let most = match self.settings.api {
            BillingApi::V1 => WAVE,
            BillingApi::V2 => AT_ONCE * 10,
        };
        for entry in book.due(now, LOOKED_AT)? {
            if wave.len() >= most {
                break;
            }
            let identifier = &entry.event.identifier;
            if now - entry.event.window.from * 60 > OLDEST {
                book.end(
                    identifier,
                    State::Dead,
                    Some("it is older than 35 days, which the other side refuses"),
                )?;
                continue;
            }
            // Whoever was billed once stays the one, whatever the map says now.
            let former = entry.customer.as_deref().filter(|_| entry.state == State::Sending);
            let Some(customer) = former.or_else(|| self.customers.of(&entry.event.tenant)) else {
                book.postpone(identifier, now + UNMAPPED_WAIT, UNMAPPED)?;
                continue;
            };
            let customer = customer.to_owned();
            let is_alone = busy.insert((customer.clone(), entry.event.measure));
            if self.settings.api == BillingApi::V1 && !is_alone {
                continue;
            }
            let is_forgotten = entry.first_sent.is_some_and(|first| now - first >= REMEMBERED);
            if is_forgotten && !self.was_lost(book, &entry, &customer, now).await? {
                continue;
            }
            wave.push((entry, customer));
        }
        Ok(wave)
    }

    /// Whether an event that was sent so long ago that its name may be forgotten was surely not counted. Anything else is
    /// written down.
    async fn was_lost(
        &mut self,
        book: &Book,
        entry: &Entry,
        customer: &str,
        now: i64,
    ) -> Result<bool, RoundError> {
        let event = &entry.event;
        let name = self.name(event.measure).to_owned();
        let counted = match self.stripe.counted(&name, customer, event.window).await {
            Ok(counted) => counted,
            Err(error) => {
                book.postpone(&event.identifier, now + ASK_AGAIN, &error.to_string())?;
                return Ok(false);
            }
        };
        let known = book.taken(customer, event.measure, event.window)?;
        match fate(counted, known, event.value) {
            Fate::Counted => {
                book.end(&event.identifier, State::Taken, None)?;
                Ok(false)
            }
            Fate::Lost => {
                book.renew(&event.identifier)?;
                Ok(true)
            }
            Fate::Unclear => {
                let reason = format!(
                    "{UNCLEAR}: the other side has {counted} in its window, of which {known} are known, and this one \
                     is {}",
                    event.value
                );
                book.end(&event.identifier, State::Refused, Some(&reason))?;
                Ok(false)
            }
        }
    }

    async fn ask_for(&mut self, wave: &[(Entry, String)]) -> Vec<Verdict> {
        let settings = Arc::clone(&self.settings);
        let sent: Vec<_> = wave
            .iter()
            .map(|(entry, customer)| Sent {
                name: settings.name(entry.event.measure),
                identifier: &entry.event.identifier,
                customer,
                value: entry.event.value,
                at: entry.event.window.from * 60,
            })
            .collect();
        match self.settings.api {
            BillingApi::V1 => join_all(sent.iter().map(|event| told(self.stripe.one(*event)))).await,
            BillingApi::V2 => {
                let mut verdicts = Vec::with_capacity(sent.len());
                for batch in sent.chunks(AT_ONCE) {
                    let verdict = self.stripe.many(batch).await;
                    if batch.len() == 1 || !matches!(verdict, Verdict::Refused { .. }) {
                        verdicts.extend(std::iter::repeat_n(verdict, batch.len()));
                        continue;
                    }
                    // One that is wrong must not take the others with it.
                    for one in batch {
                        verdicts.push(self.stripe.many(std::slice::from_ref(one)).await);
                    }
                }
                verdicts
            }
        }
    }

    fn name(&self, measure: Measure) -> &str {
        self.settings.name(measure)
    }
}

/// Writes down an answer; gives how long its event waits, if it does.
fn write_down(book: &Book, entry: &Entry, verdict: Verdict) -> Result<Option<Duration>, RoundError> {
    let identifier = &entry.event.identifier;
    match verdict {
        Verdict::Taken => {
            book.end(identifier, State::Taken, None)?;
            Ok(None)
        }
        Verdict::Refused { reason } => {
            tracing::error!(
                event = "usage_refused",
                tenant = entry.event.tenant,
                measure = entry.event.measure.text(),
                value = entry.event.value,
                identifier,
                reason,
                "usage is not billed"
            );
            book.end(identifier, State::Refused, Some(&reason))?;
            Ok(None)
        }
        Verdict::Later { reason, after } => {
            let pause = pause(entry.tries + 1, after, random());
            book.postpone(identifier, now() + pause.as_secs().cast_signed(), &reason)?;
            Ok(Some(pause))
        }
        Verdict::Locked { reason } => Err(RoundError::Locked(reason)),
        // A stream begins a new session by itself.
        Verdict::Expired => Ok(Some(Duration::ZERO)),
    }
}

/// Between 0 and 1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without chance, runtimes come back together, and nothing else.
    getrandom::fill(&mut bytes).ok();
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
