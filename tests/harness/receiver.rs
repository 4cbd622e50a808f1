//! A receiver of webhooks that keeps what came, can be told to refuse it, and checks signatures on its own.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::{net::TcpListener, task::JoinHandle};

use super::eventually_within;

/// What came.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body as it came.
    pub(crate) body: Bytes,
    /// What it was answered.
    pub(crate) answered: u16,
}

#[derive(Debug, Default)]
struct Seen {
    deliveries: Vec<Delivery>,
    next: VecDeque<u16>,
    always: Option<u16>,
}

/// Runs until it is dropped.
pub(crate) struct Receiver {
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// The answer that never comes.
const SILENCE: u16 = 0;

impl Receiver {
    /// Listens on a free port of 127.0.0.1 and accepts everything.
    pub(crate) async fn start() -> Self {
        Self::listen(0).await
    }

    /// Listens on this port: for a receiver that was away.
    pub(crate) async fn listen(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let seen = Arc::<Mutex<Seen>>::default();
        let routes = Router::new().fallback(receive).with_state(Arc::clone(&seen));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { port, seen, task }
    }

    /// Where to deliver.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hooks", self.port)
    }

    /// The next deliveries are answered with these, one after the other.
    pub(crate) fn answers(&self, statuses: impl IntoIterator<Item = u16>) {
        self.seen.lock().expect("no holder panics").next.extend(statuses);
    }

    /// All deliveries that nothing else was said about are answered with this; `None`: 204.
    pub(crate) fn always(&self, status: Option<u16>) {
        self.seen.lock().expect("no holder panics").always = status;
    }

    /// Deliveries are taken and never answered.
    pub(crate) fn falls_silent(&self) {
        self.always(Some(SILENCE));
    }

    /// All that came, in order.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.seen.lock().expect("no holder panics").deliveries.clone()
    }

    /// Types of what was accepted, in order.
    pub(crate) fn accepted(&self) -> Vec<String> {
        let accepted = |delivery: &Delivery| delivery.answered == 204;
        self.deliveries().iter().filter(|one| accepted(one)).map(Delivery::kind).collect()
    }

    /// The first delivery of this type that was accepted, now or within a minute.
    pub(crate) async fn accepts(&self, kind: &str) -> Delivery {
        let patience = std::time::Duration::from_secs(60);
        eventually_within(patience, &format!("{kind} is delivered"), async || {
            self.deliveries().into_iter().find(|one| one.answered == 204 && one.kind() == kind)
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(seen): State<Arc<Mutex<Seen>>>, headers: HeaderMap, body: Bytes) -> Response {
    let answered = {
        let mut seen = seen.lock().expect("no holder panics");
        let answered = seen.next.pop_front().or(seen.always).unwrap_or(204);
        seen.deliveries.push(Delivery { headers, body, answered });
        answered
    };
    match answered {
        SILENCE => std::future::pending().await,
        503 => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")]).into_response(),
        status => StatusCode::from_u16(status).expect("a status").into_response(),
    }
}

/// The key of a secret: base64 behind `whsec_`, else its bytes.
pub(crate) fn key_of(secret: &str) -> Vec<u8> {
    match secret.strip_prefix("whsec_") {
        Some(text) => STANDARD.decode(text).expect("base64"),
        None => secret.as_bytes().to_vec(),
    }
}

/// HMAC-SHA256 of what Standard Webhooks signs, as base64.
pub(crate) fn signature(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key_of(secret)).expect("any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    STANDARD.encode(mac.finalize().into_bytes())
}

impl Delivery {
    /// A header; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header of text"))
    }

    /// The body.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }

    /// Its type.
    pub(crate) fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether one of its signatures was made with this secret, for this body, at a time that is near.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let (id, timestamp) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        let near = timestamp.parse::<u64>().is_ok_and(|then| now.abs_diff(then) < 120);
        let expected = format!("v1,{}", signature(secret, id, timestamp, &self.body));
        near && !id.is_empty() && self.header("webhook-signature").split(' ').any(|one| one == expected)
    }
}
