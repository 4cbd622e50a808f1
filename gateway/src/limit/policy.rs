//! The limits of one tenant or agent, ready for use, and how they are told in `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-10).
//!
//! `r` is what is left. `t` is after how many seconds there is more: for a rate until the next call comes free, for a
//! quota until the next day. In a refusal it agrees with `Retry-After`.

use std::{fmt::Write as _, time::Duration};

use http::HeaderValue;

use super::{
    bucket::{Bucket, Pace},
    moment::{DAY, Moment},
    quota::Usage,
    scope::Scope,
};
use crate::config::{Allowance, Rate};

/// Whose policy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A tenant's: its caller reads it with every answer.
    Tenant,
    /// An agent's: callers read it only when it refuses them, since it tells what others do.
    Agent,
}

/// The limits of one tenant or agent; at least one is set.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) owner: Owner,
    pub(super) allowance: Allowance,
    pub(super) pace: Option<Pace>,
    /// `RateLimit-Policy`.
    text: String,
}

/// What somebody has taken of his policy.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    pub(super) bucket: Bucket,
    pub(super) running: u32,
    pub(super) usage: Usage,
}

/// Both headers of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// `RateLimit-Policy`.
    pub(crate) policy: HeaderValue,
    /// `RateLimit`.
    pub(crate) left: HeaderValue,
}

impl Policy {
    /// The policy of an allowance; none if it allows everything.
    pub(super) fn new(owner: Owner, allowance: Allowance) -> Option<Self> {
        if allowance.is_off() {
            return None;
        }
        let mut policy = Self { owner, allowance, pace: allowance.rate.map(Pace::new), text: String::new() };
        let scopes = [policy.rate_scope(), policy.concurrent_scope()];
        let days = [Scope::TenantDailyCalls, Scope::TenantDailyTokens];
        policy.text = join(scopes.into_iter().chain(days).filter_map(|scope| policy.promise(scope)));
        Some(policy)
    }

    /// The scope of its rate.
    pub(super) const fn rate_scope(&self) -> Scope {
        match self.owner {
            Owner::Tenant => Scope::TenantRate,
            Owner::Agent => Scope::AgentRate,
        }
    }

    /// The scope of its calls at once.
    pub(super) const fn concurrent_scope(&self) -> Scope {
        match self.owner {
            Owner::Tenant => Scope::TenantConcurrent,
            Owner::Agent => Scope::AgentConcurrent,
        }
    }

    /// One item of `RateLimit-Policy`.
    fn promise(&self, scope: Scope) -> Option<String> {
        let name = scope.text();
        let Allowance { rate, concurrent, daily_calls, daily_tokens } = self.allowance;
        match scope {
            Scope::GlobalRate => None,
            Scope::TenantRate | Scope::AgentRate => rate.map(|rate| rate_promise(scope, rate)),
            Scope::TenantConcurrent | Scope::AgentConcurrent => {
                concurrent.map(|most| format!("\"{name}\";q={most};qu=\"concurrent-requests\""))
            }
            Scope::TenantDailyCalls => daily_calls.map(|most| format!("\"{name}\";q={most};w={DAY}")),
            Scope::TenantDailyTokens => {
                daily_tokens.map(|most| format!("\"{name}\";q={most};qu=\"tokens\";w={DAY}"))
            }
        }
    }

    /// One item of `RateLimit`.
    fn left(&self, scope: Scope, state: &State, at: u64, now: Moment) -> Option<String> {
        let name = scope.text();
        let Allowance { concurrent, daily_calls, daily_tokens, .. } = self.allowance;
        let usage = state.usage.on(now.day());
        let of_day = |most: u64, used: u64| {
            format!("\"{name}\";r={};t={}", most.saturating_sub(used), seconds(now.until_tomorrow()))
        };
        match scope {
            Scope::GlobalRate => None,
            Scope::TenantRate | Scope::AgentRate => self.pace.map(|pace| {
                let wait = seconds(state.bucket.next_in(pace, at));
                format!("\"{name}\";r={};t={wait}", state.bucket.left(pace, at))
            }),
            Scope::TenantConcurrent | Scope::AgentConcurrent => {
                concurrent.map(|most| format!("\"{name}\";r={}", most.saturating_sub(state.running)))
            }
            Scope::TenantDailyCalls => daily_calls.map(|most| of_day(most, usage.calls)),
            Scope::TenantDailyTokens => daily_tokens.map(|most| of_day(most, usage.tokens)),
        }
    }

    /// Both headers for the owner's own caller.
    pub(super) fn standing(&self, state: &State, at: u64, now: Moment) -> Standing {
        let scopes =
            [self.rate_scope(), self.concurrent_scope(), Scope::TenantDailyCalls, Scope::TenantDailyTokens];
        let left = join(scopes.into_iter().filter_map(|scope| self.left(scope, state, at, now)));
        Standing { policy: value(&self.text), left: value(&left) }
    }

    /// Adds the item of a scope of an agent that has refused.
    pub(super) fn add_refusal(&self, standing: Option<Standing>, scope: Scope, wait: Duration) -> Standing {
        add(standing, self.promise(scope).unwrap_or_default(), scope, wait)
    }
}

/// Adds the global rate, which has refused.
pub(super) fn add_global(standing: Option<Standing>, rate: Rate, wait: Duration) -> Standing {
    add(standing, rate_promise(Scope::GlobalRate, rate), Scope::GlobalRate, wait)
}

fn rate_promise(scope: Scope, rate: Rate) -> String {
    format!("\"{}\";q={};w={}", scope.text(), rate.count, rate.seconds)
}

fn add(standing: Option<Standing>, promise: String, scope: Scope, wait: Duration) -> Standing {
    let nothing = format!("\"{}\";r=0;t={}", scope.text(), seconds(wait));
    let with = |header: Option<HeaderValue>, item: String| {
        let before = header.and_then(|header| header.to_str().map(str::to_owned).ok());
        value(&join(before.into_iter().chain([item])))
    };
    let (policy, left) = standing.map_or((None, None), |before| (Some(before.policy), Some(before.left)));
    Standing { policy: with(policy, promise), left: with(left, nothing) }
}

fn join(items: impl Iterator<Item = String>) -> String {
    let mut all = String::new();
    for item in items {
        // Writing to a text does not fail.
        write!(all, "{}{item}", if all.is_empty() { "" } else { ", " }).ok();
    }
    all
}

/// Names of ours and numbers are always header values.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// Whole seconds, rounded up: who waits that long has waited long enough.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Moment {
        Moment { calendar: Duration::from_secs(20_000 * DAY + DAY / 2), ..Moment::now() }
    }

    #[test]
    fn an_allowance_of_everything_has_no_policy() {
        assert!(Policy::new(Owner::Tenant, Allowance::default()).is_none());
    }

    #[test]
    fn a_caller_reads_what_it_may_and_what_is_left() {
        let allowance = Allowance {
            rate: Some("6000/m burst 10".parse().unwrap()),
            concurrent: Some(5),
            daily_calls: Some(1000),
            daily_tokens: Some(50),
        };
        let policy = Policy::new(Owner::Tenant, allowance).unwrap();
        let state = State {
            bucket: Bucket(15_000_000),
            running: 2,
            usage: Usage { day: 20_000, calls: 3, tokens: 60 },
        };
        let standing = policy.standing(&state, 0, noon());
        insta::assert_snapshot!(standing.policy.to_str().unwrap(), @r#""tenant_rate";q=6000;w=60, "tenant_concurrent";q=5;qu="concurrent-requests", "tenant_daily_calls";q=1000;w=86400, "tenant_daily_tokens";q=50;qu="tokens";w=86400"#);
        insta::assert_snapshot!(standing.left.to_str().unwrap(), @r#""tenant_rate";r=8;t=1, "tenant_concurrent";r=3, "tenant_daily_calls";r=997;t=43200, "tenant_daily_tokens";r=0;t=43200"#);
    }

    #[test]
    fn whoever_else_refuses_is_added() {
        let rate = Some("1/s".parse().unwrap());
        let agent = Policy::new(Owner::Agent, Allowance { rate, ..Allowance::default() }).unwrap();
        let own = agent.standing(&State::default(), 0, noon());
        let both = add_global(Some(own), "9/h".parse().unwrap(), Duration::from_millis(1500));
        assert_eq!(both.policy, r#""agent_rate";q=1;w=1, "global_rate";q=9;w=3600"#);
        assert_eq!(both.left, r#""agent_rate";r=1;t=0, "global_rate";r=0;t=2"#);
        let alone = agent.add_refusal(None, Scope::AgentRate, Duration::from_secs(1));
        assert_eq!(alone.left, r#""agent_rate";r=0;t=1"#);
    }
}
