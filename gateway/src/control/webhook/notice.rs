//! What a message about the registry asks for: its body enters, a [`Notice`] leaves. Any JSON asks for a look
//! at everything; some forms say more.
//!
//! * `{"package": "billing", "force": true}`, as in a reload.
//! * S3, "Event message structure": `{"Records": [{"eventSource": "aws:s3", "s3": {"bucket", "object"}}]}`,
//!   and the test message that is sent when notifications are switched on.
//! * SNS, "HTTP/HTTPS notification JSON format": one of the above as text in `Message`.

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// What to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Notice {
    /// This package only; none: all.
    pub(crate) package: Option<String>,
    /// As in a reload: also what failed, is pinned, or is held.
    pub(crate) force: bool,
    /// Buckets and keys that changed; empty: unknown. A hint which sources are concerned, never what to
    /// fetch.
    pub(crate) keys: Vec<(String, String)>,
    /// Nothing is to be done.
    pub(crate) ignore: bool,
    /// Where somebody can confirm a subscription; it is not followed here.
    pub(crate) subscribe_url: Option<String>,
}

impl Notice {
    /// Reads a message. Deep nesting is an error like other JSON that cannot be read.
    pub(super) fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        let value: Value = serde_json::from_slice(body)?;
        let message = text(&value, "Message");
        Ok(match (text(&value, "Type"), message) {
            (Some("Notification"), Some(message)) => {
                let message = serde_json::from_str::<Value>(message).ok();
                message.map_or_else(Self::default, |message| Self::of(&message))
            }
            (Some("SubscriptionConfirmation"), _) => Self {
                ignore: true,
                subscribe_url: text(&value, "SubscribeURL").map(str::to_owned),
                ..Self::default()
            },
            (Some("UnsubscribeConfirmation"), _) => Self { ignore: true, ..Self::default() },
            _ => Self::of(&value),
        })
    }

    fn of(value: &Value) -> Self {
        if text(value, "Event") == Some("s3:TestEvent") {
            return Self { ignore: true, ..Self::default() };
        }
        if let Some(records) = value.get("Records").and_then(Value::as_array) {
            // One record that is not understood may be about anything.
            let keys = records.iter().map(changed).collect::<Option<_>>().unwrap_or_default();
            return Self { keys, ..Self::default() };
        }
        Self {
            package: text(value, "package").filter(|name| !name.is_empty()).map(str::to_owned),
            force: value.get("force").and_then(Value::as_bool).unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// Bucket and key of a record. Other servers than Amazon's name another source (`minio:s3`).
fn changed(record: &Value) -> Option<(String, String)> {
    let object = record
        .get("s3")
        .filter(|_| text(record, "eventSource").is_some_and(|source| source.ends_with(":s3")))?;
    let key = text(object.get("object")?, "key")?.replace('+', " ");
    let key = percent_decode_str(&key).decode_utf8().ok()?.into_owned();
    Some((text(object.get("bucket")?, "name")?.to_owned(), key))
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(value: &Value) -> Notice {
        Notice::parse(value.to_string().as_bytes()).unwrap()
    }

    fn record(source: &str, key: &str) -> Value {
        json!({"eventVersion": "2.1", "eventSource": source, "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "packages"}, "object": {"key": key, "size": 7}}})
    }

    fn keys(keys: &[&str]) -> Notice {
        let keys = keys.iter().map(|key| ("packages".to_owned(), (*key).to_owned())).collect();
        Notice { keys, ..Notice::default() }
    }

    fn wrapped(message: &str) -> Value {
        json!({"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-2:1:t", "Message": message})
    }

    #[test]
    fn any_json_asks_for_a_look_at_everything() {
        for value in [
            json!({}),
            json!([]),
            json!(null),
            json!("x"),
            json!({"package": {"name": "a"}, "force": "yes"}),
            json!({"package": ""}),
            json!({"Type": "package"}),
            json!({"Records": []}),
        ] {
            assert_eq!(parse(&value), Notice::default(), "{value}");
        }
    }

    #[test]
    fn a_package_can_be_named_and_forced() {
        let named = Notice { package: Some("billing".to_owned()), ..Notice::default() };
        assert_eq!(parse(&json!({"package": "billing"})), named);
        assert_eq!(parse(&json!({"package": "billing", "force": true})), Notice { force: true, ..named });
        assert_eq!(parse(&json!({"force": true})), Notice { force: true, ..Notice::default() });
    }

    #[test]
    fn an_event_of_s3_names_what_changed() {
        let event =
            json!({"Records": [record("aws:s3", "a/index.json"), record("minio:s3", "b+c%2B%C3%A9.apkg")]});
        assert_eq!(parse(&event), keys(&["a/index.json", "b c+é.apkg"]));
        assert_eq!(parse(&wrapped(&event.to_string())), keys(&["a/index.json", "b c+é.apkg"]));
    }

    #[test]
    fn an_event_with_a_record_that_is_not_understood_is_about_everything() {
        for odd in
            [record("aws:sqs", "x"), record("aws:s3", "%ff"), json!({"eventSource": "aws:s3"}), json!(1)]
        {
            assert_eq!(parse(&json!({"Records": [record("aws:s3", "index.json"), odd]})), Notice::default());
        }
    }

    #[test]
    fn messages_that_say_nothing_about_packages_ask_for_nothing() {
        let ignored = Notice { ignore: true, ..Notice::default() };
        let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "packages"});
        assert_eq!(parse(&test), ignored);
        assert_eq!(parse(&wrapped(&test.to_string())), ignored);
        assert_eq!(
            parse(&json!({"Type": "UnsubscribeConfirmation", "TopicArn": "arn", "Message": "{}"})),
            ignored
        );
    }

    #[test]
    fn a_subscription_is_passed_on_for_somebody_to_confirm() {
        let url = "https://sns.example/?Action=ConfirmSubscription&Token=1";
        let asked = json!({"Type": "SubscriptionConfirmation", "TopicArn": "arn", "SubscribeURL": url});
        let wanted = Notice { ignore: true, subscribe_url: Some(url.to_owned()), ..Notice::default() };
        assert_eq!(parse(&asked), wanted);
    }

    #[test]
    fn an_envelope_is_opened_once() {
        let named = json!({"package": "billing"});
        let wanted = Notice { package: Some("billing".to_owned()), ..Notice::default() };
        assert_eq!(parse(&wrapped(&named.to_string())), wanted);
        assert_eq!(parse(&wrapped(&wrapped(&named.to_string()).to_string())), Notice::default());
        assert_eq!(parse(&wrapped("plain text")), Notice::default());
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for body in ["", "x", "{", "{} {}", &deep] {
            assert!(Notice::parse(body.as_bytes()).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_body_is_too_odd_to_be_judged(body in r#"[{}\[\]",:a-zA-Z0-9%+ ]{0,60}"#, key in r"\PC{0,20}") {
            drop(Notice::parse(body.as_bytes()));
            let event = json!({"Records": [record("aws:s3", &key)]});
            prop_assert!(parse(&event).keys.len() <= 1);
        }
    }
}
