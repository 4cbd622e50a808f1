//! A registry that says by webhook that something changed: rightly, or not.

use std::time::UNIX_EPOCH;

use reqwest::Method;

use super::{Answer, Answered, Client, receiver::signature};

/// One message to `POST /runtime/webhooks/registry`.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    secret: String,
    id: String,
    timestamp: String,
    body: Vec<u8>,
}

impl Sender {
    /// A message with an id of its own, sent now, signed with this secret.
    pub(crate) fn new(secret: &str, id: &str, body: &str) -> Self {
        let sender = Self {
            secret: secret.to_owned(),
            id: id.to_owned(),
            timestamp: String::new(),
            body: body.as_bytes().to_vec(),
        };
        sender.sent(0)
    }

    /// As if it had been sent this many seconds later; negative: earlier.
    pub(crate) fn sent(mut self, seconds: i64) -> Self {
        let now = UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        self.timestamp = now.saturating_add_signed(seconds).to_string();
        self
    }

    /// Delivers it, signed.
    pub(crate) async fn deliver(&self, to: &Client) -> Answer {
        let signature = format!("v1,{}", signature(&self.secret, &self.id, &self.timestamp, &self.body));
        self.deliver_as(to, &signature, &self.body).await
    }

    /// Delivers it with this signature and this body, whatever was signed.
    pub(crate) async fn deliver_as(&self, to: &Client, signature: &str, body: &[u8]) -> Answer {
        let request = to.request(Method::POST, "/runtime/webhooks/registry");
        let request = request
            .header("webhook-id", &self.id)
            .header("webhook-timestamp", &self.timestamp)
            .header("webhook-signature", signature)
            .header("content-type", "application/json");
        request.body(body.to_vec()).answer().await
    }
}
