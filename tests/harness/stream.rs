//! An answer that is read as it comes.

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, header::HeaderMap};
use serde_json::Value;

/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer whose head has come.
pub(crate) struct Streamed {
    /// HTTP status.
    pub(crate) status: u16,
    /// Headers.
    pub(crate) headers: HeaderMap,
    response: reqwest::Response,
    unread: Vec<u8>,
    /// Why it ended before its end, if it did.
    pub(crate) broken: Option<String>,
}

/// One event of `text/event-stream`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// Its name; `message` if it has none.
    pub(crate) name: String,
    /// Its id, if it has one.
    pub(crate) id: Option<String>,
    /// Its data, which is JSON.
    pub(crate) data: Value,
    /// When it was read.
    pub(crate) at: Instant,
}

impl Streamed {
    /// Sends a request and reads the head.
    pub(crate) async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("a head");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, response, unread: vec![], broken: None }
    }

    /// The next line, without its end; `None` behind the last one.
    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.unread.iter().position(|byte| *byte == b'\n') {
                let rest = self.unread.split_off(at + 1);
                let line = std::mem::replace(&mut self.unread, rest);
                return Some(String::from_utf8_lossy(line.get(..at).unwrap_or_default()).into_owned());
            }
            match tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("more of the answer") {
                Ok(Some(chunk)) => self.unread.extend_from_slice(&chunk),
                Ok(None) => return None,
                Err(error) => {
                    self.broken = Some(error.to_string());
                    return None;
                }
            }
        }
    }

    /// The next line as JSON.
    pub(crate) async fn item(&mut self) -> Option<Value> {
        let line = self.line().await?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}")))
    }

    /// All lines that are left, as JSON.
    pub(crate) async fn items(mut self) -> Vec<Value> {
        let mut items = vec![];
        while let Some(item) = self.item().await {
            items.push(item);
        }
        items
    }

    /// The next event; comments are passed over. `None` at the end.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        let (mut name, mut id, mut data) = ("message".to_owned(), None, None);
        loop {
            let line = self.line().await?;
            if let Some(text) = line.strip_prefix("event: ") {
                text.clone_into(&mut name);
            } else if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.to_owned());
            } else if let Some(text) = line.strip_prefix("data: ") {
                assert!(data.is_none(), "data on two lines");
                data = Some(serde_json::from_str(text).expect("JSON"));
            } else if line.is_empty() {
                if let Some(data) = data.take() {
                    return Some(Event { name, id, data, at: Instant::now() });
                }
            } else {
                assert!(line.starts_with(':'), "{line:?} is no line of an event");
            }
        }
    }

    /// All events that are left.
    pub(crate) async fn events(mut self) -> Vec<Event> {
        let mut events = vec![];
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }

    /// Fails the test unless all that came is an answer with items.
    #[track_caller]
    pub(crate) fn of_kind(self, kind: &str) -> Self {
        let got = self.headers.get("content-type").and_then(|value| value.to_str().ok());
        assert_eq!((self.status, got), (200, Some(kind)));
        self
    }
}
