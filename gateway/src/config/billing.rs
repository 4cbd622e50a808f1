//! What is billed, to whom, and how.

use std::{path::PathBuf, time::Duration};

use url::Url;

use super::Secret;
use crate::billing::Measure;

/// Settings of billing.
#[derive(Debug, Clone)]
pub(crate) struct BillingSettings {
    /// Of the account.
    pub(crate) key: Secret,
    /// Where the API is.
    pub(crate) api_url: Url,
    /// Where streams of v2 are.
    pub(crate) stream_url: Url,
    /// How events are sent.
    pub(crate) api: BillingApi,
    /// Time between two rounds.
    pub(crate) every: Duration,
    /// Minutes of one event.
    pub(crate) window_minutes: i64,
    /// The first minute (since 1970) that is billed; none: the window in which billing begins.
    pub(crate) since: Option<i64>,
    /// What is billed, and the name of its events there.
    pub(crate) names: Vec<(Measure, String)>,
    /// A file that maps tenants to customers.
    pub(crate) customers: Option<PathBuf>,
    /// Whether tokens say whose customers tenants are: `identity` knows where.
    pub(crate) by_claim: bool,
    /// Outcomes of calls that nobody pays for.
    pub(crate) not_billed: Vec<String>,
    /// Of notices; none: they are not taken.
    pub(crate) webhook_secrets: Vec<Secret>,
}

/// How events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BillingApi {
    /// One by one, each judged at once.
    V1,
    /// By the hundred, judged later.
    V2,
}

impl BillingSettings {
    /// What nobody else may see.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.webhook_secrets.iter().chain([&self.key])
    }

    /// The name of a measure's events.
    pub(crate) fn name(&self, measure: Measure) -> &str {
        self.names.iter().find(|(one, _)| *one == measure).map_or(measure.text(), |(_, name)| name)
    }
}
