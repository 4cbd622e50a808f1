//! Webhooks out: events of the pool enter, signed requests to one receiver leave (Standard Webhooks).
//!
//! An event is on disk before its first attempt and stays there until the receiver has taken it or it is given up: it
//! survives `kill -9`. It arrives at least once; a receiver knows a repeat by its `webhook-id`. Events of one package
//! arrive in the order in which they happened, those of different packages do not wait for each other.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use par_pool::fleet::EventSink;
use parking_lot::Mutex;
use prometheus::Registry;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{config::Secret, observe::Redactor};

mod attempt;
mod body;
mod desk;
mod letter;
mod metrics;
mod outbox;
pub(crate) mod retry_after;
mod schedule;
mod sender;
mod signature;
mod status;

#[cfg(test)]
mod tests;

use self::{
    attempt::Post, desk::Desk, metrics::WebhookMetrics, outbox::Outbox, sender::Sender, signature::Signer,
};
pub(crate) use self::{
    desk::DeskError,
    schedule::Schedule,
    signature::{SecretError, keys},
    status::Deliveries,
};

/// Whole time of one attempt. Receivers are asked to take a letter first and to work afterwards; one that needs longer
/// holds up its package.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Least time that the outbox has for its last changes after the attempts have ended: a sync of a slow disk.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Where letters go, and how they are signed and tried.
pub(crate) struct WebhookSettings {
    /// The receiver.
    pub(crate) url: Url,
    /// Every letter is signed with each of them; at least one.
    pub(crate) secrets: Vec<Secret>,
    /// When letters are tried again.
    pub(crate) schedule: Schedule,
    /// Whole time of one attempt.
    pub(crate) timeout: Duration,
    /// What keeps secrets out of letters.
    pub(crate) redactor: Redactor,
}

impl WebhookSettings {
    /// The usual schedule and timeout.
    pub(crate) fn new(url: Url, secrets: Vec<Secret>, redactor: Redactor) -> Self {
        Self { url, secrets, schedule: Schedule::default(), timeout: ATTEMPT_TIMEOUT, redactor }
    }
}

/// Webhooks that run. Dropped, they end at once; what is pending is sent after the next start.
pub(crate) struct Webhooks {
    desk: Desk,
    receiver: String,
    stop: CancellationToken,
    running: Mutex<Option<Running>>,
}

/// What ends with a stop.
struct Running {
    sender: JoinHandle<()>,
    desk: oneshot::Receiver<()>,
}

impl Webhooks {
    /// Opens the outbox in `data_dir` and begins to send what is in it. To be called within a tokio runtime, which
    /// does the sending, after a rustls provider was installed.
    pub(crate) fn start(settings: WebhookSettings, data_dir: &Path, registry: &Registry) -> io::Result<Self> {
        let signer = Signer::new(&settings.secrets)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let post = Post::new(settings.url, signer, settings.timeout)?;
        let receiver = post.shown();
        let metrics = WebhookMetrics::register(registry).map_err(io::Error::other)?;
        let (news, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let (desk, ended) =
            Desk::start(Outbox::open(data_dir)?, metrics, Arc::clone(&news), settings.redactor)?;
        let sender = Sender { desk: desk.clone(), post, schedule: settings.schedule };
        let sender = tokio::spawn(sender.run(news, stop.clone()));
        tracing::info!(event = "webhooks_started", receiver);
        Ok(Self { desk, receiver, stop, running: Mutex::new(Some(Running { sender, desk: ended })) })
    }

    /// Where the pool tells its events. Never blocks.
    pub(crate) fn sink(&self) -> EventSink {
        let desk = self.desk.clone();
        EventSink(Arc::new(move |event| desk.tell(event)))
    }

    /// What is pending and what is dead.
    pub(crate) async fn status(&self) -> Result<Deliveries, DeskError> {
        let mut deliveries = self.desk.deliveries().await?;
        deliveries.receiver = Some(self.receiver.clone());
        Ok(deliveries)
    }

    /// Begins no more attempts, gives the running ones `grace` to end, and closes the outbox. Events told before are
    /// on disk when this returns; later ones are lost and said. More than once is harmless.
    pub(crate) async fn stop(&self, grace: Duration) {
        self.stop.cancel();
        let Some(mut running) = self.running.lock().take() else { return };
        let begin = Instant::now();
        if timeout(grace, &mut running.sender).await.is_err() {
            running.sender.abort();
            tracing::info!(
                event = "webhooks_cut",
                "attempts that did not end are repeated after the next start"
            );
        }
        self.desk.close();
        let patience = grace.saturating_sub(begin.elapsed()).max(LAST_WRITE);
        // The thread ends by dropping its side.
        if timeout(patience, &mut running.desk).await.is_err() {
            tracing::error!(
                event = "outbox_stuck",
                "the disk did not take the last changes of webhooks in time"
            );
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        self.stop.cancel();
        self.desk.close();
    }
}
