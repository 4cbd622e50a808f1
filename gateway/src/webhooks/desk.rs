//! The one thread that owns the outbox. Events, changes and questions enter by a queue that never blocks; what came
//! together is written together, and nothing is answered before what came earlier is on disk.

use std::{
    io, mem,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, SystemTime},
};

use par_pool::fleet::Event;
use tokio::sync::{Notify, oneshot};

use super::{
    body,
    letter::{Change, Draft},
    metrics::{Outcome, WebhookMetrics},
    outbox::{Due, Outbox},
    status::Deliveries,
};
use crate::observe::Redactor;

/// Most commands that are written in one transaction. A sync costs milliseconds on a slow disk and is shared by all of
/// them; whoever asks waits for no more than these.
const TOGETHER: usize = 256;

/// Pause before what could not be written is tried again. A full disk does not empty itself faster than people act.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// Most changes that wait in memory for a disk that takes nothing. Events are hundreds of bytes and come with
/// rollouts: this is days of them and a few megabytes.
const MOST_UNWRITTEN: usize = 10_000;

/// Why the desk has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    /// Webhooks were stopped.
    #[error("webhooks were stopped")]
    Closed,
    /// The file could not be read.
    #[error("the outbox cannot be read")]
    Unreadable(#[source] rusqlite::Error),
}

enum Command {
    Tell(Event),
    Apply(Change, oneshot::Sender<()>),
    Due { now: SystemTime, horizon: Duration, most: usize, answer: oneshot::Sender<rusqlite::Result<Due>> },
    Deliveries(oneshot::Sender<rusqlite::Result<Deliveries>>),
    Close,
}

/// A way to the desk; clones lead to the same one.
#[derive(Clone)]
pub(super) struct Desk(mpsc::Sender<Command>);

impl Desk {
    /// Starts the thread. `news` is told when an event is on disk. The receiver learns of the thread's end.
    pub(super) fn start(
        outbox: Outbox,
        metrics: WebhookMetrics,
        news: Arc<Notify>,
        redactor: Redactor,
    ) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let pending = outbox.pending().map_err(io::Error::other)?;
        metrics.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        let (commands, queue) = mpsc::channel();
        let (ended, end) = oneshot::channel();
        let unwritten = Vec::new();
        let clerk =
            Clerk { outbox, metrics, news, redactor, queue, unwritten, is_failing: false, _ended: ended };
        thread::Builder::new().name("par-outbox".to_owned()).spawn(move || clerk.run())?;
        Ok((Self(commands), end))
    }

    /// Takes an event. Never blocks.
    pub(super) fn tell(&self, event: Event) {
        if let Err(mpsc::SendError(Command::Tell(event))) = self.0.send(Command::Tell(event)) {
            tracing::warn!(
                event = "webhook_too_late",
                kind = event.kind.name(),
                package = event.package,
                "an event after the end of webhooks is not sent"
            );
        }
    }

    /// Makes a change; on disk when this returns, however long that takes.
    pub(super) async fn apply(&self, change: Change) -> Result<(), DeskError> {
        let (done, answer) = oneshot::channel();
        self.0.send(Command::Apply(change, done)).map_err(|_| DeskError::Closed)?;
        answer.await.map_err(|_| DeskError::Closed)
    }

    /// Letters that are due, as [`Outbox::due`] finds them.
    pub(super) async fn due(
        &self,
        now: SystemTime,
        horizon: Duration,
        most: usize,
    ) -> Result<Due, DeskError> {
        let (answer, due) = oneshot::channel();
        self.0.send(Command::Due { now, horizon, most, answer }).map_err(|_| DeskError::Closed)?;
        due.await.map_err(|_| DeskError::Closed)?.map_err(DeskError::Unreadable)
    }

    /// What people see.
    pub(super) async fn deliveries(&self) -> Result<Deliveries, DeskError> {
        let (answer, deliveries) = oneshot::channel();
        self.0.send(Command::Deliveries(answer)).map_err(|_| DeskError::Closed)?;
        deliveries.await.map_err(|_| DeskError::Closed)?.map_err(DeskError::Unreadable)
    }

    /// Ends the thread once everything that came before is written.
    pub(super) fn close(&self) {
        // Closed already is what is wanted.
        self.0.send(Command::Close).ok();
    }
}

/// A change that is not on disk yet, and who waits for it.
struct Unwritten {
    change: Change,
    done: Option<oneshot::Sender<()>>,
}

struct Clerk {
    outbox: Outbox,
    metrics: WebhookMetrics,
    news: Arc<Notify>,
    redactor: Redactor,
    queue: Receiver<Command>,
    unwritten: Vec<Unwritten>,
    /// The last transaction failed, and it was said.
    is_failing: bool,
    /// Dropped with the thread.
    _ended: oneshot::Sender<()>,
}

impl Clerk {
    fn run(mut self) {
        let mut is_open = true;
        while is_open {
            let first = if self.unwritten.is_empty() {
                self.queue.recv().unwrap_or(Command::Close)
            } else {
                match self.queue.recv_timeout(WRITE_AGAIN) {
                    Ok(command) => command,
                    Err(RecvTimeoutError::Disconnected) => Command::Close,
                    Err(RecvTimeoutError::Timeout) => {
                        self.write();
                        continue;
                    }
                }
            };
            let mut commands = vec![first];
            commands.extend(self.queue.try_iter().take(TOGETHER - 1));
            is_open = self.serve(commands);
        }
        if !self.unwritten.is_empty() {
            let changes = self.unwritten.len();
            tracing::error!(
                event = "outbox_unwritten",
                changes,
                "the disk took no more changes until the end"
            );
        }
    }

    /// Writes what is to be written, then answers. Returns whether there will be more.
    fn serve(&mut self, commands: Vec<Command>) -> bool {
        let mut questions = Vec::new();
        let mut is_open = true;
        for command in commands {
            match command {
                Command::Tell(event) => self.accept(&event),
                Command::Apply(change, done) => self.unwritten.push(Unwritten { change, done: Some(done) }),
                Command::Due { .. } | Command::Deliveries(_) => questions.push(command),
                Command::Close => {
                    is_open = false;
                    break;
                }
            }
        }
        self.write();
        for question in questions {
            // Who does not wait for the answer any more has no use for it.
            match question {
                Command::Due { now, horizon, most, answer } => {
                    answer.send(self.outbox.due(now, horizon, most)).ok();
                }
                Command::Deliveries(answer) => {
                    answer.send(self.outbox.deliveries()).ok();
                }
                Command::Tell(_) | Command::Apply(..) | Command::Close => {}
            }
        }
        is_open
    }

    fn accept(&mut self, event: &Event) {
        let id = match new_id() {
            Ok(id) if self.unwritten.len() < MOST_UNWRITTEN => id,
            other => {
                let cause =
                    other.err().map_or_else(|| "too many wait for the disk".to_owned(), |e| e.to_string());
                self.metrics.count(Outcome::Lost);
                let (kind, package) = (event.kind.name(), &event.package);
                tracing::error!(event = "webhook_lost", kind, package, cause, "an event is not sent");
                return;
            }
        };
        let mut body = body::of(event);
        self.redactor.mask(&mut body);
        let draft =
            Draft { id, package: event.package.clone(), event: event.kind.name(), body, created: event.at };
        self.unwritten.push(Unwritten { change: Change::Accepted(draft), done: None });
    }

    fn write(&mut self) {
        if self.unwritten.is_empty() {
            return;
        }
        if let Err(error) = self.outbox.apply(self.unwritten.iter().map(|unwritten| &unwritten.change)) {
            if !mem::replace(&mut self.is_failing, true) {
                tracing::error!(
                    event = "outbox_failing",
                    %error,
                    "webhooks cannot be written down; events wait in memory and are not sent"
                );
            }
            return;
        }
        if mem::replace(&mut self.is_failing, false) {
            tracing::info!(event = "outbox_recovered", changes = self.unwritten.len());
        }
        for Unwritten { change, done } in self.unwritten.drain(..) {
            match change {
                Change::Accepted(_) => {
                    self.metrics.pending.inc();
                    self.news.notify_one();
                }
                Change::Delivered { .. } => {
                    self.metrics.pending.dec();
                    self.metrics.count(Outcome::Delivered);
                }
                Change::Postponed { .. } => self.metrics.count(Outcome::Failed),
                Change::Died { .. } => {
                    self.metrics.pending.dec();
                    self.metrics.count(Outcome::Dead);
                }
            }
            if let Some(done) = done {
                // Who does not wait for it any more needs no word.
                done.send(()).ok();
            }
        }
    }
}

/// `msg_` and 128 random bits: no two events of any runtime share one.
fn new_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("msg_{}", hex::encode(bytes)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;
    use crate::webhooks::tests::switched;

    fn desk() -> (TempDir, Desk, WebhookMetrics, oneshot::Receiver<()>) {
        let folder = tempfile::tempdir().unwrap();
        let metrics = WebhookMetrics::register(&prometheus::Registry::new()).unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        let (desk, end) = Desk::start(outbox, metrics.clone(), Arc::default(), Redactor::new()).unwrap();
        (folder, desk, metrics, end)
    }

    /// Makes the disk refuse every new event, as a full one would, or take them again.
    fn refuse(folder: &Path, is_refusing: bool) {
        let other = Connection::open(folder.join("outbox.db")).unwrap();
        let change = if is_refusing {
            "CREATE TRIGGER full BEFORE INSERT ON pending BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        } else {
            "DROP TRIGGER full"
        };
        other.execute_batch(change).unwrap();
    }

    #[tokio::test]
    async fn what_the_disk_refuses_waits_and_keeps_its_order() {
        let (folder, desk, metrics, _end) = desk();
        refuse(folder.path(), true);
        desk.tell(switched("a", "first"));
        desk.tell(switched("a", "second"));
        assert_eq!(desk.deliveries().await.unwrap().pending, 0, "nothing half-written");
        refuse(folder.path(), false);
        desk.tell(switched("a", "third"));
        assert_eq!(desk.deliveries().await.unwrap().pending, 3);
        assert_eq!(metrics.pending.get(), 3);
        let oldest = desk.due(SystemTime::now(), Duration::from_secs(60), 8).await.unwrap().letters;
        assert!(String::from_utf8_lossy(&oldest[0].body).contains("/first"));
        assert_eq!(metrics.counted(Outcome::Lost), 0);
    }

    #[tokio::test]
    async fn a_disk_that_recovers_is_written_without_being_asked() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = WebhookMetrics::register(&prometheus::Registry::new()).unwrap();
        let news = Arc::new(Notify::new());
        let outbox = Outbox::open(folder.path()).unwrap();
        let (desk, _end) = Desk::start(outbox, metrics, Arc::clone(&news), Redactor::new()).unwrap();
        refuse(folder.path(), true);
        desk.tell(switched("a", "first"));
        assert_eq!(desk.deliveries().await.unwrap().pending, 0);
        refuse(folder.path(), false);
        news.notified().await;
        assert_eq!(desk.deliveries().await.unwrap().pending, 1);
    }

    #[tokio::test]
    async fn memory_is_bounded_while_the_disk_takes_nothing() {
        let (folder, desk, metrics, _end) = desk();
        refuse(folder.path(), true);
        for number in 0..MOST_UNWRITTEN + 3 {
            desk.tell(switched("a", &format!("x{number}")));
        }
        assert_eq!(desk.deliveries().await.unwrap().pending, 0);
        assert_eq!(metrics.counted(Outcome::Lost), 3);
    }

    #[tokio::test]
    async fn what_was_told_before_the_end_is_written() {
        let (folder, desk, _metrics, end) = desk();
        desk.tell(switched("a", "first"));
        desk.close();
        end.await.unwrap_err();
        assert_eq!(Outbox::open(folder.path()).unwrap().pending().unwrap(), 1);
        desk.tell(switched("a", "late"));
        assert!(matches!(desk.deliveries().await, Err(DeskError::Closed)));
    }

    #[tokio::test]
    async fn what_was_pending_at_the_start_is_counted() {
        let (folder, desk, _metrics, end) = desk();
        desk.tell(switched("a", "first"));
        desk.close();
        end.await.unwrap_err();
        let metrics = WebhookMetrics::register(&prometheus::Registry::new()).unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        let (_desk, _end) = Desk::start(outbox, metrics.clone(), Arc::default(), Redactor::new()).unwrap();
        assert_eq!(metrics.pending.get(), 1);
    }

    #[test]
    fn ids_are_of_the_standard_and_their_own() {
        let (one, other) = (new_id().unwrap(), new_id().unwrap());
        assert!(one.starts_with("msg_") && one.len() == 36 && one != other, "{one}");
    }
}
