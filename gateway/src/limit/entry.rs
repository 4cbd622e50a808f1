//! A call that was let in, and one that was not.

use std::{sync::Arc, time::Duration};

use super::{account::Account, moment::Moment, policy::Standing, scope::Scope};

/// A call that was let in; dropping it gives its place back, whoever drops it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) tenant: Option<Arc<Account>>,
    pub(super) agent: Option<Arc<Account>>,
    /// What the caller may still take, if it is limited.
    pub(super) standing: Option<Standing>,
}

/// A call that was not let in. It has cost nothing.
#[derive(Debug)]
pub(crate) struct Limited {
    /// The limit that stands against it.
    pub(crate) scope: Scope,
    /// After this time it does so no longer, if nobody else comes.
    pub(crate) retry_after: Duration,
    /// The limits of the caller, and the one that stands against it.
    pub(crate) standing: Standing,
}

impl Entry {
    /// What the caller may still take, if it is limited; once.
    pub(crate) fn take_standing(&mut self) -> Option<Standing> {
        self.standing.take()
    }

    /// Whether somebody wants to know how many tokens the call took.
    pub(crate) fn counts_tokens(&self) -> bool {
        self.tenant.as_ref().is_some_and(|account| account.policy.allowance.daily_tokens.is_some())
    }

    /// The agent has reported tokens.
    pub(crate) fn use_tokens(&self, tokens: u64, now: Moment) {
        if let Some(account) = &self.tenant {
            account.use_tokens(tokens, now);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        for account in self.tenant.iter().chain(&self.agent) {
            account.leave();
        }
    }
}
