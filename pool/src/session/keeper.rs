//! Every session of the process behind one lock, with its record; and the guard of a call in a session.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use par_proto::ids::PackageName;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    ending::Ending,
    expiry::{Caps, Full, Limits},
    key::{Claim, Owner, SessionId},
    record::{Record, Untold},
    table::{Barred, Live, Met, Over, Table},
    visit::Visit,
};

/// What a session lives in.
pub(crate) trait Held: Send + Sync + 'static {
    /// The session is over: whoever waits in it is told, and what it lived in is let go. Once.
    fn over(&self, ending: Ending);
}

/// Why a call is not let into a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// It belongs to somebody else: 404 `session_not_found`.
    Stranger,
    /// Its version has no such agent: 404 `session_not_found`.
    Elsewhere,
    /// The call is nested in the one whose turn it is, so that each would wait for the other: 409 `conflict`.
    Nested,
    /// It has ended; told by this: 410.
    Ended(Ending),
    /// There is no room for another.
    Full {
        /// Whose cap is reached.
        whose: Full,
        /// When one that lives could be over.
        retry_after: Duration,
    },
}

#[derive(Debug)]
struct State<H> {
    tables: HashMap<PackageName, Table<H>>,
    record: Record,
    next: u64,
}

impl<H> State<H> {
    /// Writes down that a session has ended.
    fn note(&mut self, package: &PackageName, over: &Over<H>) {
        match &over.untold {
            Some(owner) => self.record.ended(package, &over.id, owner, over.ending),
            None => self.record.told(package, &over.id),
        }
    }
}

/// All sessions of the process.
#[derive(Debug)]
pub(crate) struct Keeper<H> {
    state: Mutex<State<H>>,
    /// Whether the tables say nothing: calls of packages without sessions need not look.
    empty: AtomicBool,
    live: AtomicUsize,
    /// Rung when sessions live.
    begun: Notify,
    caps: Caps,
}

/// A session as others than its calls see it.
#[derive(Debug)]
pub(crate) struct Seen<H> {
    pub(crate) package: PackageName,
    pub(crate) id: SessionId,
    pub(crate) owner: Owner,
    pub(crate) number: u64,
    pub(crate) handle: Arc<H>,
    pub(crate) begun: Instant,
    pub(crate) rested: Instant,
    /// Whether a call runs or waits in it.
    pub(crate) busy: bool,
}

impl<H: Held> Keeper<H> {
    /// Reads what a former process left behind at `path`: those sessions are lost, and are told so.
    pub(crate) fn open(path: PathBuf, caps: Caps) -> std::io::Result<Arc<Self>> {
        let (record, untold) = Record::open(path)?;
        let mut tables: HashMap<PackageName, Table<H>> = HashMap::new();
        let now = Instant::now();
        for Untold { package, id, owner, ending } in untold {
            tables.entry(package).or_default().remember(id, 0, owner, ending, now);
        }
        let empty = AtomicBool::new(tables.is_empty());
        let state = Mutex::new(State { tables, record, next: 0 });
        Ok(Arc::new(Self { state, empty, live: AtomicUsize::new(0), begun: Notify::new(), caps }))
    }

    /// Whether nothing is known of any session.
    pub(crate) fn is_empty(&self) -> bool {
        self.empty.load(Ordering::Relaxed)
    }

    /// Waits until there is anything to look after.
    pub(crate) async fn some(&self) {
        while self.live.load(Ordering::Relaxed) == 0 {
            self.begun.notified().await;
        }
    }

    /// What a session lives in; `None`: the id is free. Tells an end.
    pub(crate) fn find(&self, package: &PackageName, claim: &Claim) -> Result<Option<Arc<H>>, Denied> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut state = self.state.lock();
        let Some(table) = state.tables.get_mut(package) else { return Ok(None) };
        let (ending, handle) = match table.meet(&claim.id, &claim.owner, Instant::now()) {
            Met::Free => return Ok(None),
            Met::Live(live) => return Ok(Some(Arc::clone(&live.handle))),
            Met::Stranger => return Err(Denied::Stranger),
            Met::Ended(ending, handle) => (ending, handle),
        };
        self.tell(state, package, &claim.id, ending, handle);
        Err(Denied::Ended(ending))
    }

    /// Enters a session, or begins it with what `begin` makes of its number.
    pub(crate) fn enter(
        self: &Arc<Self>,
        package: &PackageName,
        claim: &Claim,
        limits: Limits,
        begin: impl FnOnce(u64) -> Arc<H>,
    ) -> Result<Visit<H>, Denied> {
        let mut state = self.state.lock();
        let State { tables, next, .. } = &mut *state;
        let table = tables.entry(package.clone()).or_default();
        let begin = || {
            *next += 1;
            (*next, begin(*next))
        };
        match table.enter(claim, limits, self.caps, Instant::now(), begin) {
            Ok((number, handle)) => {
                self.count(&mut state);
                drop(state);
                Ok(Visit::new(self, package.clone(), claim.clone(), number, handle))
            }
            Err(Barred::Stranger) => Err(Denied::Stranger),
            Err(Barred::Full(whose, retry_after)) => {
                self.count(&mut state);
                Err(Denied::Full { whose, retry_after })
            }
            Err(Barred::Ended(ending, handle)) => {
                self.tell(state, package, &claim.id, ending, handle);
                Err(Denied::Ended(ending))
            }
        }
    }

    fn tell(
        &self,
        mut state: parking_lot::MutexGuard<'_, State<H>>,
        package: &PackageName,
        id: &SessionId,
        ending: Ending,
        handle: Option<Arc<H>>,
    ) {
        state.record.told(package, id);
        self.count(&mut state);
        drop(state);
        if let Some(handle) = handle {
            handle.over(ending);
        }
    }

    /// Ends a session; its next call is told. False: it is over already.
    pub(crate) fn end(&self, package: &PackageName, id: &SessionId, number: u64, ending: Ending) -> bool {
        let mut state = self.state.lock();
        let table = state.tables.get_mut(package);
        let Some(over) = table.and_then(|table| table.end(id, number, ending, Instant::now())) else {
            return false;
        };
        state.note(package, &over);
        self.count(&mut state);
        drop(state);
        over.handle.over(ending);
        true
    }

    /// From now on a session's end is told, whatever happens. False: it is over.
    pub(crate) fn keep(&self, package: &PackageName, claim: &Claim, number: u64) -> bool {
        let mut state = self.state.lock();
        let table = state.tables.get_mut(package);
        let is_alive = table.is_some_and(|table| table.keep(&claim.id, number));
        if is_alive {
            state.record.began(package, &claim.id, &claim.owner);
        }
        is_alive
    }

    /// A call that had waited in a session was told its end.
    pub(crate) fn told(&self, package: &PackageName, id: &SessionId, number: u64) {
        let mut state = self.state.lock();
        if state.tables.get_mut(package).is_some_and(|table| table.told(id, number)) {
            state.record.told(package, id);
            self.count(&mut state);
        }
    }

    /// A call has left a session.
    pub(crate) fn leave(&self, package: &PackageName, id: &SessionId, number: u64, worked: bool) {
        let mut state = self.state.lock();
        let table = state.tables.get_mut(package);
        let aged = table.and_then(|table| table.leave(id, number, worked, Instant::now()));
        self.count(&mut state);
        drop(state);
        if let Some(handle) = aged {
            handle.over(Ending::Aged);
        }
    }

    /// Ends those that this is true of.
    pub(crate) fn end_all(&self, ending: Ending, is_meant: impl Fn(&Seen<H>) -> bool) -> usize {
        let meant: Vec<_> = self.all().into_iter().filter(|seen| is_meant(seen)).collect();
        meant.iter().filter(|seen| self.end(&seen.package, &seen.id, seen.number, ending)).count()
    }

    /// Ends every session that rested or lived too long.
    pub(crate) fn sweep(&self) {
        let mut state = self.state.lock();
        let mut all = Vec::new();
        for (package, table) in &mut state.tables {
            all.extend(table.sweep(Instant::now()).into_iter().map(|over| (package.clone(), over)));
        }
        for (package, over) in &all {
            state.note(package, over);
        }
        self.count(&mut state);
        drop(state);
        for (_, over) in all {
            over.handle.over(over.ending);
        }
    }

    /// Every session that lives and keeps something.
    pub(crate) fn all(&self) -> Vec<Seen<H>> {
        let state = self.state.lock();
        let each = state.tables.iter().flat_map(|(package, table)| {
            let kept = table.lives().filter(|(_, live)| live.kept);
            kept.map(|(id, live)| seen(package, id, live))
        });
        each.collect()
    }

    /// Brings figures up to date, forgets empty tables and shortens the record.
    fn count(&self, state: &mut State<H>) {
        state.tables.retain(|_, table| !table.is_empty());
        self.empty.store(state.tables.is_empty(), Ordering::Relaxed);
        let live = state.tables.values().map(Table::live).sum();
        if self.live.swap(live, Ordering::Relaxed) == 0 && live > 0 {
            self.begun.notify_one();
        }
        let known = live + state.tables.values().map(Table::untold).sum::<usize>();
        if state.record.is_long(known) {
            let State { tables, record, .. } = state;
            let lives = tables.iter().flat_map(|(package, table)| {
                let kept = table.lives().filter(|(_, live)| live.kept);
                kept.map(|(id, live)| (package.clone(), id.clone(), live.owner.clone()))
            });
            let ends = tables.iter().flat_map(|(package, table)| {
                table.ends().map(|(id, ended)| Untold {
                    package: package.clone(),
                    id: id.clone(),
                    owner: ended.owner.clone(),
                    ending: ended.ending,
                })
            });
            record.compact(lives, ends);
        }
    }
}

fn seen<H>(package: &PackageName, id: &SessionId, live: &Live<H>) -> Seen<H> {
    Seen {
        package: package.clone(),
        id: id.clone(),
        owner: live.owner.clone(),
        number: live.number,
        handle: Arc::clone(&live.handle),
        begun: live.clock.begun,
        rested: live.clock.rested,
        busy: live.visits > 0,
    }
}
