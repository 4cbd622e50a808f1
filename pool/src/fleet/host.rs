//! What whoever holds a pool does for it: connects calls between agents, and charges for what calls have used.

use std::sync::Arc;

use super::{exchange::Exchange, generation::Generation, pool::Pool};
use crate::process::{Account, Meter};

impl Pool {
    /// From now on this connects calls between agents; the first one stays.
    pub fn connect_by(&self, exchange: Arc<dyn Exchange>) {
        self.fleet.exchange.set(exchange).ok();
    }

    /// From now on this is told what calls have used; the first one stays.
    pub fn charge_by(&self, meter: Arc<dyn Meter>) {
        self.fleet.meter.set(meter).ok();
    }
}

impl Generation {
    /// Who is charged for a call, if anybody is.
    pub(super) fn account(&self, tenant: Option<&Arc<str>>) -> Option<Account> {
        let (meter, tenant) = self.settings.meter.get().zip(tenant)?;
        Some(Account { meter: Arc::clone(meter), tenant: Arc::clone(tenant) })
    }
}
