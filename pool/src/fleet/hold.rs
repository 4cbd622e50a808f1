//! Where a call's slot comes from: the slots of all, or its session.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::time::timeout_at;

use super::{
    bound::{Bound, BoundSlot},
    exchange::Origin,
    generation::Generation,
    lodging::{Home, SessionTurn},
    outcome::Outcome,
    place::Granted,
    seat::Seated,
    slots::{Acquired, Slot},
    solitary::Running,
};
use crate::{
    package::SessionMode,
    process::{Death, Lane},
    session::{Denied, Ending, Loss},
};

/// When another try makes sense for a call that waited in its session until its deadline: how long the one before it
/// takes is not known.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// What a call holds while its worker has it. Dropping it gives everything back.
#[derive(Debug)]
pub(crate) enum Hold {
    /// A slot of the shared workers.
    Shared(Slot),
    /// A slot of the worker that keeps its session, and its turn there.
    Bound { slot: Slot, _home: Arc<Bound>, _turn: Arc<SessionTurn> },
    /// The session's own worker, and its turn there.
    Own { worker: Seated, _running: Running, _turn: Arc<SessionTurn> },
}

impl Hold {
    /// The worker that gets the call.
    pub(crate) fn worker(&self) -> &Seated {
        match self {
            Self::Shared(slot) | Self::Bound { slot, .. } => &slot.worker,
            Self::Own { worker, .. } => worker,
        }
    }

    /// Notes the service time before the slot is given back.
    pub(crate) fn observe(&mut self, micros: u32) {
        match self {
            Self::Shared(slot) | Self::Bound { slot, .. } => slot.observe(micros),
            Self::Own { .. } => {}
        }
    }
}

impl Generation {
    /// What a call of a session needs to be sent: its worker, found or made by the first call. `again`: it was sent
    /// before and came back.
    pub(super) async fn hold_in_session(
        self: &Arc<Self>,
        turn: &Arc<SessionTurn>,
        lane: Lane,
        origin: &Origin,
        again: bool,
    ) -> Result<Hold, Outcome> {
        let deadline = origin.deadline;
        if again {
            // A worker that has just died is noticed by somebody else.
            tokio::task::yield_now().await;
        }
        let lodging = &turn.visit.handle;
        let hold = loop {
            if lodging.ending().is_some() {
                return Err(over(turn));
            }
            match (lodging.home(), lodging.mode()) {
                (None, SessionMode::None | SessionMode::Sticky) => {
                    self.move_in(turn, lane, origin).await?;
                }
                (None, SessionMode::Isolated) => self.move_in_alone(turn, deadline).await?,
                (Some(Home::Shared(bound)), _) => match bound.acquire(lane, again) {
                    BoundSlot::Now(slot) => {
                        break Hold::Bound { slot, _home: bound, _turn: Arc::clone(turn) };
                    }
                    BoundSlot::Queued(mut place) => {
                        match timeout_at(deadline.into(), &mut place.grant).await {
                            Ok(Ok(Granted::Slot(slot))) => {
                                break Hold::Bound { slot, _home: bound, _turn: Arc::clone(turn) };
                            }
                            Ok(Ok(Granted::Displaced | Granted::Late)) | Err(_) => {
                                return Err(Outcome::QueueFull { retry_after: AGAIN });
                            }
                            Ok(Err(_)) => turn.visit.end(Ending::Lost(Loss::Crash)),
                        }
                    }
                    BoundSlot::Gone => turn.visit.end(Ending::Lost(Loss::Crash)),
                },
                (Some(Home::Own(worker)), _) if worker.is_condemned() => {
                    turn.visit.end(Ending::Lost(Loss::Crash));
                }
                (Some(Home::Own(worker)), _) => {
                    break Hold::Own { worker, _running: self.run_alone(), _turn: Arc::clone(turn) };
                }
            }
        };
        turn.visit.works();
        lodging.calls.fetch_add(1, Ordering::Relaxed);
        Ok(hold)
    }

    /// Finds a worker for a session that begins: the one with the fewest sessions among those that have room.
    async fn move_in(
        self: &Arc<Self>,
        turn: &Arc<SessionTurn>,
        lane: Lane,
        origin: &Origin,
    ) -> Result<(), Outcome> {
        let slot = match self.slots.acquire_for_session(lane, origin.tenant.as_ref(), origin.deadline) {
            Acquired::Now(slot) => slot,
            Acquired::Closed => return Err(Outcome::Stopping),
            Acquired::Queued(place) => self.granted(place, lane, origin).await?,
        };
        // A worker that is gone meanwhile: the next look finds another.
        if let Some(bound) = slot.bind(turn.visit.handle.number) {
            settle(turn, Home::Shared(Arc::new(bound)))?;
        }
        Ok(())
    }

    /// Forks a worker for a session that begins.
    async fn move_in_alone(
        self: &Arc<Self>,
        turn: &Arc<SessionTurn>,
        deadline: Instant,
    ) -> Result<(), Outcome> {
        let alone = match timeout_at(deadline.into(), self.start_alone()).await {
            Ok(Ok(started)) => started,
            Ok(Err(error)) => {
                let package = &self.installed.package.id;
                tracing::warn!(event = "worker_failed", %package, "a session's worker could not be started: {error}");
                return Err(Outcome::CrashLoop { retry_after: AGAIN });
            }
            Err(_elapsed) => return Err(Outcome::QueueFull { retry_after: AGAIN }),
        };
        let kept = settle(turn, Home::Own(Arc::clone(&alone.worker)));
        if kept.is_err() {
            alone.worker.kill(Death::Retired);
        }
        // Watched in any case: only so its end is seen.
        self.seat_alone(alone);
        kept
    }
}

fn settle(turn: &SessionTurn, home: Home) -> Result<(), Outcome> {
    // On record before anything is kept: a session that was lost must not be taken for a new one.
    if turn.visit.keep() && turn.visit.handle.settle(home) { Ok(()) } else { Err(over(turn)) }
}

/// Tells a call that its session has ended while it was in it.
fn over(turn: &SessionTurn) -> Outcome {
    turn.visit.told();
    let ending = turn.visit.handle.ending().unwrap_or(Ending::Lost(Loss::Shutdown));
    Outcome::Session(Denied::Ended(ending))
}
