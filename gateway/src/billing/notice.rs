//! What the billing side tells later: events that it had taken, looked at, and refused. Headers, body and time enter, the
//! notice or the fault leaves. Pure.
//!
//! Stripe, "Verify webhook signatures": `Stripe-Signature: t=…,v1=…`, each `v1` the hexadecimal HMAC-SHA256 of
//! `{t}.{body}` by one secret. And its events `v1.billing.meter.error_report_triggered` and
//! `v1.billing.meter.no_meter_found`: `data.reason.error_types[]`, with `code` and `sample_errors[]`, each of which names
//! the request by `identifier`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use crate::config::Secret;

/// How far the time of a notice may be from ours: what the libraries of the billing side allow.
const WINDOW: Duration = Duration::from_secs(300);

const SIGNATURE: &str = "stripe-signature";

/// Kinds of notices that are about events.
const KINDS: [&str; 2] = ["v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"];

/// Why a notice is not believed or not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoticeFault {
    /// Nothing to verify with.
    #[error("notices are not taken here: no secret is configured (billing.webhook_secret)")]
    NoSecret,
    /// The header is not there, or not understood.
    #[error("the header Stripe-Signature is missing or malformed")]
    Malformed,
    /// Outside the window.
    #[error("the notice is more than {} minutes away from this host's time", WINDOW.as_secs() / 60)]
    Stale,
    /// No signature holds.
    #[error("no signature holds")]
    Signature,
    /// Signed, but no JSON.
    #[error("the body is not JSON")]
    NotJson,
}

/// An event that was refused after it had been taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) identifier: String,
    pub(crate) reason: String,
}

/// What a notice says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// These were refused; others may have been, of which there are no samples.
    Rejected { samples: Vec<Rejection>, count: u64 },
    /// It says only where its details are.
    Thin { id: String },
    /// It is about something else.
    Other,
}

/// Lets a notice through that was signed by somebody who knows one of the secrets, now.
pub(crate) fn verify(
    secrets: &[Secret],
    headers: &HeaderMap,
    body: &[u8],
    now: SystemTime,
) -> Result<Value, NoticeFault> {
    if secrets.is_empty() {
        return Err(NoticeFault::NoSecret);
    }
    let mut values = headers.get_all(SIGNATURE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(NoticeFault::Malformed) };
    let parts =
        || value.to_str().unwrap_or_default().split(',').filter_map(|part| part.trim().split_once('='));
    let sent = parts().find(|(name, _)| *name == "t").map(|(_, time)| time).ok_or(NoticeFault::Malformed)?;
    let seconds: u64 = sent.parse().map_err(|_| NoticeFault::Malformed)?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if now.abs_diff(seconds) > WINDOW.as_secs() {
        return Err(NoticeFault::Stale);
    }
    let given: Vec<Vec<u8>> =
        parts().filter(|(name, _)| *name == "v1").filter_map(|(_, text)| hex::decode(text).ok()).collect();
    let holds = |secret: &Secret| {
        // A key of any length is one.
        let Ok(key) = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()) else { return false };
        let code = key.chain_update(sent).chain_update(".").chain_update(body);
        given.iter().any(|signature| code.clone().verify_slice(signature).is_ok())
    };
    if !secrets.iter().any(holds) {
        return Err(NoticeFault::Signature);
    }
    serde_json::from_slice(body).map_err(|_| NoticeFault::NotJson)
}

/// Reads a notice, or the event that it was about.
pub(crate) fn read(notice: &Value) -> Notice {
    if !notice["type"].as_str().is_some_and(|kind| KINDS.contains(&kind)) {
        return Notice::Other;
    }
    let Some(kinds) = notice.pointer("/data/reason/error_types").and_then(Value::as_array) else {
        return match notice["id"].as_str().filter(|id| is_id(id)) {
            Some(id) if notice["data"].is_null() => Notice::Thin { id: id.to_owned() },
            Some(_) | None => Notice::Other,
        };
    };
    let mut samples = Vec::new();
    for kind in kinds {
        let code = kind["code"].as_str().unwrap_or("unknown");
        for sample in kind["sample_errors"].as_array().into_iter().flatten() {
            let request = &sample["request"];
            let named = request["identifier"].as_str().or_else(|| request["idempotency_key"].as_str());
            if let Some(identifier) = named {
                let message = sample["error_message"].as_str().unwrap_or_default();
                let reason = format!("{code}: {message}");
                samples.push(Rejection { identifier: identifier.to_owned(), reason });
            }
        }
    }
    let count = notice.pointer("/data/reason/error_count").and_then(Value::as_u64);
    let count = count.unwrap_or(samples.len() as u64);
    Notice::Rejected { samples, count }
}

/// It becomes part of a path.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 255 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;

    const SENT: u64 = 1_700_000_000;

    fn signed(secret: &str, sent: u64, body: &[u8]) -> HeaderMap {
        let key = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        let code = key.chain_update(sent.to_string()).chain_update(".").chain_update(body).finalize();
        let value = format!("t={sent},v1=00ff,v0=x,v1={}", hex::encode(code.into_bytes()));
        [(SIGNATURE.parse().unwrap(), HeaderValue::from_str(&value).unwrap())].into_iter().collect()
    }

    fn asked(secret: &str, headers: &HeaderMap, body: &[u8], now: u64) -> Result<Value, NoticeFault> {
        verify(
            &[Secret::new("other"), Secret::new(secret)],
            headers,
            body,
            UNIX_EPOCH + Duration::from_secs(now),
        )
    }

    #[test]
    fn a_notice_is_believed_if_it_was_signed_now() {
        let body = br#"{"a":1}"#;
        let headers = signed("whsec_x", SENT, body);
        assert_eq!(asked("whsec_x", &headers, body, SENT + 300), Ok(json!({"a": 1})));
        assert_eq!(asked("whsec_x", &headers, body, SENT + 301), Err(NoticeFault::Stale));
        assert_eq!(asked("whsec_x", &headers, br#"{"a":2}"#, SENT), Err(NoticeFault::Signature));
        assert_eq!(asked("whsec_y", &headers, body, SENT), Err(NoticeFault::Signature));
        assert_eq!(asked("whsec_x", &HeaderMap::new(), body, SENT), Err(NoticeFault::Malformed));
        let headers = signed("whsec_x", SENT, b"{");
        assert_eq!(asked("whsec_x", &headers, b"{", SENT), Err(NoticeFault::NotJson));
        assert_eq!(verify(&[], &headers, b"{", UNIX_EPOCH), Err(NoticeFault::NoSecret));
    }

    #[test]
    fn what_was_refused_later_is_named() {
        let notice = json!({
            "id": "evt_1", "type": "v1.billing.meter.error_report_triggered",
            "data": {"reason": {"error_count": 3, "error_types": [{
                "code": "meter_event_customer_not_found", "error_count": 3,
                "sample_errors": [
                    {"error_message": "no cus_9", "request": {"identifier": "abc"}},
                    {"error_message": "no cus_8", "request": {"idempotency_key": "def"}},
                    {"error_message": "no name", "request": {}},
                ],
            }]}},
        });
        let rejection = |identifier: &str, text: &str| Rejection {
            identifier: identifier.into(),
            reason: format!("meter_event_customer_not_found: {text}"),
        };
        let samples = vec![rejection("abc", "no cus_9"), rejection("def", "no cus_8")];
        assert_eq!(read(&notice), Notice::Rejected { samples, count: 3 });
        let thin = json!({"id": "evt_1", "type": "v1.billing.meter.no_meter_found"});
        assert_eq!(read(&thin), Notice::Thin { id: "evt_1".into() });
        for other in
            [json!({"id": "evt_1", "type": "v1.x"}), json!([]), json!({"id": "../x", "type": KINDS[0]})]
        {
            assert_eq!(read(&other), Notice::Other);
        }
    }
}
