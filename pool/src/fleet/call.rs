//! The way of a call through a generation: a slot, a worker, an answer, and what happens if it does not come in time.

use std::{
    future::pending,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use par_proto::frames::{FLAG_FILES, FLAG_TRACED};
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout_at};

use super::{
    backoff::Backoff,
    exchange::{Origin, Principal},
    flow::{Feed, Started},
    generation::Generation,
    hold::Hold,
    lodging::SessionTurn,
    outcome::{Answer, Outcome},
    place::{Granted, Place},
    slots::{Acquired, Slot},
    spool::Attached,
    ticket::CallTicket,
};
use crate::{
    process::{CallFrame, Death, Lane, Over, Reply, Spent, Witness, Worker},
    session::Claim,
};

/// One call, ready to be sent; a clone shares its bytes.
#[derive(Debug, Clone)]
pub struct Call {
    /// Index of the export in the manifest.
    pub export: u32,
    /// JSON object as in `FRAMES.md`, kind `CALL`.
    pub meta: Bytes,
    /// The input as JSON.
    pub payload: Bytes,
    /// For the log lines that the agent prints meanwhile.
    pub request_id: Arc<str>,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// On whose account; calls of different tenants take turns when they wait.
    pub tenant: Option<Arc<str>>,
    /// Who made it; for calls that its handler makes.
    pub principal: Option<Principal>,
    /// How many calls it is nested in.
    pub depth: u8,
    /// The session that it belongs to, if its caller names one.
    pub session: Option<Claim>,
    /// Files that came with it, in the generation's own place.
    pub files: Option<Arc<Attached>>,
    /// Where items go, if they may come one by one.
    pub feed: Option<Feed>,
    /// Who watches it for its trace; `None`: its trace is not kept.
    pub trace: Option<Arc<dyn Witness>>,
}

impl Call {
    /// Flags of its frame.
    fn flags(&self) -> u8 {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        self.feed.as_ref().map_or(0, Feed::flags)
            | flag(self.files.is_some(), FLAG_FILES)
            | flag(self.trace.is_some(), FLAG_TRACED)
    }
}

/// How long a cancelled coroutine may take to end before its worker is held for stuck.
const ASYNC_PATIENCE: Duration = Duration::from_secs(1);

/// The same for a function that was waiting for a call of its own, which is told that it is over.
const CALLING_PATIENCE: Duration = Duration::from_millis(200);

/// Time until the dump of stacks begins before the worker is killed without. It takes a millisecond, for a worker of a
/// loader 40 ms (V8 makes its inspector ready), and ten times that on a machine that has no time. Nobody waits for it:
/// the caller has its answer, and the worker gets no calls.
const DUMP_BEGINS: Duration = Duration::from_secs(1);

/// Time for the rest of it.
const DUMP_TIME: Duration = Duration::from_millis(40);

/// Counts a call while it runs or waits; a dropped future is counted out as well.
struct Flight<'a>(&'a AtomicUsize);

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Cancels a call whose caller left before its end, and holds it to its deadline all the same.
struct Leave<'a> {
    generation: &'a Arc<Generation>,
    worker: &'a Arc<Worker<CallTicket>>,
    id: u64,
    lane: Lane,
    deadline: Instant,
    feed: Option<&'a Feed>,
    armed: bool,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (generation, worker) = (Arc::clone(self.generation), Arc::clone(self.worker));
        let (id, lane) = (self.id, self.lane);
        let deadline = self.feed.map_or(self.deadline, |feed| feed.patience(self.deadline));
        // What it waits for meets the same deadline, and is to be told so.
        let over = if Instant::now() < deadline { Over::Left } else { Over::Late };
        worker.channel.with_ticket(id, |ticket| ticket.leave(over));
        worker.channel.cancel(id, over);
        let background = generation.settings.background.clone();
        background.spawn(async move {
            tokio::time::sleep_until(deadline.into()).await;
            if worker.channel.with_ticket(id, |_| ()).is_some() {
                generation.expire(worker, id, lane);
            }
        });
    }
}

impl Generation {
    /// Sends a call to a worker and waits for its end. Dropping the future cancels the call; its slot stays taken
    /// until the worker has said that it is over.
    pub async fn call(self: &Arc<Self>, call: Call) -> Answer {
        self.call_in(call, None).await
    }

    /// The same for a call whose turn it is in its session.
    pub(super) async fn call_in(self: &Arc<Self>, call: Call, turn: Option<&Arc<SessionTurn>>) -> Answer {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let _flight = Flight(&self.in_flight);
        let begin = Instant::now();
        let (lane, flags) = (self.lane(call.export), call.flags());
        let origin = Origin {
            request_id: Arc::clone(&call.request_id),
            meta: call.meta.clone(),
            deadline: call.deadline,
            tenant: call.tenant.clone(),
            principal: call.principal,
            depth: call.depth,
            trace: call.trace,
        };
        let frame = CallFrame { export: call.export, meta: call.meta, payload: call.payload, flags };
        let mut again = false;
        loop {
            let slot = match self.hold(turn, lane, &origin, again).await {
                Ok(slot) => slot,
                Err(outcome) => {
                    return Answer { outcome, queued: begin.elapsed(), spent: Spent::default(), pid: 0 };
                }
            };
            let now = Instant::now();
            let queued = now - begin;
            let left = call.deadline.saturating_duration_since(now);
            let worker = Arc::clone(slot.worker());
            if !worker.channel.is_attached() {
                worker.channel.attach(&self.settings.homes.pick());
            }
            let (answer, reply) = oneshot::channel();
            let ticket = CallTicket {
                slot,
                answer,
                generation: Arc::clone(self),
                origin: origin.clone(),
                lane,
                wait: Mutex::default(),
                in_turn: lane == Lane::Sync && self.threads == 1,
                files: call.files.clone(),
                feed: call.feed.clone(),
                sent: now,
                over: OnceLock::new(),
            };
            again = true;
            let milliseconds = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
            let Ok(id) = worker.channel.submit(&frame, milliseconds, ticket) else { continue };
            let feed = call.feed.as_ref();
            let mut leave = Leave {
                generation: self,
                worker: &worker,
                id,
                lane,
                deadline: call.deadline,
                feed,
                armed: true,
            };
            let waited = match feed {
                None => timeout_at(call.deadline.into(), reply).await,
                Some(feed) => {
                    feed.open(&worker.channel, id, Started { queued, pid: worker.pid });
                    Box::pin(feed.within(call.deadline, reply)).await
                }
            };
            leave.armed = false;
            let told = |outcome, spent| Answer { outcome, queued, spent, pid: worker.pid };
            let reply = match waited {
                Ok(Ok(delivery)) => delivery.take(),
                Ok(Err(_)) => Reply::Returned,
                Err(_elapsed) => {
                    let started = worker.channel.started() >= id;
                    self.expire(Arc::clone(&worker), id, lane);
                    return told(Outcome::Deadline { started }, Spent::default());
                }
            };
            let spent = reply.spent();
            match reply {
                Reply::Done { flags, meta, payload, .. } => {
                    self.note_answer();
                    return told(Outcome::Done { flags, meta, payload }, spent);
                }
                Reply::Ended { meta, .. } => {
                    self.note_answer();
                    return told(Outcome::Ended { meta }, spent);
                }
                Reply::Failed { payload, .. } => {
                    self.note_answer();
                    return told(Outcome::Failed(payload), spent);
                }
                Reply::Cancelled { .. } => return told(Outcome::Deadline { started: true }, spent),
                Reply::Died { death, .. } => return told(Outcome::Crashed(death), spent),
                Reply::Returned => {}
            }
        }
    }

    async fn hold(
        self: &Arc<Self>,
        turn: Option<&Arc<SessionTurn>>,
        lane: Lane,
        origin: &Origin,
        again: bool,
    ) -> Result<Hold, Outcome> {
        if self.troubled.load(Ordering::Relaxed)
            && let Some(retry_after) = self.looping()
        {
            return Err(Outcome::CrashLoop { retry_after });
        }
        if let Some(turn) = turn {
            return Box::pin(self.hold_in_session(turn, lane, origin, again)).await;
        }
        match self.slots.acquire(lane, origin.tenant.as_ref(), again, origin.deadline) {
            Acquired::Now(slot) => Ok(Hold::Shared(slot)),
            Acquired::Closed => Err(Outcome::Stopping),
            Acquired::Queued(place) => self.granted(place, lane, origin).await.map(Hold::Shared),
        }
    }

    /// Waits in the queue.
    pub(super) async fn granted(
        &self,
        mut place: Place,
        lane: Lane,
        origin: &Origin,
    ) -> Result<Slot, Outcome> {
        let (tenant, deadline) = (origin.tenant.as_ref(), origin.deadline);
        if *self.at_cap.borrow() {
            if origin.depth > 0 && self.is_entangled(lane) {
                return Err(Outcome::Entangled);
            }
            let expected = self.expected_wait(lane, tenant);
            if Instant::now() + expected > deadline {
                return Err(Outcome::QueueFull { retry_after: expected });
            }
        }
        let granted = timeout_at(deadline.into(), &mut place.grant);
        let granted = tokio::select! {
            biased;
            granted = granted => granted,
            () = self.entangled(lane), if origin.depth > 0 => return Err(Outcome::Entangled),
        };
        match granted {
            Ok(Ok(Granted::Slot(slot))) => Ok(slot),
            // It has not started, so it may be sent again: that is what it is told, and when.
            Ok(Ok(Granted::Displaced | Granted::Late)) | Err(_) => {
                Err(Outcome::QueueFull { retry_after: self.expected_wait(lane, tenant) })
            }
            Ok(Err(_)) => match self.looping() {
                Some(retry_after) => Err(Outcome::CrashLoop { retry_after }),
                None => Err(Outcome::Stopping),
            },
        }
    }

    /// Whether every place is taken by a call that waits for a call of its own: one more would wait for itself.
    fn is_entangled(&self, lane: Lane) -> bool {
        let now = self.slots.snapshot();
        let [_, concurrent] = now.capacity;
        let each = match lane {
            Lane::Sync => self.threads,
            Lane::Async => concurrent,
        };
        self.waits.count(lane) >= now.seats.len().saturating_mul(each as usize)
    }

    /// Resolves if no worker may be added any more while all that there are wait: when a call is queued, that may not
    /// be known yet.
    async fn entangled(&self, lane: Lane) {
        let mut at_cap = self.at_cap.subscribe();
        while !(*at_cap.borrow_and_update() && self.is_entangled(lane)) {
            if at_cap.changed().await.is_err() {
                return pending().await;
            }
        }
    }

    /// Time until a call of a tenant that joins the queue now would start: what has its turn before it, over what runs
    /// at once. Calls of others who come later may have theirs before it; then its deadline ends it in the queue.
    pub(crate) fn expected_wait(&self, lane: Lane, tenant: Option<&Arc<str>>) -> Duration {
        let waiting = u32::try_from(self.slots.turns(lane, tenant)).unwrap_or(u32::MAX);
        self.turn(lane).saturating_mul(waiting)
    }

    /// Typical time between two calls of a lane that start, when all workers are busy.
    pub(super) fn turn(&self, lane: Lane) -> Duration {
        let now = self.slots.snapshot();
        let [sync_cost, concurrent_cost] = now.cost;
        let [sync_room, concurrent_room] = now.capacity;
        let (cost, room) = match lane {
            Lane::Sync => (sync_cost, sync_room.min(1)),
            Lane::Async => (concurrent_cost, concurrent_room),
        };
        let at_once = u32::try_from(now.seats.len()).unwrap_or(1).max(1).saturating_mul(room.max(1));
        cost / at_once
    }

    fn looping(&self) -> Option<Duration> {
        let health = self.health.lock();
        let none_live = || self.slots.snapshot().seats.is_empty();
        (health.backoff.is_loop() && none_live())
            .then(|| health.next_start.saturating_duration_since(Instant::now()).max(Duration::from_secs(1)))
    }

    fn note_answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        if self.troubled.load(Ordering::Relaxed) {
            let mut health = self.health.lock();
            health.backoff = Backoff::answered();
            self.troubled.store(false, Ordering::Relaxed);
        }
    }

    /// After a deadline: the caller gets his answer, the worker is dealt with in the background.
    fn expire(self: &Arc<Self>, worker: Arc<Worker<CallTicket>>, id: u64, lane: Lane) {
        // Its own calls have met the same deadline, and are answered: it may still end by itself.
        let known = worker.channel.with_ticket(id, |ticket| {
            ticket.leave(Over::Late);
            (ticket.waits(), Arc::clone(&ticket.origin.request_id))
        });
        let (waits, request_id) = known.unwrap_or_default();
        worker.channel.cancel(id, Over::Late);
        if worker.channel.started() < id {
            return;
        }
        let patience = match lane {
            Lane::Sync if waits => CALLING_PATIENCE,
            Lane::Sync => Duration::ZERO,
            Lane::Async => ASYNC_PATIENCE,
        };
        if patience.is_zero() {
            // Before its caller is answered: what he calls next must not meet the worker's end.
            self.give_up(&worker);
        }
        let generation = Arc::clone(self);
        self.settings.background.spawn(async move {
            tokio::time::sleep(patience).await;
            if worker.channel.with_ticket(id, |_| ()).is_none() && !patience.is_zero() {
                return;
            }
            generation.give_up(&worker);
            worker.channel.recall();
            worker.dump_stacks();
            tracing::warn!(
                event = "worker_stuck",
                package = %generation.installed.package.id,
                generation = generation.number,
                worker = worker.pid,
                request_id = &*request_id,
                "a call ran past its deadline; the worker's stacks follow and it is replaced"
            );
            worker.tail.dump(DUMP_BEGINS).await;
            tokio::time::sleep(DUMP_TIME).await;
            worker.kill(Death::Timeout);
        });
    }

    /// Has a worker that will be killed get no more calls, nor those of a session of its own.
    fn give_up(&self, worker: &Worker<CallTicket>) {
        self.slots.retire(worker.pid);
        worker.condemn(Death::Timeout);
    }
}
