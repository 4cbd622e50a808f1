//! Tokens that agents report, charged to the quotas of their callers' tenants: however a call ends, and whoever still
//! waits for it.

use std::sync::Arc;

use serde::Deserialize;

use super::{limiter::Limiter, moment::Moment};

/// Metadata of the frame that ends a call.
#[derive(Debug, Default, Deserialize)]
struct Told {
    #[serde(default)]
    usage: Vec<Used>,
}

/// What agents report, one entry per model.
#[derive(Debug, Deserialize)]
struct Used {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
}

impl Limiter {
    /// Charges what the metadata of a call's last frame says.
    pub(crate) fn charge_told(&self, tenant: &Arc<str>, meta: &[u8]) {
        if self.counts_tokens(tenant) {
            self.charge(tenant, tokens(meta), Moment::now());
        }
    }
}

/// Tokens of all models, in and out. What cannot be read is none: it comes from the agent's own code.
fn tokens(meta: &[u8]) -> u64 {
    let Told { usage } = serde_json::from_slice(meta).unwrap_or_default();
    usage
        .iter()
        .fold(0, |sum: u64, used| sum.saturating_add(used.input_tokens).saturating_add(used.output_tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_all_models_count_in_and_out() {
        let of = |usage: &str| tokens(format!(r#"{{"content_type":"x","usage":{usage}}}"#).as_bytes());
        assert_eq!(of(r#"[{"model":"a","input_tokens":1,"output_tokens":2,"x":9},{"output_tokens":4}]"#), 7);
        assert_eq!(of(r#"[{"input_tokens":18446744073709551615,"output_tokens":2}]"#), u64::MAX);
        assert_eq!((of("[]"), of("{}"), of(r#"[{"input_tokens":-1}]"#)), (0, 0, 0));
        assert_eq!((tokens(b"{}"), tokens(b"no JSON")), (0, 0));
    }
}
