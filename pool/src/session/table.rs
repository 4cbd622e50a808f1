//! All sessions of one package name: who lives, who has ended and was not told yet. Pure: time comes in, what is to be
//! done goes out.

use std::{
    collections::{HashMap, VecDeque, hash_map},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ending::Ending,
    expiry::{self, Caps, Clock, Full, Limits},
    key::{Claim, Owner, SessionId},
};

/// Most sessions of one package name whose end nobody was told of yet. Clients that never come back must not fill the
/// memory; of more than these the oldest is forgotten.
const UNTOLD: usize = 10_000;

/// How long an end waits to be told: longer than any client that still believes in its session.
const REMEMBERED: Duration = Duration::from_hours(24);

/// A session that lives.
#[derive(Debug)]
pub(crate) struct Live<H> {
    /// Never used again, unlike its id.
    pub(crate) number: u64,
    pub(crate) owner: Owner,
    /// On whose account.
    pub(crate) tenant: Arc<str>,
    /// What it lives in.
    pub(crate) handle: Arc<H>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    /// Calls that run or wait.
    pub(crate) visits: usize,
    /// Whether anything is kept for it: before, it leaves no trace.
    pub(crate) kept: bool,
    /// It is over as soon as nobody visits it; new calls were told already.
    closing: bool,
}

/// An end that was not told yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) owner: Owner,
    pub(crate) ending: Ending,
    number: u64,
    at: Instant,
}

/// A session that ended just now.
#[derive(Debug)]
pub(crate) struct Over<H> {
    pub(crate) id: SessionId,
    pub(crate) ending: Ending,
    pub(crate) handle: Arc<H>,
    /// Who is to be told; nobody if nothing was kept, or if that was done.
    pub(crate) untold: Option<Owner>,
}

#[derive(Debug)]
enum Entry<H> {
    Live(Live<H>),
    Ended(Ended),
}

/// The sessions of one package name. `H` is what they live in.
#[derive(Debug)]
pub(crate) struct Table<H> {
    entries: HashMap<SessionId, Entry<H>>,
    /// Live sessions by tenant; nobody with none.
    tenants: HashMap<Arc<str>, usize>,
    live: usize,
    /// Ends in their order; what was told meanwhile is still in it.
    untold: VecDeque<(SessionId, Instant)>,
}

/// What a caller meets at an id.
#[derive(Debug)]
pub(crate) enum Met<'a, H> {
    /// Nothing.
    Free,
    /// Its own session.
    Live(&'a Live<H>),
    /// Somebody else's session, or its end.
    Stranger,
    /// The end of its own session, told by this. The handle is there if it ended just now.
    Ended(Ending, Option<Arc<H>>),
}

/// Why a session is not entered.
#[derive(Debug)]
pub(crate) enum Barred<H> {
    Stranger,
    Ended(Ending, Option<Arc<H>>),
    Full(Full, Duration),
}

impl<H> Default for Table<H> {
    fn default() -> Self {
        Self { entries: HashMap::new(), tenants: HashMap::new(), live: 0, untold: VecDeque::new() }
    }
}

impl<H> Table<H> {
    /// What a caller meets at an id. An end is told by this, and its id free then.
    pub(crate) fn meet(&mut self, id: &SessionId, owner: &Owner, now: Instant) -> Met<'_, H> {
        let ending = match self.entries.get_mut(id) {
            None => return Met::Free,
            Some(Entry::Live(live)) if live.owner != *owner => return Met::Stranger,
            Some(Entry::Ended(ended)) if now.duration_since(ended.at) >= REMEMBERED => None,
            Some(Entry::Ended(ended)) if ended.owner != *owner => return Met::Stranger,
            Some(Entry::Ended(ended)) => Some(ended.ending),
            Some(Entry::Live(live)) if live.visits > 0 => {
                if !live.clock.is_aged(live.limits, now) {
                    return self.alive(id);
                }
                // Calls that are in it are finished first.
                live.closing = true;
                return Met::Ended(Ending::Aged, None);
            }
            Some(Entry::Live(live)) => match live.clock.over(live.limits, now) {
                None => return self.alive(id),
                over => over,
            },
        };
        let handle = self.take(id).map(|live| live.handle);
        ending.map_or(Met::Free, |ending| Met::Ended(ending, handle))
    }

    fn alive(&self, id: &SessionId) -> Met<'_, H> {
        match self.entries.get(id) {
            Some(Entry::Live(live)) => Met::Live(live),
            Some(Entry::Ended(_)) | None => Met::Free,
        }
    }

    /// Enters the session of an id, or begins it. Every entry is followed by a [`Table::leave`] with its number.
    pub(crate) fn enter(
        &mut self,
        claim: &Claim,
        limits: Limits,
        caps: Caps,
        now: Instant,
        begin: impl FnOnce() -> (u64, Arc<H>),
    ) -> Result<(u64, Arc<H>), Barred<H>> {
        match self.meet(&claim.id, &claim.owner, now) {
            Met::Stranger => return Err(Barred::Stranger),
            Met::Ended(ending, handle) => return Err(Barred::Ended(ending, handle)),
            Met::Live(_) | Met::Free => {}
        }
        if let Some(Entry::Live(live)) = self.entries.get_mut(&claim.id) {
            live.visits += 1;
            return Ok((live.number, Arc::clone(&live.handle)));
        }
        let own = self.tenants.get(&claim.tenant).copied().unwrap_or(0);
        expiry::room(caps, self.live, own).map_err(|full| Barred::Full(full, self.soonest(now)))?;
        let (number, handle) = begin();
        *self.tenants.entry(Arc::clone(&claim.tenant)).or_insert(0) += 1;
        self.live += 1;
        let live = Live {
            number,
            owner: claim.owner.clone(),
            tenant: Arc::clone(&claim.tenant),
            handle: Arc::clone(&handle),
            clock: Clock::start(now),
            limits,
            visits: 1,
            kept: false,
            closing: false,
        };
        self.entries.insert(claim.id.clone(), Entry::Live(live));
        Ok((number, handle))
    }

    /// From now on its end is told. False: it is over.
    pub(crate) fn keep(&mut self, id: &SessionId, number: u64) -> bool {
        let live = self.numbered(id, number);
        live.map(|live| live.kept = true).is_some()
    }

    /// A call is over; `worked`: it had been sent to the worker. Gives the session if it was the last one of an aged
    /// session, whose end was told already.
    pub(crate) fn leave(
        &mut self,
        id: &SessionId,
        number: u64,
        worked: bool,
        now: Instant,
    ) -> Option<Arc<H>> {
        let live = self.numbered(id, number)?;
        live.visits = live.visits.saturating_sub(1);
        if worked {
            live.clock.rested = now;
        }
        if live.visits > 0 {
            return None;
        }
        if !live.kept {
            self.take(id);
            return None;
        }
        if live.closing {
            return self.take(id).map(|live| live.handle);
        }
        None
    }

    /// Ends a session; its next call is told. `None`: it is over already.
    pub(crate) fn end(
        &mut self,
        id: &SessionId,
        number: u64,
        ending: Ending,
        now: Instant,
    ) -> Option<Over<H>> {
        self.numbered(id, number)?;
        let live = self.take(id)?;
        let untold = (live.kept && !live.closing).then_some(live.owner);
        if let Some(owner) = untold.clone() {
            self.remember(id.clone(), number, owner, ending, now);
        }
        Some(Over { id: id.clone(), ending, handle: live.handle, untold })
    }

    /// Remembers an end, also one from before this table.
    pub(crate) fn remember(
        &mut self,
        id: SessionId,
        number: u64,
        owner: Owner,
        ending: Ending,
        now: Instant,
    ) {
        if self.untold.len() >= UNTOLD {
            self.forget_oldest();
        }
        self.untold.push_back((id.clone(), now));
        self.entries.insert(id, Entry::Ended(Ended { owner, ending, number, at: now }));
    }

    /// The end of a session was told to a call that had waited in it. False: it had been told before.
    pub(crate) fn told(&mut self, id: &SessionId, number: u64) -> bool {
        let known = matches!(self.entries.get(id), Some(Entry::Ended(ended)) if ended.number == number);
        if known {
            self.entries.remove(id);
        }
        known
    }

    /// Ends everything that rests and is over, and forgets ends that nobody asked for.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<Over<H>> {
        while self.untold.front().is_some_and(|(_, at)| now.duration_since(*at) >= REMEMBERED) {
            self.forget_oldest();
        }
        let over: Vec<_> = self
            .lives()
            .filter(|(_, live)| live.visits == 0)
            .filter_map(|(id, live)| Some((id.clone(), live.number, live.clock.over(live.limits, now)?)))
            .collect();
        over.into_iter().filter_map(|(id, number, ending)| self.end(&id, number, ending, now)).collect()
    }

    /// Every session that lives.
    pub(crate) fn lives(&self) -> impl Iterator<Item = (&SessionId, &Live<H>)> {
        self.entries.iter().filter_map(|(id, entry)| match entry {
            Entry::Live(live) => Some((id, live)),
            Entry::Ended(_) => None,
        })
    }

    /// Every end that was not told.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&SessionId, &Ended)> {
        self.entries.iter().filter_map(|(id, entry)| match entry {
            Entry::Ended(ended) => Some((id, ended)),
            Entry::Live(_) => None,
        })
    }

    /// Sessions that live.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Ends that were not told.
    pub(crate) fn untold(&self) -> usize {
        self.entries.len() - self.live
    }

    /// Whether there is nothing to know.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// When the first session could be over: when another try makes sense.
    fn soonest(&self, now: Instant) -> Duration {
        self.lives().map(|(_, live)| live.clock.left(live.limits, now)).min().unwrap_or(Duration::ZERO)
    }

    fn numbered(&mut self, id: &SessionId, number: u64) -> Option<&mut Live<H>> {
        match self.entries.get_mut(id) {
            Some(Entry::Live(live)) if live.number == number => Some(live),
            Some(Entry::Live(_) | Entry::Ended(_)) | None => None,
        }
    }

    fn take(&mut self, id: &SessionId) -> Option<Live<H>> {
        let Entry::Live(live) = self.entries.remove(id)? else { return None };
        self.live -= 1;
        if let hash_map::Entry::Occupied(mut own) = self.tenants.entry(Arc::clone(&live.tenant)) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
        Some(live)
    }

    fn forget_oldest(&mut self) {
        let Some((id, at)) = self.untold.pop_front() else { return };
        // The id may have been told and used again since.
        if matches!(self.entries.get(&id), Some(Entry::Ended(ended)) if ended.at == at) {
            self.entries.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests;
