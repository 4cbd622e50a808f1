//! What workers and tokens say, made fit for a record: pure.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{json, value::RawValue};
use sha2::{Digest as _, Sha256};

use super::record::{TENANT, USAGE};

/// What the metadata of a call's last frame say of its cost.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told<'a> {
    /// The JSON array of `FRAMES.md`, or nothing.
    pub(crate) tokens: Cow<'a, [u8]>,
    /// The most memory of the worker, KiB; 0: not told.
    pub(crate) peak_rss_kb: u32,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(default)]
    peak_rss_kb: u32,
}

#[derive(Debug, Default, Deserialize)]
struct Count {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
}

impl<'a> Told<'a> {
    /// Reads metadata, of which almost no call has any. What cannot be read is nothing: it comes from the agent's own
    /// code.
    pub(crate) fn read(meta: &'a [u8]) -> Self {
        if meta.is_empty() {
            return Self::default();
        }
        let Metadata { usage, peak_rss_kb } = serde_json::from_slice(meta).unwrap_or_default();
        let tokens = usage.map(|usage| bounded(usage.get())).unwrap_or_default();
        Self { tokens, peak_rss_kb }
    }
}

/// As it is, or, where that is too long for a record, the sums of all models under one name.
fn bounded(usage: &str) -> Cow<'_, [u8]> {
    if usage == "[]" {
        return Cow::default();
    }
    if usage.len() <= USAGE {
        return Cow::Borrowed(usage.as_bytes());
    }
    let counts: Vec<Count> = serde_json::from_str(usage).unwrap_or_default();
    let sum = |count: fn(&Count) -> u64| counts.iter().map(count).fold(0, u64::saturating_add);
    let (input, output) = (sum(|count| count.input_tokens), sum(|count| count.output_tokens));
    let all = json!([{"model": "other", "input_tokens": input, "output_tokens": output}]);
    Cow::Owned(all.to_string().into_bytes())
}

/// A tenant as records have it. Of one that is too long the begin, and a hash that keeps it apart from others.
pub(crate) fn tenant(name: &str) -> Cow<'_, str> {
    if name.len() <= TENANT {
        return Cow::Borrowed(name);
    }
    let kept = name.floor_char_boundary(TENANT - 65);
    let hash = hex::encode(Sha256::digest(name.as_bytes()));
    Cow::Owned(format!("{}#{hash}", name.get(..kept).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_say_is_kept_as_it_is_unless_it_is_too_long() {
        assert_eq!(Told::read(b""), Told::default());
        assert_eq!(Told::read(b"no JSON"), Told::default());
        let told = Told::read(br#"{"peak_rss_kb":9,"usage":[{"model":"m","input_tokens":1}],"x":1}"#);
        assert_eq!((told.peak_rss_kb, &*told.tokens), (9, &br#"[{"model":"m","input_tokens":1}]"#[..]));
        assert!(Told::read(br#"{"usage":[]}"#).tokens.is_empty());
        let model = json!({"model": "m".repeat(1000), "input_tokens": 2, "output_tokens": u64::MAX});
        let long = json!({"usage": vec![model; 40]}).to_string();
        let all: serde_json::Value = serde_json::from_slice(&Told::read(long.as_bytes()).tokens).unwrap();
        assert_eq!(all, json!([{"model": "other", "input_tokens": 80, "output_tokens": u64::MAX}]));
    }

    #[test]
    fn long_tenants_are_cut_and_stay_apart() {
        assert_eq!(tenant("acme"), "acme");
        let (one, two) = (format!("{}1", "ä".repeat(600)), format!("{}2", "ä".repeat(600)));
        assert!(tenant(&one).len() <= TENANT);
        assert_ne!(tenant(&one), tenant(&two));
    }
}
