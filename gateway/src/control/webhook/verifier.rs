//! Whether a message was sent by somebody who knows the secret, now, and for the first time. Headers, body
//! and time enter, a [`Notice`] or the fault leaves.
//!
//! Standard Webhooks, "Verifying webhook authenticity": `webhook-signature` is a list of `v1,` and the base64
//! of HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{body}`, one for each secret of the sender; one that
//! holds is enough. S3 and SNS cannot sign like this: their messages are relayed by something that can.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::http::HeaderMap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::Notice;
use crate::{
    config::Secret,
    webhooks::{SecretError, keys},
};

/// How far the time of a message may be from ours, to both sides. Standard Webhooks' own value: clocks of two
/// hosts are nearer, and a message that was recorded is of no use for longer.
const WINDOW: Duration = Duration::from_secs(300);

/// Most messages that are remembered, for up to twice the window: 27 a second all the time, in about a
/// megabyte. What comes beyond is refused, because forgetting one would let it be repeated.
const MOST_REMEMBERED: usize = 16 << 10;

/// Longest `webhook-id`; senders use 20 to 40 characters.
const LONGEST_ID: usize = 256;

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// Why a message is refused. None of the texts says how near it was to being taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookFault {
    /// Nothing to verify with.
    #[error("webhooks are not taken here: no secret is configured (REGISTRY_WEBHOOK_SECRET)")]
    NoSecret,
    /// A header that must be there once.
    #[error("the header {0} is missing, or given more than once")]
    Missing(&'static str),
    /// A header that cannot be read.
    #[error("the header {0} is malformed")]
    Malformed(&'static str),
    /// Outside the window.
    #[error("webhook-timestamp is more than {} minutes away from this host's time", WINDOW.as_secs() / 60)]
    Stale,
    /// No signature holds.
    #[error("no signature in webhook-signature holds")]
    Signature,
    /// It was taken before.
    #[error("this message was received before")]
    Replayed,
    /// As many messages as are remembered.
    #[error("too many messages within {} minutes", 2 * WINDOW.as_secs() / 60)]
    Crowded,
    /// Signed, but no JSON.
    #[error("the body is not JSON")]
    NotJson(#[source] serde_json::Error),
}

/// Verifies messages with any of its secrets and remembers those that it let through. The memory ends with
/// the process: after a restart a message may be repeated as long as it is young, and asks for one more look.
pub(crate) struct Verifier {
    keys: Vec<Hmac<Sha256>>,
    /// What was signed, as a hash, with the second at which it is too old anyway.
    taken: Mutex<HashMap<[u8; 32], u64>>,
}

impl Verifier {
    /// Reads the secrets. Without any, every message is refused.
    pub(crate) fn new(secrets: &[Secret]) -> Result<Self, SecretError> {
        Ok(Self { keys: keys(secrets)?, taken: Mutex::new(HashMap::new()) })
    }

    /// Lets a message through once. A message that is sent again with a new time is another one: senders do
    /// that when they did not get our answer.
    pub(crate) fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Result<Notice, WebhookFault> {
        if self.keys.is_empty() {
            return Err(WebhookFault::NoSecret);
        }
        let (id, timestamp) = (one(headers, ID)?, one(headers, TIMESTAMP)?);
        // The dot separates what is signed: with one in the id, other parts would have the same signature.
        if id.is_empty() || id.len() > LONGEST_ID || id.contains('.') {
            return Err(WebhookFault::Malformed(ID));
        }
        let sent: u64 = timestamp.parse().map_err(|_| WebhookFault::Malformed(TIMESTAMP))?;
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if now.abs_diff(sent) > WINDOW.as_secs() {
            return Err(WebhookFault::Stale);
        }
        let signed = format!("{id}.{timestamp}.");
        if !self.holds(headers, signed.as_bytes(), body)? {
            return Err(WebhookFault::Signature);
        }
        let hash = Sha256::new().chain_update(&signed).chain_update(body).finalize();
        self.remember(hash.into(), sent.saturating_add(WINDOW.as_secs()), now)?;
        Notice::parse(body).map_err(WebhookFault::NotJson)
    }

    /// Versions other than `v1` are not ours to judge; the comparison takes the same time wherever they
    /// differ.
    fn holds(&self, headers: &HeaderMap, signed: &[u8], body: &[u8]) -> Result<bool, WebhookFault> {
        let mut signatures = Vec::new();
        for value in headers.get_all(SIGNATURE) {
            let value = value.to_str().map_err(|_| WebhookFault::Malformed(SIGNATURE))?;
            let coded = value.split_whitespace().filter_map(|signature| signature.strip_prefix("v1,"));
            signatures.extend(coded.filter_map(|coded| STANDARD.decode(coded).ok()));
        }
        if signatures.is_empty() {
            return Err(WebhookFault::Missing(SIGNATURE));
        }
        Ok(self.keys.iter().any(|key| {
            let code = key.clone().chain_update(signed).chain_update(body);
            signatures.iter().any(|signature| code.clone().verify_slice(signature).is_ok())
        }))
    }

    fn remember(&self, hash: [u8; 32], until: u64, now: u64) -> Result<(), WebhookFault> {
        let mut taken = self.taken.lock();
        taken.retain(|_, until| *until >= now);
        if taken.contains_key(&hash) {
            return Err(WebhookFault::Replayed);
        }
        if taken.len() >= MOST_REMEMBERED {
            return Err(WebhookFault::Crowded);
        }
        taken.insert(hash, until);
        Ok(())
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({} keys)", self.keys.len())
    }
}

fn one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, WebhookFault> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| WebhookFault::Malformed(name)),
        (None, _) | (Some(_), Some(_)) => Err(WebhookFault::Missing(name)),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// The example that Standard Webhooks' libraries are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SENT: u64 = 1_614_265_330;
    const PUBLISHED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn verifier(secrets: &[&str]) -> Verifier {
        Verifier::new(&secrets.iter().map(|secret| Secret::new(*secret)).collect::<Vec<_>>()).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
        let pairs = [(ID, id), (TIMESTAMP, timestamp), (SIGNATURE, signature)];
        pairs.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn example(signature: &str) -> HeaderMap {
        headers("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", signature)
    }

    fn signature(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
        let [key] = &keys(&[Secret::new(secret)]).unwrap()[..] else { unreachable!("one key") };
        let code = key.clone().chain_update(format!("{id}.{timestamp}.")).chain_update(body);
        format!("v1,{}", STANDARD.encode(code.finalize().into_bytes()))
    }

    fn told(result: Result<Notice, WebhookFault>) -> Result<Notice, String> {
        result.map_err(|fault| format!("{fault:?}"))
    }

    #[test]
    fn the_published_example_is_let_through_with_the_right_secret_only() {
        let headers = example(PUBLISHED);
        assert_eq!(told(verifier(&[SECRET]).verify(&headers, BODY, at(SENT))), Ok(Notice::default()));
        for secret in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "other"] {
            assert_eq!(
                told(verifier(&[secret]).verify(&headers, BODY, at(SENT))),
                Err("Signature".to_owned())
            );
        }
    }

    #[test]
    fn one_signature_of_one_secret_is_enough_while_secrets_are_replaced() {
        let other = signature("old", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", BODY);
        let unknown = "v1a,AAAA v2,x v1,%%% v1,AAAA";
        for value in [format!("{unknown} {PUBLISHED} {other}"), format!("{other} {unknown}")] {
            let verifier = verifier(&["old", SECRET]);
            assert!(verifier.verify(&example(&value), BODY, at(SENT)).is_ok(), "{value}");
        }
        let mut headers = example(unknown);
        headers.append(SIGNATURE, HeaderValue::from_static(PUBLISHED));
        assert!(verifier(&[SECRET]).verify(&headers, BODY, at(SENT)).is_ok());
    }

    #[test]
    fn nothing_of_a_message_can_be_changed() {
        let verifier = verifier(&[SECRET]);
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        for (headers, body) in [
            (headers("msg_other", "1614265330", PUBLISHED), BODY),
            (headers(id, "1614265331", PUBLISHED), BODY),
            (headers(id, "01614265330", PUBLISHED), BODY),
            (example(PUBLISHED), &BODY[1..]),
            (example(&PUBLISHED.replace("g0", "g1")), BODY),
            (example("v1,g0hM9SsE+OTPJTGt/tk="), BODY),
        ] {
            assert_eq!(told(verifier.verify(&headers, body, at(SENT))), Err("Signature".to_owned()));
        }
        assert!(verifier.verify(&example(PUBLISHED), BODY, at(SENT)).is_ok());
    }

    #[test]
    fn a_message_from_outside_the_window_is_refused_on_both_sides() {
        for (now, good) in
            [(SENT - 301, false), (SENT - 300, true), (SENT + 300, true), (SENT + 301, false), (0, false)]
        {
            let result = told(verifier(&[SECRET]).verify(&example(PUBLISHED), BODY, at(now)));
            let wanted = if good { Ok(Notice::default()) } else { Err("Stale".to_owned()) };
            assert_eq!(result, wanted, "{now}");
        }
    }

    #[test]
    fn a_message_is_let_through_once() {
        let verifier = verifier(&[SECRET, "second"]);
        let replayed = Err("Replayed".to_owned());
        assert!(verifier.verify(&example(PUBLISHED), BODY, at(SENT)).is_ok());
        for now in [SENT, SENT - 300, SENT + 300] {
            assert_eq!(told(verifier.verify(&example(PUBLISHED), BODY, at(now))), replayed);
        }
        // Not even with another signature that holds.
        let other = signature("second", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", BODY);
        assert_eq!(told(verifier.verify(&example(&other), BODY, at(SENT))), replayed);
    }

    #[test]
    fn a_message_that_is_sent_again_with_a_new_time_is_let_through() {
        let verifier = verifier(&[SECRET]);
        for timestamp in ["1614265330", "1614265335"] {
            let headers = headers("msg_1", timestamp, &signature(SECRET, "msg_1", timestamp, BODY));
            assert!(verifier.verify(&headers, BODY, at(SENT)).is_ok());
        }
    }

    #[test]
    fn a_refused_message_does_not_use_up_the_right_one() {
        let verifier = verifier(&[SECRET]);
        assert!(verifier.verify(&example("v1,AAAA"), BODY, at(SENT)).is_err());
        assert!(verifier.verify(&example(PUBLISHED), BODY, at(SENT)).is_ok());
    }

    #[test]
    fn memory_is_bounded_and_comes_back_with_time() {
        let verifier = verifier(&[SECRET]);
        for number in 0..MOST_REMEMBERED as u64 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            verifier.remember(hash, SENT + 300, SENT).unwrap();
        }
        let headers = example(PUBLISHED);
        assert_eq!(told(verifier.verify(&headers, BODY, at(SENT))), Err("Crowded".to_owned()));
        assert!(verifier.remember([1; 32], SENT + 601, SENT + 301).is_ok());
        assert_eq!(verifier.taken.lock().len(), 1);
    }

    #[test]
    fn headers_that_cannot_be_verified_are_named() {
        let verifier = verifier(&[SECRET]);
        let refused = |headers: &HeaderMap| told(verifier.verify(headers, BODY, at(SENT))).unwrap_err();
        for name in [ID, TIMESTAMP, SIGNATURE] {
            let mut headers = example(PUBLISHED);
            headers.remove(name);
            assert_eq!(refused(&headers), format!("Missing({name:?})"));
        }
        for name in [ID, TIMESTAMP] {
            let mut headers = example(PUBLISHED);
            headers.append(name, headers[name].clone());
            assert_eq!(refused(&headers), format!("Missing({name:?})"));
        }
        for id in ["", "msg.1", &"x".repeat(257)] {
            assert_eq!(refused(&headers(id, "1614265330", PUBLISHED)), format!("Malformed({ID:?})"));
        }
        for timestamp in ["", "-1", "1614265330.5", "2021-02-25T15:02:10Z", "99999999999999999999"] {
            assert_eq!(refused(&headers("msg_1", timestamp, PUBLISHED)), format!("Malformed({TIMESTAMP:?})"));
        }
    }

    #[test]
    fn without_a_secret_nothing_is_let_through() {
        let result = verifier(&[]).verify(&example(PUBLISHED), BODY, at(SENT));
        assert_eq!(told(result), Err("NoSecret".to_owned()));
    }

    #[test]
    fn a_signed_body_that_is_not_json_is_told_apart() {
        let signature = signature(SECRET, "msg_1", "1614265330", b"{");
        let result = verifier(&[SECRET]).verify(&headers("msg_1", "1614265330", &signature), b"{", at(SENT));
        assert!(matches!(result, Err(WebhookFault::NotJson(_))));
    }

    #[test]
    fn a_secret_that_is_no_key_is_refused_and_never_shown() {
        let error = Verifier::new(&[Secret::new("whsec_hunter2!")]).unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(format!("{:?}", verifier(&["hunter2"])), "Verifier(1 keys)");
    }
}
