//! Which limit refused a call: a closed set that is the label of `par_limited_total`.

use par_proto::code::Code;

/// The limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// The rate of all calls.
    GlobalRate,
    /// The rate of the tenant.
    TenantRate,
    /// The tenant's calls at once.
    TenantConcurrent,
    /// The tenant's calls of the day.
    TenantDailyCalls,
    /// The tenant's tokens of the day.
    TenantDailyTokens,
    /// The rate of the agent.
    AgentRate,
    /// The agent's calls at once.
    AgentConcurrent,
}

impl Scope {
    /// As label, and as the name of the policy in `RateLimit-Policy`.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::GlobalRate => "global_rate",
            Self::TenantRate => "tenant_rate",
            Self::TenantConcurrent => "tenant_concurrent",
            Self::TenantDailyCalls => "tenant_daily_calls",
            Self::TenantDailyTokens => "tenant_daily_tokens",
            Self::AgentRate => "agent_rate",
            Self::AgentConcurrent => "agent_concurrent",
        }
    }

    /// The code of the refusal.
    pub(crate) const fn code(self) -> Code {
        match self {
            Self::GlobalRate
            | Self::TenantRate
            | Self::TenantConcurrent
            | Self::AgentRate
            | Self::AgentConcurrent => Code::RateLimited,
            Self::TenantDailyCalls | Self::TenantDailyTokens => Code::QuotaExceeded,
        }
    }

    /// One sentence for the client.
    pub(crate) const fn detail(self) -> &'static str {
        match self {
            Self::GlobalRate => "more calls come than this runtime takes",
            Self::TenantRate => "more calls come than this tenant may make",
            Self::TenantConcurrent => "as many calls of this tenant are under way as may be",
            Self::TenantDailyCalls => "this tenant has made all of its calls of the day",
            Self::TenantDailyTokens => "this tenant has used all of its tokens of the day",
            Self::AgentRate => "more calls come for this agent than it takes",
            Self::AgentConcurrent => "as many calls of this agent are under way as may be",
        }
    }
}
