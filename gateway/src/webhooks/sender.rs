//! Sends what is due: at most one letter of each package at a time, at most eight in all.

use std::{
    collections::HashMap,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Notify,
    task::{Id, JoinSet},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    attempt::Post,
    desk::Desk,
    letter::{Attempted, Change, Letter},
    schedule::Schedule,
};

/// Most attempts at the same time. A receiver that hangs holds up the eight packages it hangs on; more would be a
/// crowd before a receiver that comes back.
const AT_ONCE: usize = 8;

/// Longest sleep: a clock that was set forward, or a machine that slept, is noticed within it.
const LOOK_UP: Duration = Duration::from_secs(60);

/// Pause before an outbox that could not be read is read again.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// The loop that sends.
pub(super) struct Sender {
    /// Where letters are.
    pub(super) desk: Desk,
    /// How they leave.
    pub(super) post: Post,
    /// When they are tried again.
    pub(super) schedule: Schedule,
}

impl Sender {
    /// Sends until `stop`; then the running attempts end. Dropped, they are cut: their letters stay pending.
    pub(super) async fn run(self, news: Arc<Notify>, stop: CancellationToken) {
        let sender = Arc::new(self);
        let mut attempts = JoinSet::new();
        // Packages that have an attempt running, by its task: a task that panics gives its package back as well.
        let mut busy: HashMap<Id, String> = HashMap::new();
        while !stop.is_cancelled() {
            let pause = sender.begin(&mut attempts, &mut busy).await;
            let pause = pin!(sleep(pause));
            tokio::select! {
                () = stop.cancelled() => {}
                () = news.notified() => {}
                () = pause => {}
                Some(ended) = attempts.join_next_with_id() => {
                    let id = match &ended {
                        Ok((id, ())) => *id,
                        Err(error) => error.id(),
                    };
                    busy.remove(&id);
                }
            }
        }
        while attempts.join_next().await.is_some() {}
    }

    /// Begins what is due and has room. Returns when to look again if nothing happens before.
    async fn begin(self: &Arc<Self>, attempts: &mut JoinSet<()>, busy: &mut HashMap<Id, String>) -> Duration {
        if busy.len() >= AT_ONCE {
            return LOOK_UP;
        }
        let now = SystemTime::now();
        // Letters with an attempt running are due as well; there is room left for others among so many.
        let due = match self.desk.due(now, self.schedule.horizon(), AT_ONCE).await {
            Ok(due) => due,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(event = "outbox_unreadable", %error, cause, "no webhook is sent");
                return READ_AGAIN;
            }
        };
        for letter in due.letters {
            if busy.len() >= AT_ONCE || busy.values().any(|package| *package == letter.package) {
                continue;
            }
            let package = letter.package.clone();
            let attempt = attempts.spawn(Arc::clone(self).deliver(letter));
            busy.insert(attempt.id(), package);
        }
        let next = due.next.map(|next| next.duration_since(now).unwrap_or_default());
        next.unwrap_or(LOOK_UP).min(LOOK_UP)
    }

    async fn deliver(self: Arc<Self>, letter: Letter) {
        let attempted = self.post.attempt(&letter).await;
        let change = settle(&letter, attempted, &self.schedule, SystemTime::now(), random());
        say(&letter, &change);
        // After the end it stays pending, and the receiver knows the repeat by its id.
        self.desk.apply(change).await.ok();
    }
}

/// What an attempt does to its letter. Pure.
fn settle(
    letter: &Letter,
    attempted: Attempted,
    schedule: &Schedule,
    now: SystemTime,
    random: f64,
) -> Change {
    let place = letter.place;
    match attempted {
        Attempted::Delivered => Change::Delivered { place },
        Attempted::Gone => {
            let error = "the receiver answered 410 Gone: it wants no more of this".to_owned();
            Change::Died { place, at: now, error }
        }
        Attempted::Failed { error, retry_after } => {
            let failed = letter.attempts.saturating_add(1);
            match schedule.next(letter.created, failed, now, retry_after, random) {
                Some(next) => Change::Postponed { place, next, error },
                None => Change::Died { place, at: now, error },
            }
        }
    }
}

/// The log hears of the first failure of a letter and of its end; what is between can be seen in the status.
fn say(letter: &Letter, change: &Change) {
    let Letter { id, package, event: kind, attempts, .. } = letter;
    match change {
        Change::Accepted(_) => {}
        Change::Delivered { .. } if *attempts == 0 => {
            tracing::debug!(event = "webhook_sent", id, kind, package);
        }
        Change::Delivered { .. } => {
            tracing::info!(event = "webhook_sent", id, kind, package, failed = attempts, "sent at last");
        }
        Change::Postponed { error, .. } if *attempts == 0 => {
            tracing::warn!(event = "webhook_failed", id, kind, package, error, "will be tried again");
        }
        Change::Postponed { error, .. } => {
            tracing::debug!(event = "webhook_failed", id, kind, package, error, failed = attempts + 1);
        }
        Change::Died { error, .. } => {
            tracing::error!(
                event = "webhook_dead",
                id,
                kind,
                package,
                error,
                failed = attempts + 1,
                "given up"
            );
        }
    }
}

/// Between 0 and 1; 0 if the system has no randomness: attempts are then merely not spread.
fn random() -> f64 {
    getrandom::u32().map_or(0.0, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_ends_a_letter_or_postpones_it() {
        let created = SystemTime::UNIX_EPOCH;
        let now = created + Duration::from_secs(5);
        let schedule = Schedule::new(vec![Duration::from_secs(10); 2], Duration::from_secs(1000));
        let failed = |wait: Option<u64>| Attempted::Failed {
            error: "no".to_owned(),
            retry_after: wait.map(Duration::from_secs),
        };
        let postponed = |seconds| Change::Postponed {
            place: 3,
            next: created + Duration::from_secs(seconds),
            error: "no".to_owned(),
        };
        let died = |error: &str| Change::Died { place: 3, at: now, error: error.to_owned() };
        for (attempts, attempted, wanted) in [
            (0, Attempted::Delivered, Change::Delivered { place: 3 }),
            (9, Attempted::Delivered, Change::Delivered { place: 3 }),
            (0, Attempted::Gone, died("the receiver answered 410 Gone: it wants no more of this")),
            (0, failed(None), postponed(15)),
            (1, failed(None), postponed(15)),
            (1, failed(Some(60)), postponed(65)),
            (2, failed(None), died("no")),
            (2, failed(Some(60)), died("no")),
        ] {
            let letter = Letter {
                place: 3,
                id: "msg_1".to_owned(),
                package: "a".to_owned(),
                event: "package.mounted".to_owned(),
                body: Vec::new(),
                created,
                attempts,
            };
            assert_eq!(settle(&letter, attempted, &schedule, now, 0.0), wanted);
        }
    }

    #[test]
    fn random_numbers_lie_between_0_and_1() {
        assert!((0..100).all(|_| (0.0..=1.0).contains(&random())));
    }
}
