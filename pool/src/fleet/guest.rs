//! Requests at surfaces: they count like calls, but no worker of the pool answers them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{generation::Generation, pool::Pool, primaries::Visit, share::Verdict};

/// When it is worth coming again if every place is taken: requests at surfaces have no length that could be known.
const AGAIN: Duration = Duration::from_secs(1);

/// A request at a surface that was let in. Dropping it gives its place back; a rollout waits for that.
#[derive(Debug)]
pub struct Guest {
    pool: Arc<Pool>,
    tenant: Arc<str>,
    _visit: Visit,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.pool.shares.leave(Some(&self.tenant));
    }
}

impl Pool {
    /// Lets a request in at a surface of a generation, on account of a tenant.
    ///
    /// # Errors
    /// As many calls and requests as may be run or wait; when it is worth coming again.
    pub fn receive(
        self: &Arc<Self>,
        generation: &Arc<Generation>,
        tenant: &Arc<str>,
    ) -> Result<Guest, Duration> {
        let (verdict, flight) = self.shares.enter(Some(tenant));
        let admitted = match verdict {
            Verdict::Enter => true,
            Verdict::Displace => self.displace(),
            Verdict::Refuse => false,
        };
        if !admitted {
            return Err(AGAIN);
        }
        flight.stay();
        self.answered.fetch_add(1, Ordering::Relaxed);
        Ok(Guest { pool: Arc::clone(self), tenant: Arc::clone(tenant), _visit: generation.visit() })
    }
}
