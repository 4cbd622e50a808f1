//! What calls have used, told to whoever charges for it: at the end of the call and not at that of its caller, who may
//! have left long before.

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{nested::Over, reply::Reply};

/// Charges tenants.
pub trait Meter: Debug + Send + Sync {
    /// A call has ended, in whatever way. `meta` is the metadata of its last frame, never empty: a JSON object whose
    /// `usage`, if there is one, says what it has used (`FRAMES.md`).
    fn charge(&self, tenant: &Arc<str>, meta: &[u8]);

    /// A call has ended for whose answer nobody has waited: what it has used is in nobody's hands but these.
    fn unclaimed(&self, call: &Unclaimed<'_>);
}

/// What the worker has used for a call, as it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spent {
    /// Time of the handler; zero: it has not answered.
    pub worker: Duration,
    /// Processor time; zero: not told.
    pub cpu: Duration,
    /// Metadata of the last frame, which may say `usage` and `peak_rss_kb`; of a worker that died what it had told of the
    /// call until then.
    pub meta: Bytes,
}

/// A call that ended behind its caller's back.
#[derive(Debug)]
pub struct Unclaimed<'a> {
    /// Its name.
    pub request_id: &'a str,
    /// On whose account.
    pub tenant: &'a Arc<str>,
    /// What its worker was told of it: JSON as in `FRAMES.md`, kind `CALL`.
    pub meta: &'a [u8],
    /// How many calls it is nested in.
    pub depth: u8,
    /// Whether it is an action of a surface, and no call of an export.
    pub is_action: bool,
    /// Why nobody waits.
    pub over: Over,
    /// What it has used.
    pub spent: Spent,
}

/// Whose call it is, and who charges for it.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) meter: Arc<dyn Meter>,
    pub(crate) tenant: Arc<str>,
}

impl Account {
    /// A call has ended.
    pub(crate) fn settle(&self, reply: &Reply) {
        if let Some(meta) = reply.used() {
            self.meter.charge(&self.tenant, meta);
        }
    }
}

/// What is charged for a call by itself if nobody takes its answer.
#[derive(Debug)]
pub(crate) struct Owed {
    pub(crate) account: Account,
    pub(crate) request_id: Arc<str>,
    pub(crate) meta: Bytes,
    pub(crate) depth: u8,
    pub(crate) is_action: bool,
    pub(crate) sent: Instant,
    pub(crate) deadline: Instant,
    /// Why its caller left, if that was noted.
    pub(crate) over: Option<Over>,
}

/// An answer on its way to whoever waits for it. Dropped on the way, it has what the call has used charged.
#[derive(Debug)]
pub(crate) struct Delivery {
    reply: Option<Reply>,
    owed: Option<Owed>,
}

impl Delivery {
    /// Of a call that somebody is charged for, or nobody.
    pub(crate) fn new(reply: Reply, owed: Option<Owed>) -> Self {
        Self { reply: Some(reply), owed }
    }

    /// The answer; whoever takes it has it charged.
    pub(crate) fn take(mut self) -> Reply {
        self.owed = None;
        // It is taken once: this consumes the delivery.
        self.reply.take().unwrap_or(Reply::Returned)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let (Some(reply), Some(owed)) = (self.reply.take(), self.owed.take()) else { return };
        let spent = match &reply {
            // It never began.
            Reply::Returned => return,
            Reply::Died { .. } => Spent { worker: owed.sent.elapsed(), ..reply.spent() },
            Reply::Done { .. } | Reply::Failed { .. } | Reply::Ended { .. } | Reply::Cancelled { .. } => {
                reply.spent()
            }
        };
        let is_late = || Instant::now() >= owed.deadline;
        let over = owed.over.unwrap_or_else(|| if is_late() { Over::Late } else { Over::Left });
        let Account { meter, tenant } = &owed.account;
        meter.unclaimed(&Unclaimed {
            request_id: &owed.request_id,
            tenant,
            meta: &owed.meta,
            depth: owed.depth,
            is_action: owed.is_action,
            over,
            spent,
        });
    }
}

impl Reply {
    /// Metadata that may say what the call has used; almost no call has any.
    pub(crate) fn used(&self) -> Option<&[u8]> {
        let meta = match self {
            Self::Done { meta, .. }
            | Self::Failed { meta, .. }
            | Self::Ended { meta, .. }
            | Self::Cancelled { meta, .. }
            | Self::Died { meta, .. } => meta,
            Self::Returned => return None,
        };
        (!meta.is_empty()).then_some(&**meta)
    }

    /// What the worker says that it has used.
    pub(crate) fn spent(&self) -> Spent {
        let micros = |micros: u32| Duration::from_micros(u64::from(micros));
        match self {
            Self::Done { micros: worker, cpu, meta, .. }
            | Self::Failed { micros: worker, cpu, meta, .. }
            | Self::Ended { micros: worker, cpu, meta }
            | Self::Cancelled { micros: worker, cpu, meta } => {
                Spent { worker: micros(*worker), cpu: micros(*cpu), meta: meta.clone() }
            }
            Self::Died { meta, .. } => Spent { meta: meta.clone(), ..Spent::default() },
            Self::Returned => Spent::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct Book(Mutex<Vec<(String, Over, u64)>>);

    impl Meter for Book {
        fn charge(&self, _tenant: &Arc<str>, _meta: &[u8]) {}

        fn unclaimed(&self, call: &Unclaimed<'_>) {
            let cpu = u64::try_from(call.spent.cpu.as_micros()).unwrap();
            self.0.lock().push((call.request_id.to_owned(), call.over, cpu));
        }
    }

    fn delivery(book: &Arc<Book>, reply: Reply, over: Option<Over>) -> Delivery {
        let account = Account { meter: Arc::clone(book) as Arc<dyn Meter>, tenant: "t".into() };
        let (sent, deadline) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        let (request_id, meta) = ("r".into(), Bytes::new());
        let owed = Owed { account, request_id, meta, depth: 0, is_action: false, sent, deadline, over };
        Delivery::new(reply, Some(owed))
    }

    #[test]
    fn an_answer_that_nobody_takes_is_charged_and_one_that_is_taken_is_not() {
        let book = Arc::new(Book::default());
        let ended = || Reply::Cancelled { micros: 5, cpu: 3, meta: Bytes::new() };
        delivery(&book, ended(), None).take();
        drop(delivery(&book, Reply::Returned, None));
        assert!(book.0.lock().is_empty());
        drop(delivery(&book, ended(), None));
        drop(delivery(&book, ended(), Some(Over::Late)));
        let told: Vec<_> = book.0.lock().iter().map(|(_, over, cpu)| (*over, *cpu)).collect();
        assert_eq!(told, [(Over::Left, 3), (Over::Late, 3)]);
    }
}
