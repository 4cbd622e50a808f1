//! A call in a session, from its arrival to its end; and its turn, which it has alone.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use par_proto::ids::PackageName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    ending::Ending,
    keeper::{Held, Keeper},
    key::Claim,
};

/// A call that runs or waits in a session. Dropping it counts it out: the session rests then.
#[derive(Debug)]
pub(crate) struct Visit<H: Held> {
    keeper: Arc<Keeper<H>>,
    package: PackageName,
    claim: Claim,
    /// Of the session; never used again.
    pub(crate) number: u64,
    /// What the session lives in.
    pub(crate) handle: Arc<H>,
    worked: AtomicBool,
}

impl<H: Held> Visit<H> {
    pub(super) fn new(
        keeper: &Arc<Keeper<H>>,
        package: PackageName,
        claim: Claim,
        number: u64,
        handle: Arc<H>,
    ) -> Self {
        let (keeper, worked) = (Arc::clone(keeper), AtomicBool::new(false));
        Self { keeper, package, claim, number, handle, worked }
    }

    /// From now on the session's end is told, whatever happens. False: it is over.
    pub(crate) fn keep(&self) -> bool {
        self.keeper.keep(&self.package, &self.claim, self.number)
    }

    /// The call is sent to the worker: it is work, which keeps the session.
    pub(crate) fn works(&self) {
        self.worked.store(true, Ordering::Relaxed);
    }

    /// Ends the session; its next call is told. Nothing changes if it is over.
    pub(crate) fn end(&self, ending: Ending) {
        self.keeper.end(&self.package, &self.claim.id, self.number, ending);
    }

    /// This call was told that the session is over.
    pub(crate) fn told(&self) {
        self.keeper.told(&self.package, &self.claim.id, self.number);
    }
}

impl<H: Held> Drop for Visit<H> {
    fn drop(&mut self) {
        let worked = self.worked.load(Ordering::Relaxed);
        self.keeper.leave(&self.package, &self.claim.id, self.number, worked);
    }
}

/// A call whose turn it is: calls of one session run one after the other, in the order in which they came. Given back
/// when the worker says that the call is over.
#[derive(Debug)]
pub(crate) struct Turn<H: Held> {
    /// The call; left before the next one has its turn.
    pub(crate) visit: Visit<H>,
    _permit: OwnedSemaphorePermit,
}

impl<H: Held> Turn<H> {
    /// Waits for it. Gives the call back if the session ends before.
    pub(crate) async fn of(visit: Visit<H>, queue: &Arc<Semaphore>) -> Result<Self, Visit<H>> {
        match Arc::clone(queue).acquire_owned().await {
            Ok(permit) => Ok(Self { visit, _permit: permit }),
            Err(_closed) => Err(visit),
        }
    }
}
