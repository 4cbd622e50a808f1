//! A call that was let in, and one that was not.

use std::{sync::Arc, time::Duration};

use super::{account::Account, policy::Standing, scope::Scope};

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
}

impl Drop for Entry {
    fn drop(&mut self) {
        for account in self.tenant.iter().chain(&self.agent) {
            account.leave();
        }
    }
}
