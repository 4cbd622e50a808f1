//! Somebody else who is asked: bounded in number, time and size, and a silence is told once.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use reqwest::{Client, RequestBuilder};
use tokio::{sync::Semaphore, time::timeout};
use url::Url;

use super::ChainError;
use crate::auth::{
    AuthFault,
    issuer::{Answer, Web},
};

/// Most questions at the same time: strangers with random tokens must not become a crowd before somebody else. An
/// endpoint that needs 20 ms still answers 3,000 a second.
const AT_ONCE: usize = 64;

/// Longest wait for one's turn; as long as one answer may take.
const TURN: Duration = Duration::from_secs(5);

/// Longest answer that is read: claims of one caller.
const ANSWER: usize = 256 << 10;

/// A server that is asked who calls.
#[derive(Debug)]
pub(super) struct Witness {
    name: String,
    web: Web,
    turns: Semaphore,
    silent: AtomicBool,
}

impl Witness {
    /// A witness of the type `kind` at `url`; `ca` is trusted beside the system's authorities.
    pub(super) fn new(kind: &str, url: &Url, ca: Option<&[u8]>) -> Result<Self, ChainError> {
        let name = format!("{kind} {}", url.origin().ascii_serialization());
        let web = Web::new(ca).map_err(|error| ChainError::new(name.as_str(), &error))?;
        Ok(Self { name, web, turns: Semaphore::new(AT_ONCE), silent: AtomicBool::new(false) })
    }

    /// The type and where it is.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// To make questions with.
    pub(super) fn client(&self) -> &Client {
        self.web.client()
    }

    /// Asks, when it is one's turn.
    pub(super) async fn ask(&self, question: RequestBuilder) -> Result<Answer, AuthFault> {
        // The semaphore is never closed.
        let Ok(Ok(_turn)) = timeout(TURN, self.turns.acquire()).await else {
            return Err(self.failed("more questions than it answers"));
        };
        self.web.ask(question, ANSWER).await.map_err(|error| self.failed(&error))
    }

    /// It has given no answer, or none that can be used. Said once, until it answers again.
    pub(super) fn failed(&self, detail: &(impl ToString + ?Sized)) -> AuthFault {
        let detail = detail.to_string();
        if !self.silent.swap(true, Ordering::Relaxed) {
            let (name, detail) = (&self.name, &detail);
            tracing::warn!(event = "authenticator_unavailable", name, detail, "callers cannot be proved");
        }
        AuthFault::Unavailable { authenticator: self.name.clone(), detail }
    }

    /// It has given an answer that can be used.
    pub(super) fn answered(&self) {
        if self.silent.load(Ordering::Relaxed) && self.silent.swap(false, Ordering::Relaxed) {
            tracing::info!(event = "authenticator_available", name = self.name, "answers again");
        }
    }
}
