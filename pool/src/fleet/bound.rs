//! Slots of one particular worker, for calls of the sessions that it keeps.

use std::{sync::Arc, time::Instant};

use tokio::sync::oneshot;

use super::{
    place::Granted,
    seat::{Seat, Seated},
    slots::{Acquired, Slot, Slots, State},
};
use crate::process::Lane;

/// A session's share of a worker, which is not reaped meanwhile. Dropping it gives the share back and has the worker
/// forget the session; its calls hold it, too, since FORGET may overtake one that is on its way, and that one would begin
/// the session anew.
#[derive(Debug)]
pub(crate) struct Bound {
    slots: Arc<Slots>,
    key: u64,
    session: u64,
    pub(crate) worker: Seated,
}

/// What a call of a session gets at once.
#[derive(Debug)]
pub(crate) enum BoundSlot {
    /// A slot of its worker.
    Now(Slot),
    /// A place in the line for that worker.
    Queued(BoundPlace),
    /// Nothing: the worker is gone.
    Gone,
}

/// A place in the line for one worker; dropping it leaves the line. The end of the grant means that the worker is gone.
#[derive(Debug)]
pub(crate) struct BoundPlace {
    slots: Arc<Slots>,
    key: u64,
    id: u64,
    pub(crate) grant: oneshot::Receiver<Granted>,
}

impl Drop for BoundPlace {
    fn drop(&mut self) {
        let mut state = self.slots.state.lock();
        let Some(seat) = state.seat(self.key) else { return };
        for line in &mut seat.bound {
            line.retain(|(id, _)| *id != self.id);
        }
        drop(state);
        // A slot that was granted but not taken is dropped with the receiver, after that lock.
    }
}

impl Slot {
    /// Makes the slot's worker one that keeps this session more. `None`: it is gone.
    pub(crate) fn bind(&self, session: u64) -> Option<Bound> {
        self.slots.state.lock().seat(self.key)?.sessions += 1;
        let (slots, worker) = (Arc::clone(&self.slots), Arc::clone(&self.worker));
        Some(Bound { slots, key: self.key, session, worker })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some(seat) = self.slots.state.lock().seat(self.key) {
            seat.sessions = seat.sessions.saturating_sub(1);
            seat.since = Instant::now();
        }
        // One that is dead has forgotten already.
        self.worker.channel.forget(self.session);
    }
}

impl Bound {
    /// A slot of this worker, or a place in the line for it. `first`: a call that was sent before and came back.
    #[expect(clippy::indexing_slicing, reason = "`find` returns an index of `seats`; two lanes")]
    pub(crate) fn acquire(&self, lane: Lane, first: bool) -> BoundSlot {
        let mut state = self.slots.state.lock();
        let Some(found) = state.find(self.key).filter(|_| !state.closed) else { return BoundSlot::Gone };
        let capacity = state.capacity(lane);
        let id = state.next_key;
        let seat = &mut state.seats[found];
        if (first || seat.bound[lane.index()].is_empty()) && has_room(seat, lane, capacity) {
            return BoundSlot::Now(self.slots.slot_of(&mut state, found, lane));
        }
        let (grant, receiver) = oneshot::channel();
        let waiting = &mut seat.bound[lane.index()];
        if first {
            waiting.push_front((id, grant));
        } else {
            waiting.push_back((id, grant));
        }
        state.next_key += 1;
        drop(state);
        BoundSlot::Queued(BoundPlace { slots: Arc::clone(&self.slots), key: self.key, id, grant: receiver })
    }
}

/// Whether a worker may get a call of one of its sessions now. One that has nothing to do always may: that another call
/// held it up is over then.
#[expect(clippy::indexing_slicing, reason = "two lanes")]
fn has_room(seat: &Seat, lane: Lane, capacity: u32) -> bool {
    let outstanding = seat.outstanding[lane.index()];
    let is_free = seat.total() == 0;
    let may_share = capacity > 1 && outstanding < capacity && !seat.worker.channel.is_stalled();
    !seat.retiring && (is_free || may_share)
}

impl State {
    fn seat(&mut self, key: u64) -> Option<&mut Seat> {
        let found = self.find(key)?;
        self.seats.get_mut(found)
    }
}

impl Slots {
    /// A slot for a session that begins: of the worker with the fewest sessions among those that have room, or a place
    /// in the queue of all.
    pub(crate) fn acquire_for_session(
        self: &Arc<Self>,
        lane: Lane,
        tenant: Option<&Arc<str>>,
        until: Instant,
    ) -> Acquired {
        let mut state = self.state.lock();
        if state.closed {
            return Acquired::Closed;
        }
        let capacity = state.capacity(lane);
        let open = state.seats.iter().enumerate().filter(|(_, seat)| has_room(seat, lane, capacity));
        let found = open.min_by_key(|(_, seat)| (seat.sessions, seat.total())).map(|(found, _)| found);
        // Whoever waits already is before it.
        if let Some(found) = found.filter(|_| state.is_unwaited(lane)) {
            return Acquired::Now(self.slot_of(&mut state, found, lane));
        }
        drop(state);
        self.acquire(lane, tenant, false, until)
    }

    /// Gives calls of a worker's sessions their slots, as far as there is room.
    #[expect(clippy::indexing_slicing, reason = "the caller has found that index; two lanes")]
    pub(super) fn resume(self: &Arc<Self>, state: &mut State, found: usize, refused: &mut Vec<Slot>) {
        for lane in [Lane::Sync, Lane::Async] {
            let capacity = state.capacity(lane);
            while has_room(&state.seats[found], lane, capacity) {
                let Some((_, grant)) = state.seats[found].bound[lane.index()].pop_front() else { break };
                match grant.send(Granted::Slot(self.slot_of(state, found, lane))) {
                    Err(Granted::Slot(slot)) => refused.push(slot),
                    Ok(()) | Err(Granted::Displaced | Granted::Late) => {}
                }
            }
        }
    }
}
