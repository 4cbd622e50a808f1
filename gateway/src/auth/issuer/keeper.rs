//! Keeps the keys of one issuer fresh: one task asks, by the clock and when a request meets a key that it
//! does not know; everybody else waits for that task's rounds. So there is never more than one question at a
//! time, and a client that leaves does not end it for the others.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    demand::{Demand, Verdict},
    source::Source,
};
use crate::auth::token::{Algorithm, Key, KeySet};

/// Most requests that wait for keys at one time. At a cold start it is all that come; later a flood of
/// made-up names holds no more connections than this.
const MOST_WAITING: usize = 1024;

/// How long everything takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Least time between two questions that requests cause while keys are known.
    pub(super) between: Duration,
    /// The same before the first keys are known: nobody can get in, so the issuer is asked more often.
    pub(super) between_first: Duration,
    /// How long a name that the issuer does not know is not asked about.
    pub(super) unknown: Duration,
    /// How long a request waits for keys.
    pub(super) patience: Duration,
    /// After a failure, how long until the next look by the clock.
    pub(super) again: Duration,
    /// How much of their lifetime keys are used before they are fetched again: an issuer that is down then
    /// has the rest of it to come back before anything is out of date.
    pub(super) ahead: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            between: Duration::from_secs(30),
            between_first: Duration::from_secs(2),
            unknown: Duration::from_secs(60),
            patience: Duration::from_secs(5),
            again: Duration::from_secs(30),
            ahead: 0.8,
        }
    }
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The issuer does not have it, or was asked too lately to be asked again.
    Unknown,
    /// The issuer does not answer.
    Unavailable,
}

/// The keys of one issuer. Dropped, it stops asking.
#[derive(Debug)]
pub(super) struct Keeper {
    source: Source,
    pace: Pace,
    keys: ArcSwapOption<KeySet>,
    demand: Mutex<Demand>,
    wanted: Arc<Notify>,
    /// Rounds that were begun.
    begun: AtomicU64,
    /// Rounds that ended.
    ended: watch::Sender<u64>,
    /// Whether the last round failed.
    failing: AtomicBool,
    waiting: Semaphore,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    /// Keys of `source`; the first are fetched at once if there is a runtime to do it.
    pub(super) fn start(source: Source, pace: Pace) -> Arc<Self> {
        let keeper = Arc::new(Self {
            source,
            pace,
            keys: ArcSwapOption::empty(),
            demand: Mutex::default(),
            wanted: Arc::default(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
            failing: AtomicBool::new(false),
            waiting: Semaphore::new(MOST_WAITING),
            task: Mutex::default(),
        });
        keeper.awake();
        keeper
    }

    /// Sees that the task runs: the runtime that it was on may have ended.
    fn awake(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut task = self.task.lock();
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(runtime.spawn(watch_over(Arc::downgrade(self), Arc::clone(&self.wanted))));
        }
    }

    /// The key, if it is known.
    fn known(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<Arc<Key>> {
        self.keys.load().as_ref()?.find(kid, algorithm).cloned()
    }

    /// The key; asks the issuer for one that is not known and waits for the answer, within bounds.
    pub(super) async fn key(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<Key>, NoKey> {
        if let Some(key) = self.known(kid, algorithm) {
            return Ok(key);
        }
        self.awake();
        let Ok(_place) = self.waiting.try_acquire() else { return Err(self.fault()) };
        match timeout(self.pace.patience, self.wait(kid, algorithm)).await {
            Ok(found) => found,
            Err(_) => Err(NoKey::Unavailable),
        }
    }

    async fn wait(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, NoKey> {
        let name = kid.unwrap_or_default();
        let mut rounds = self.ended.subscribe();
        loop {
            // What the first round or one that runs already brings is good enough for the first keys, and not
            // for a new one: it may have been asked before the issuer had that.
            let (ended, begun) = (*rounds.borrow_and_update(), self.begun.load(SeqCst));
            let has_keys = self.keys.load().is_some();
            let first_runs = !has_keys && (begun == 0 || begun > ended) && !self.failing.load(SeqCst);
            let after = if first_runs {
                ended
            } else {
                let pause = if has_keys { self.pace.between } else { self.pace.between_first };
                let verdict = self.demand.lock().of(name, pause, Instant::now());
                match verdict {
                    Verdict::Ask => self.wanted.notify_one(),
                    Verdict::Join => {}
                    Verdict::Later(left) if left <= self.pace.patience => {
                        self.later(left, kid, algorithm, &mut rounds).await;
                        if let Some(key) = self.known(kid, algorithm) {
                            return Ok(key);
                        }
                        continue;
                    }
                    // A round runs; what it brings may be this key. Waiting for it asks nothing more.
                    Verdict::Later(_) if begun > ended => {
                        let is_over = |round: &u64| *round > ended || self.known(kid, algorithm).is_some();
                        rounds.wait_for(is_over).await.ok();
                        return self.known(kid, algorithm).ok_or_else(|| self.fault());
                    }
                    // A round of somebody else may have ended since we looked.
                    Verdict::Later(_) | Verdict::Unknown => {
                        return self.known(kid, algorithm).ok_or_else(|| self.fault());
                    }
                }
                begun
            };
            let is_answered = |round: &u64| *round > after || self.known(kid, algorithm).is_some();
            // The sender lies beside us.
            rounds.wait_for(is_answered).await.ok();
            if let Some(key) = self.known(kid, algorithm) {
                return Ok(key);
            }
            if self.failing.load(SeqCst) {
                return Err(NoKey::Unavailable);
            }
            if !first_runs {
                let now = Instant::now();
                self.demand.lock().not_found(name, now + self.pace.unknown, now);
                return Err(NoKey::Unknown);
            }
        }
    }

    /// Waits until the issuer may be asked, or a round brings the key before.
    async fn later(
        &self,
        left: Duration,
        kid: Option<&str>,
        algorithm: Algorithm,
        rounds: &mut watch::Receiver<u64>,
    ) {
        let is_there = |_: &u64| self.known(kid, algorithm).is_some();
        // Either way the caller looks again.
        timeout(left, rounds.wait_for(is_there)).await.map(drop).ok();
    }

    fn fault(&self) -> NoKey {
        if self.failing.load(SeqCst) || self.keys.load().is_none() {
            NoKey::Unavailable
        } else {
            NoKey::Unknown
        }
    }

    /// Asks once. Returns how long until the next look by the clock; `failures` are those before in a row.
    async fn round(&self, failures: u32) -> Result<Duration, Duration> {
        self.demand.lock().begun();
        self.begun.fetch_add(1, SeqCst);
        let ending = Ending(self);
        let fetched = self.source.fetch().await;
        let issuer = self.source.issuer();
        let paused = match fetched {
            Ok((keys, lifetime)) => {
                self.take(keys);
                if self.failing.swap(false, SeqCst) {
                    tracing::info!(event = "issuer_back", issuer, "the issuer answers again");
                }
                Ok(lifetime.mul_f64(self.pace.ahead))
            }
            Err(error) => {
                if !self.failing.swap(true, SeqCst) {
                    let known = self.keys.load().as_ref().map_or(0, |keys| keys.len());
                    tracing::warn!(
                        event = "issuer_unreachable",
                        issuer,
                        %error,
                        known,
                        "the keys of the issuer cannot be fetched; those that are known go on"
                    );
                }
                let first = Duration::from_secs(1 << failures.min(5)).min(self.pace.again);
                Err(if self.keys.load().is_some() { self.pace.again } else { first })
            }
        };
        drop(ending);
        paused
    }

    /// Puts new keys in the place of the old ones. What keys proved that are not among the new is forgotten
    /// with them.
    fn take(&self, keys: KeySet) {
        let previous = self.keys.load_full();
        let is_same = previous.as_ref().is_some_and(|previous| keys.is(previous));
        if is_same {
            return;
        }
        let count = keys.len();
        let keys = match &previous {
            Some(previous) => keys.replacing(previous),
            None => keys,
        };
        self.keys.store(Some(Arc::new(keys)));
        let issuer = self.source.issuer();
        tracing::info!(event = "issuer_keys", issuer, count, "the issuer has new keys");
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

/// Ends a round, also one that is cut: whoever waits for it looks again.
struct Ending<'a>(&'a Keeper);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.ended.send_replace(self.0.begun.load(SeqCst));
    }
}

/// Asks by the clock and on demand, as long as somebody keeps the keys.
async fn watch_over(keeper: Weak<Keeper>, wanted: Arc<Notify>) {
    let mut failures = 0;
    loop {
        let Some(strong) = keeper.upgrade() else { return };
        let pause = match strong.round(failures).await {
            Ok(pause) => {
                failures = 0;
                pause
            }
            Err(pause) => {
                failures = failures.saturating_add(1);
                pause
            }
        };
        drop(strong);
        tokio::select! {
            () = sleep(pause) => {}
            () = wanted.notified() => {}
        }
    }
}
