//! What people see of webhooks: `GET /runtime/webhooks/deliveries`.

use serde::Serialize;
use utoipa::ToSchema;

/// Events on their way to the receiver, and those that never arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Deliveries {
    /// Scheme, host and port of the receiver; `null`: no receiver is configured.
    pub(crate) receiver: Option<String>,
    /// Events that the receiver has not taken yet.
    pub(crate) pending: u64,
    /// The oldest of them.
    pub(crate) oldest: Option<Waiting>,
    /// Events that were given up, the latest first; the latest 1000 are kept.
    pub(crate) dead: Vec<DeadLetter>,
}

/// An event that the receiver has not taken yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Waiting {
    /// The `webhook-id` of every attempt.
    pub(crate) id: String,
    /// `package.updated` and so on.
    pub(crate) event: String,
    /// Whose events wait behind it.
    pub(crate) package: String,
    /// When it happened, RFC 3339.
    pub(crate) created: String,
    /// Attempts that have failed.
    pub(crate) attempts: u32,
    /// When it is tried next, RFC 3339.
    pub(crate) next_attempt: String,
    /// Why the last attempt failed.
    pub(crate) last_error: Option<String>,
}

/// An event that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct DeadLetter {
    /// The `webhook-id` of every attempt.
    pub(crate) id: String,
    /// `package.updated` and so on.
    pub(crate) event: String,
    /// What it was about.
    pub(crate) package: String,
    /// When it happened, RFC 3339.
    pub(crate) created: String,
    /// When it was given up, RFC 3339.
    pub(crate) died: String,
    /// Attempts, all of which have failed.
    pub(crate) attempts: u32,
    /// Why the last attempt failed.
    pub(crate) last_error: String,
}
