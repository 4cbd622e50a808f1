//! Which customers tenants are, as their tokens say: noted where a token was proved, taken by whoever bills.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::Caller;

/// Customers by tenants. The latest token of a tenant is right; there are at most as many as tenants.
#[derive(Debug, Default)]
pub(crate) struct Accounts(Mutex<HashMap<Arc<str>, Box<str>>>);

impl Accounts {
    /// Notes what a proved token says. Off the path of calls: a token that is remembered has been noted.
    pub(crate) fn note(&self, caller: &Caller) {
        if let Some(customer) = &caller.customer {
            self.0.lock().insert(Arc::clone(&caller.tenant), customer.clone());
        }
    }

    /// What was noted since it was last asked.
    pub(crate) fn take(&self) -> HashMap<Arc<str>, Box<str>> {
        std::mem::take(&mut *self.0.lock())
    }
}
