//! One attempt: a letter enters, goes out signed as one POST, and what the receiver made of it leaves.

use std::{
    error::Error as _,
    io,
    time::{Duration, SystemTime},
};

use reqwest::{Client, StatusCode, header, redirect};
use url::Url;

use super::{
    letter::{Attempted, Letter},
    retry_after,
    signature::Signer,
};

/// Bytes of an answer that are read so that its connection can be used again; nobody looks at them.
const ANSWER_READ: usize = 64 << 10;

/// How letters leave: where to, and signed by whom.
#[derive(Debug, Clone)]
pub(super) struct Post {
    client: Client,
    receiver: Url,
    signer: Signer,
    timeout: Duration,
}

impl Post {
    /// Letters to `receiver`; an attempt takes `timeout` at most. The process must have installed a rustls provider.
    pub(super) fn new(receiver: Url, signer: Signer, timeout: Duration) -> io::Result<Self> {
        if !["http", "https"].contains(&receiver.scheme()) {
            let text = "the receiver of webhooks must have an http:// or https:// address";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(io::Error::other("no rustls crypto provider is installed"));
        }
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .timeout(timeout)
            .user_agent(concat!("par/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(io::Error::other)?;
        Ok(Self { client, receiver, signer, timeout })
    }

    /// Scheme, host and port: what may be shown of a URL whose path and query can be secrets.
    pub(super) fn shown(&self) -> String {
        self.receiver.origin().ascii_serialization()
    }

    /// Sends a letter once.
    pub(super) async fn attempt(&self, letter: &Letter) -> Attempted {
        let now = SystemTime::now();
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let request = self
            .client
            .post(self.receiver.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &letter.id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", self.signer.header(&letter.id, seconds, &letter.body))
            .body(letter.body.clone());
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Attempted::Failed { error: self.failure(&error), retry_after: None },
        };
        let attempted = judge(response.status(), response.headers(), now);
        let mut read = 0;
        // The status has decided; an answer that breaks off costs its connection and nothing else.
        while let Ok(Some(part)) = response.chunk().await {
            read += part.len();
            if read > ANSWER_READ {
                break;
            }
        }
        attempted
    }

    /// Why there was no answer. reqwest's own text would contain the whole URL and is left out.
    fn failure(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("the receiver did not answer within {} s", self.timeout.as_secs_f32());
        }
        let what = if error.is_connect() { "could not be reached" } else { "broke off" };
        let mut text = format!("the receiver {what}");
        let mut next = error.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

/// What a status means. Redirects are failures: a letter is for the receiver that was configured, and nobody else.
fn judge(status: StatusCode, headers: &header::HeaderMap, now: SystemTime) -> Attempted {
    if status.is_success() {
        return Attempted::Delivered;
    }
    if status == StatusCode::GONE {
        return Attempted::Gone;
    }
    let is_patience_asked =
        [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
    let asked = headers.get(header::RETRY_AFTER).filter(|_| is_patience_asked);
    let retry_after = asked.and_then(|value| retry_after::parse(value.to_str().ok()?, now));
    let hint = if status.is_redirection() { "; redirects are not followed" } else { "" };
    Attempted::Failed { error: format!("the receiver answered {status}{hint}"), retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_judged_by_its_status() {
        let failed = |error: &str, seconds: Option<u64>| Attempted::Failed {
            error: error.to_owned(),
            retry_after: seconds.map(Duration::from_secs),
        };
        for (status, retry_after, wanted) in [
            (200, None, Attempted::Delivered),
            (204, None, Attempted::Delivered),
            (299, None, Attempted::Delivered),
            (410, None, Attempted::Gone),
            (400, None, failed("the receiver answered 400 Bad Request", None)),
            (500, Some("7"), failed("the receiver answered 500 Internal Server Error", None)),
            (429, Some("7"), failed("the receiver answered 429 Too Many Requests", Some(7))),
            (429, None, failed("the receiver answered 429 Too Many Requests", None)),
            (503, Some("7"), failed("the receiver answered 503 Service Unavailable", Some(7))),
            (503, Some("soon"), failed("the receiver answered 503 Service Unavailable", None)),
            (302, Some("7"), failed("the receiver answered 302 Found; redirects are not followed", None)),
            (304, None, failed("the receiver answered 304 Not Modified; redirects are not followed", None)),
        ] {
            let mut headers = header::HeaderMap::new();
            if let Some(value) = retry_after {
                headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            }
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(judge(status, &headers, SystemTime::UNIX_EPOCH), wanted);
        }
    }
}
