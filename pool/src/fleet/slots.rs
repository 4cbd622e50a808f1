//! The right to have one more call outstanding on a worker: pack, then spread, then wait.
//!
//! `deadpool` hands out whole objects, oldest or newest first. A slot is a share of a worker whose number changes with
//! the service time and whose choice depends on the other slots of the same worker, which its manager cannot see, so
//! slots are kept here: one short lock, taken twice a call.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::{
    place::{Granted, Place},
    queue::{Queue, Term},
    seat::{COLD, Seat, Seated},
    window::Window,
};
use crate::process::Lane;

#[derive(Debug)]
pub(super) struct LaneState {
    pub(super) window: Window,
    /// Calls at once that the manifest allows on one worker; for sync calls the window may allow more.
    declared: u32,
    pub(super) waiting: Queue<oneshot::Sender<Granted>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) lanes: [LaneState; 2],
    pub(super) seats: Vec<Seat>,
    /// Keys of idle seats, the most recently used last.
    idle: Vec<u64>,
    /// Keys of seats, and of calls that wait for one particular seat.
    pub(super) next_key: u64,
    pub(super) closed: bool,
    resting: bool,
}

/// All slots of one generation.
#[derive(Debug)]
pub(crate) struct Slots {
    pub(super) state: Mutex<State>,
    /// Rung when calls begin to wait.
    pub(crate) pressure: Notify,
    pack_budget_us: f32,
}

/// One slot. Dropping it gives it back; the ticket that carries it does so when the worker says that the call is over.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(super) slots: Arc<Slots>,
    pub(super) key: u64,
    lane: Lane,
    micros: Option<u32>,
    pub(crate) worker: Seated,
}

impl Slot {
    /// Notes the service time before the slot is given back.
    pub(crate) fn observe(&mut self, micros: u32) {
        self.micros = Some(micros);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.release(self.key, self.lane, self.micros);
    }
}

/// What a caller gets at once.
#[derive(Debug)]
pub(crate) enum Acquired {
    /// A slot.
    Now(Slot),
    /// A place in the queue.
    Queued(Place),
    /// Nothing: the generation is over.
    Closed,
}

impl State {
    #[expect(clippy::indexing_slicing, reason = "two lanes, and `index` is below two")]
    fn lane(&mut self, lane: Lane) -> &mut LaneState {
        &mut self.lanes[lane.index()]
    }

    #[expect(clippy::indexing_slicing, reason = "two lanes, and `index` is below two")]
    pub(super) fn capacity(&self, lane: Lane) -> u32 {
        let state = &self.lanes[lane.index()];
        match lane {
            Lane::Sync => state.window.size().max(state.declared),
            Lane::Async => state.declared,
        }
    }

    #[expect(clippy::indexing_slicing, reason = "two lanes, and `index` is below two")]
    fn choose(&mut self, lane: Lane, pack_budget_us: f32) -> Option<usize> {
        let at = lane.index();
        let capacity = self.capacity(lane);
        let cost = self.lanes[at].window.cost_us();
        let open = |seat: &Seat| {
            let outstanding = seat.outstanding[at];
            (outstanding > 0 && outstanding < capacity && !seat.retiring && !seat.worker.channel.is_stalled())
                .then_some(outstanding)
        };
        if capacity > 1 && cost < pack_budget_us {
            let packed = |seat: &Seat| open(seat).is_some_and(|n| n as f32 * cost < pack_budget_us);
            if let Some(found) = self.seats.iter().position(packed) {
                return Some(found);
            }
        }
        while let Some(key) = self.idle.pop() {
            if let Some(found) = self.find(key) {
                let seat = &mut self.seats[found];
                seat.listed_idle = false;
                if !seat.retiring {
                    return Some(found);
                }
            }
        }
        if capacity > 1 {
            let spare = |(n, seat): (usize, &Seat)| {
                // A worker busy in its other lane only has all of this lane's room.
                let free = seat.outstanding[at] == 0 && seat.total() > 0 && !seat.retiring;
                open(seat).or(free.then_some(0)).map(|outstanding| (outstanding, n))
            };
            return self.seats.iter().enumerate().filter_map(spare).min().map(|(_, found)| found);
        }
        None
    }

    #[expect(clippy::indexing_slicing, reason = "two lanes, and `index` is below two")]
    pub(super) fn is_unwaited(&self, lane: Lane) -> bool {
        self.lanes[lane.index()].waiting.is_empty()
    }

    pub(super) fn find(&self, key: u64) -> Option<usize> {
        self.seats.binary_search_by_key(&key, |seat| seat.key).ok()
    }
}

impl Slots {
    /// No workers yet. `threads` and `concurrency` are what the manifest allows per worker.
    pub(crate) fn new(threads: u32, concurrency: u32, pack_budget: Duration) -> Arc<Self> {
        let lane = |declared| LaneState { window: Window::new(), declared, waiting: Queue::new() };
        Arc::new(Self {
            state: Mutex::new(State {
                lanes: [lane(threads), lane(concurrency)],
                seats: Vec::new(),
                idle: Vec::new(),
                next_key: 1,
                closed: false,
                resting: false,
            }),
            pressure: Notify::new(),
            pack_budget_us: pack_budget.as_secs_f32() * 1e6,
        })
    }

    /// A slot, or a place in the queue for a call whose deadline is `until`. `first`: a call that was sent before and came
    /// back goes to the front.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        lane: Lane,
        tenant: Option<&Arc<str>>,
        first: bool,
        until: Instant,
    ) -> Acquired {
        let mut state = self.state.lock();
        if state.closed {
            return Acquired::Closed;
        }
        if (first || state.lane(lane).waiting.is_empty())
            && let Some(slot) = self.take(&mut state, lane)
        {
            return Acquired::Now(slot);
        }
        let (grant, receiver) = oneshot::channel();
        let waiting = &mut state.lane(lane).waiting;
        let term = Term { since: Instant::now(), until };
        let id = if first { waiting.push_returned(term, grant) } else { waiting.push(tenant, term, grant) };
        drop(state);
        self.pressure.notify_one();
        let (slots, tenant) = (Arc::clone(self), tenant.cloned());
        Acquired::Queued(Place { slots, lane, tenant, id, grant: receiver })
    }

    /// Gives up a place in the queue, if it is still there.
    pub(super) fn leave(&self, lane: Lane, tenant: Option<&Arc<str>>, id: u64) {
        self.state.lock().lane(lane).waiting.leave(tenant, id);
    }

    fn take(self: &Arc<Self>, state: &mut State, lane: Lane) -> Option<Slot> {
        let found = state.choose(lane, self.pack_budget_us)?;
        Some(self.slot_of(state, found, lane))
    }

    /// A slot of the seat at an index of `seats`.
    #[expect(clippy::indexing_slicing, reason = "the caller has found that index; two lanes")]
    pub(super) fn slot_of(self: &Arc<Self>, state: &mut State, found: usize, lane: Lane) -> Slot {
        self.stir(state);
        let seat = &mut state.seats[found];
        seat.begin(lane);
        if std::mem::take(&mut seat.listed_idle) {
            let key = seat.key;
            state.idle.retain(|idle| *idle != key);
        }
        let seat = &state.seats[found];
        Slot { slots: Arc::clone(self), key: seat.key, lane, micros: None, worker: Arc::clone(&seat.worker) }
    }

    fn stir(&self, state: &mut State) {
        if std::mem::take(&mut state.resting) {
            self.pressure.notify_one();
        }
    }

    /// Something runs that has no slot: the supervisor must not rest.
    pub(crate) fn wake(&self) {
        self.stir(&mut self.state.lock());
    }

    #[expect(clippy::indexing_slicing, reason = "`find` returns an index of `seats`; two lanes")]
    fn release(self: &Arc<Self>, key: u64, lane: Lane, micros: Option<u32>) {
        let mut refused = Vec::new();
        let mut state = self.state.lock();
        if let Some(found) = state.find(key) {
            let seat = &mut state.seats[found];
            let cold = seat.served < COLD;
            seat.served = seat.served.saturating_add(1);
            if let Some(micros) = micros {
                let window = &mut state.lanes[lane.index()].window;
                *window = window.observe(micros, cold);
            }
            let seat = &mut state.seats[found];
            let outstanding = &mut seat.outstanding[lane.index()];
            *outstanding = outstanding.saturating_sub(1);
            seat.since = Instant::now();
            if seat.total() == 0 && !seat.listed_idle && !seat.retiring {
                seat.listed_idle = true;
                state.idle.push(key);
            }
            // Calls of its sessions first: others may go elsewhere.
            self.resume(&mut state, found, &mut refused);
        }
        self.dispatch(&mut state, &mut refused);
        drop(state);
        // Slots whose callers had left meanwhile: dropping them takes the lock again.
        drop(refused);
    }

    fn dispatch(self: &Arc<Self>, state: &mut State, refused: &mut Vec<Slot>) {
        for lane in [Lane::Sync, Lane::Async] {
            while !state.lane(lane).waiting.is_empty() {
                let Some(slot) = self.take(state, lane) else { break };
                let Some(grant) = state.lane(lane).waiting.pop() else {
                    refused.push(slot);
                    break;
                };
                match grant.send(Granted::Slot(slot)) {
                    Err(Granted::Slot(slot)) => refused.push(slot),
                    Ok(()) | Err(Granted::Displaced | Granted::Late) => {}
                }
            }
        }
    }

    /// Takes over what is known of the calls of a generation that these calls were for before.
    pub(crate) fn learn_from(&self, other: &Self) {
        let known = other.state.lock().lanes.each_ref().map(|lane| lane.window);
        for (lane, window) in self.state.lock().lanes.iter_mut().zip(known) {
            lane.window = window.handed_on().unwrap_or(lane.window);
        }
    }

    /// Whether nothing runs; then the next call rings `pressure`.
    pub(crate) fn rest(&self) -> bool {
        let mut state = self.state.lock();
        state.resting = state.seats.iter().all(|seat| seat.total() == 0);
        state.resting
    }

    /// Adds a worker; waiting calls get it at once. Returns its key.
    pub(crate) fn add(self: &Arc<Self>, worker: Seated) -> u64 {
        let mut refused = Vec::new();
        let mut state = self.state.lock();
        let key = state.next_key;
        state.next_key += 1;
        state.seats.push(Seat {
            key,
            worker,
            outstanding: [0; 2],
            retiring: false,
            listed_idle: true,
            served: 0,
            since: Instant::now(),
            sessions: 0,
            bound: Default::default(),
        });
        state.idle.push(key);
        self.dispatch(&mut state, &mut refused);
        drop(state);
        drop(refused);
        key
    }

    /// Forgets a worker that is gone.
    pub(crate) fn remove(&self, key: u64) {
        let mut state = self.state.lock();
        if let Some(found) = state.find(key) {
            state.seats.remove(found);
        }
        drop(state);
        self.pressure.notify_one();
    }

    /// Gives a worker no more calls.
    pub(crate) fn retire(&self, pid: u32) {
        let mut state = self.state.lock();
        if let Some(seat) = state.seats.iter_mut().find(|seat| seat.worker.pid == pid) {
            seat.retiring = true;
        }
    }

    /// Takes idle workers out that were not used for a while, oldest first, but leaves `keep` live ones.
    pub(crate) fn take_cold(&self, keep: usize, idle_for: Duration) -> Vec<Seated> {
        let mut state = self.state.lock();
        let live = state.seats.iter().filter(|seat| !seat.retiring).count();
        let mut cold: Vec<(Instant, u64)> = state
            .seats
            .iter()
            .filter(|seat| seat.sessions == 0 && seat.total() == 0 && !seat.retiring)
            .filter(|seat| seat.since.elapsed() >= idle_for)
            .map(|seat| (seat.since, seat.key))
            .collect();
        cold.sort_unstable();
        cold.truncate(live.saturating_sub(keep));
        let mut taken = Vec::with_capacity(cold.len());
        for seat in &mut state.seats {
            if cold.iter().any(|(_, key)| *key == seat.key) {
                seat.retiring = true;
                taken.push(Arc::clone(&seat.worker));
            }
        }
        taken
    }

    /// Lets nobody in any more; who waits is told by the end of its grant.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting: Vec<_> = state.lanes.iter_mut().flat_map(|lane| lane.waiting.drain()).collect();
        let bound: Vec<_> = state.seats.iter_mut().map(|seat| std::mem::take(&mut seat.bound)).collect();
        drop(state);
        drop((waiting, bound));
    }

    /// Turns until a tenant's newest call has its own.
    pub(crate) fn turns(&self, lane: Lane, tenant: Option<&Arc<str>>) -> usize {
        self.state.lock().lane(lane).waiting.turns(tenant)
    }

    /// The length of the longest line among these tenants.
    pub(crate) fn longest_line(&self, among: &HashSet<Arc<str>>) -> usize {
        self.state.lock().lanes.iter().map(|lane| lane.waiting.longest(among)).max().unwrap_or(0)
    }

    /// Takes the newest call of the longest line among these tenants out of the queue. False: none of them waits.
    pub(crate) fn displace(&self, among: &HashSet<Arc<str>>) -> bool {
        let mut state = self.state.lock();
        let lane = state.lanes.iter_mut().max_by_key(|lane| lane.waiting.longest(among));
        let grant = lane.and_then(|lane| lane.waiting.displace(among));
        drop(state);
        // A call whose caller has left meanwhile makes room as well.
        let Some(grant) = grant else { return false };
        drop(grant.send(Granted::Displaced));
        true
    }

    /// Tells those in a queue who cannot have their turn in time if one comes every `turn`.
    pub(crate) fn turn_away(&self, lane: Lane, turn: Duration) {
        let grants = self.state.lock().lane(lane).waiting.late(Instant::now(), turn);
        for grant in grants {
            // Whoever has left meanwhile need not be told.
            drop(grant.send(Granted::Late));
        }
    }

    /// Calls that wait, without the rest of the picture.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().lanes.iter().map(|lane| lane.waiting.len()).sum()
    }
}
