//! A request at a surface in its session: the process that serves the session is found once, and stays the same in
//! whatever version replaces its own.
//!
//! Requests of one session do not take turns, unlike calls: an application may hold one of them open to tell what the
//! next one does.

use std::sync::{Arc, atomic::Ordering};

use super::{
    directory::Mount,
    lodging::{Counted, Lodging},
    pool::Pool,
};
use crate::{
    process::Primary,
    session::{Claim, Denied, Ending, Loss, Visit},
};

/// A request at a surface in its session. Dropping it counts it out.
#[derive(Debug)]
pub struct Stay {
    visit: Visit<Lodging>,
    primary: Arc<Primary>,
}

impl Stay {
    /// The version in which the session lives.
    pub fn mount(&self) -> &Arc<Mount> {
        &self.visit.handle.mount
    }

    /// The process that has served it from the beginning; `None`: it is gone, and with it what it knew.
    pub fn primary(&self) -> Option<Arc<Primary>> {
        self.mount().generation.is_serving(&self.primary).then(|| Arc::clone(&self.primary))
    }
}

impl Pool {
    /// Lets a request at a surface of `mount` into its session, or begins that there.
    ///
    /// # Errors
    /// [`Denied`]; an end is told by this, and the id is free then. `Ok(None)`: no process serves the surfaces now, and
    /// nothing was begun.
    pub fn stay(&self, mount: &Arc<Mount>, claim: &Claim) -> Result<Option<Stay>, Denied> {
        let package = &mount.id.name;
        let text: Arc<str> = Arc::from(mount.id.to_string());
        let begin = |number| self.lodging(number, text, mount);
        let visit = self.fleet.sessions.enter(package, claim, Lodging::limits(mount), begin)?;
        let lodging = Arc::clone(&visit.handle);
        let generation = &lodging.mount.generation;
        let Some(primary) = lodging.desk(|| generation.primary(Some(claim.id.as_str().as_bytes()))) else {
            return Ok(None);
        };
        // On record before anything is kept: a session that was lost must not be taken for a new one.
        if !generation.is_serving(&primary) {
            visit.end(Ending::Lost(Loss::Crash));
        }
        if lodging.ending().is_some() || !visit.keep() {
            visit.told();
            return Err(Denied::Ended(lodging.ending().unwrap_or(Ending::Lost(Loss::Shutdown))));
        }
        visit.works();
        lodging.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Stay { visit, primary }))
    }

    /// What a session that begins lives in.
    pub(super) fn lodging(&self, number: u64, agent: Arc<str>, mount: &Arc<Mount>) -> Arc<Lodging> {
        let gauge = &self.fleet.metrics.sessions;
        let counted = Counted::new(gauge.with_label_values(&[mount.id.to_string()]));
        Arc::new(Lodging::new(number, agent, Arc::clone(mount), counted))
    }
}
