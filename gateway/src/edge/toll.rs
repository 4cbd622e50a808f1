//! What a call has to pass before its body is read: rates, calls at once, quotas of the day.

use std::sync::Arc;

use par_proto::ids::AgentId;
use pingora_proxy::Session;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Edge, ctx::Ctx, refusal::Refusal, unread};
use crate::limit::{Limited, Moment};

/// What agents report, one entry per model.
#[derive(Debug, Deserialize)]
struct Used {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
}

impl Edge {
    /// Lets a call in and keeps its entry with the request, or refuses it. A refusal reads no more of the body than
    /// keeps the connection usable. Gives the tenant on whose account the call goes.
    pub(super) async fn enter(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        agent: &AgentId,
    ) -> Result<Arc<str>, Refusal> {
        let tenant = Self::tenant(ctx);
        let Some(limiter) = &self.limiter else { return Ok(tenant) };
        match limiter.enter(&tenant, agent, Moment::now()) {
            Ok(mut entry) => {
                ctx.standing = entry.take_standing();
                ctx.entry = Some(entry);
                Ok(tenant)
            }
            Err(Limited { scope, retry_after, standing }) => {
                ctx.standing = Some(standing);
                ctx.limited = Some(scope);
                let refusal = Refusal::new(scope.code(), scope.detail()).retry_after(retry_after);
                Err(if unread::drain(session).await { refusal } else { refusal.closing() })
            }
        }
    }
}

/// Counts what an agent reports against the quota of the day, if there is one.
pub(super) fn count_tokens(ctx: &Ctx, usage: Option<&RawValue>) {
    let Some((entry, usage)) = ctx.entry.as_ref().zip(usage) else { return };
    if entry.counts_tokens() {
        entry.use_tokens(tokens(usage), Moment::now());
    }
}

/// Tokens of all models, in and out. What cannot be read is none: it comes from the agent's own code.
pub(super) fn tokens(usage: &RawValue) -> u64 {
    let used: Vec<Used> = serde_json::from_str(usage.get()).unwrap_or_default();
    used.iter()
        .fold(0, |sum: u64, used| sum.saturating_add(used.input_tokens).saturating_add(used.output_tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_all_models_count_in_and_out() {
        let tokens = |text: &str| tokens(&RawValue::from_string(text.to_owned()).unwrap());
        assert_eq!(
            tokens(r#"[{"model":"a","input_tokens":1,"output_tokens":2,"x":9},{"output_tokens":4}]"#),
            7
        );
        assert_eq!(tokens(r#"[{"input_tokens":18446744073709551615,"output_tokens":2}]"#), u64::MAX);
        assert_eq!((tokens("[]"), tokens("{}"), tokens(r#"[{"input_tokens":-1}]"#)), (0, 0, 0));
    }
}
