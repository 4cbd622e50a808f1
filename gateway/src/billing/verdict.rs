//! What an answer of the billing side means for an event. Pure.
//!
//! Stripe documents: an identifier that was seen before is refused with `duplicate_meter_event`, and older versions with a
//! message alone; 409 says that another event of this customer and meter is being taken, 429 that there are too many.

use std::time::Duration;

use serde_json::Value;

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is counted, now or by a former try.
    Taken,
    /// It is not, and was not refused either: the same again, later. `after`: what the other side asked for.
    Later { reason: String, after: Option<Duration> },
    /// It will never be.
    Refused { reason: String },
    /// Nobody who has this key is heard: nothing else needs to be tried.
    Locked { reason: String },
    /// The session of a stream is over.
    Expired,
}

/// Longest text that is kept of a reason.
const LONGEST: usize = 300;

/// Judges an answer by its status, its body, and what it asks for.
pub(super) fn judge(status: u16, body: &[u8], after: Option<Duration>) -> Verdict {
    if (200..300).contains(&status) {
        return Verdict::Taken;
    }
    let error: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |place: &str| error.pointer(place).and_then(Value::as_str).unwrap_or_default();
    let (code, message) = (text("/error/code"), text("/error/message"));
    let mut reason = match (code, message) {
        ("", "") => format!("status {status}"),
        ("", message) => message.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    if reason.len() > LONGEST {
        reason.truncate(reason.floor_char_boundary(LONGEST));
    }
    if code == "billing_meter_event_session_expired" {
        return Verdict::Expired;
    }
    match status {
        400 if is_duplicate(code, message) => Verdict::Taken,
        401 | 403 => Verdict::Locked { reason },
        404 if !code.is_empty() => Verdict::Refused { reason },
        // Not refused for what it says.
        404 | 405 | 408 | 409 | 425 | 429 => Verdict::Later { reason, after },
        400..500 => Verdict::Refused { reason },
        _ => Verdict::Later { reason, after },
    }
}

fn is_duplicate(code: &str, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    code == "duplicate_meter_event"
        || message.contains("already exists with identifier")
        || message.contains("duplicate identifier")
}

/// How long an event waits after so many tries that brought nothing: doubling from a second to an hour, a quarter of
/// it by chance, so that many runtimes do not come back together. What the other side asks for counts, up to a day.
pub(super) fn pause(tries: u32, asked: Option<Duration>, random: f64) -> Duration {
    let doubled = Duration::from_secs(1 << tries.saturating_sub(1).min(12)).min(Duration::from_secs(3600));
    let pause = doubled.mul_f64(1.0 - 0.25 * random.clamp(0.0, 1.0));
    asked.map_or(pause, |asked| asked.clamp(pause, Duration::from_secs(86_400)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Verdict {
        judge(status, body.as_bytes(), None)
    }

    #[test]
    fn what_is_counted_is_taken_however_it_is_said() {
        for (status, body) in [
            (200, "{}"),
            (400, r#"{"error":{"code":"duplicate_meter_event","message":"x"}}"#),
            (400, r#"{"error":{"message":"An event already exists with identifier abc."}}"#),
        ] {
            assert_eq!(judged(status, body), Verdict::Taken, "{body}");
        }
    }

    #[test]
    fn what_may_still_be_counted_is_tried_again() {
        for status in [404, 408, 409, 429, 500, 502, 503] {
            assert!(matches!(judged(status, "<html>"), Verdict::Later { .. }), "{status}");
        }
        let asked = judge(429, b"", Some(Duration::from_secs(7)));
        assert_eq!(
            asked,
            Verdict::Later { reason: "status 429".into(), after: Some(Duration::from_secs(7)) }
        );
    }

    #[test]
    fn what_is_wrong_stays_wrong() {
        for status in [400, 404] {
            let told =
                judged(status, r#"{"error":{"code":"resource_missing","message":"No such customer"}}"#);
            assert_eq!(told, Verdict::Refused { reason: "resource_missing: No such customer".into() });
        }
        assert!(matches!(judged(401, "{}"), Verdict::Locked { .. }));
        let expired = r#"{"error":{"code":"billing_meter_event_session_expired"}}"#;
        assert_eq!((judged(401, expired), judged(400, expired)), (Verdict::Expired, Verdict::Expired));
        let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "é".repeat(1000));
        let Verdict::Refused { reason } = judged(400, &long) else { unreachable!("it is refused") };
        assert!(reason.len() <= LONGEST);
    }

    #[test]
    fn pauses_grow_and_end_and_obey() {
        let seconds = |tries, asked| pause(tries, asked, 0.0).as_secs();
        assert_eq!([0, 1, 2, 5, 12, 400].map(|tries| seconds(tries, None)), [1, 1, 2, 16, 2048, 3600]);
        assert_eq!(seconds(1, Some(Duration::from_secs(90))), 90);
        assert_eq!(seconds(8, Some(Duration::from_secs(1))), 128, "no sooner than by ourselves");
        assert!(pause(3, None, 1.0) >= Duration::from_secs(3));
    }
}
