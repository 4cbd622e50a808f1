//! Calls that wait for a slot of one lane: a line per tenant, served in turns. Pure: the slots act on it.
//!
//! Whoever's turn it is gives one call and goes to the end of the round, so a tenant waits for at most one call of
//! each other tenant, however long their lines are, and within a line the first come is the first served. Calls
//! without a tenant share one line; alone it is a plain queue, and nothing else is touched.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// From when to when a call waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    /// When it came.
    pub(super) since: Instant,
    /// Its deadline.
    pub(super) until: Instant,
}

#[derive(Debug)]
struct Waiter<T> {
    id: u64,
    term: Term,
    grant: T,
}

type Line<T> = VecDeque<Waiter<T>>;

/// Waiting calls; `T` is how a call is told that its turn has come.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// Calls that were sent before and came back: before all others, whoever's they are.
    returned: Line<T>,
    /// Calls of nobody in particular.
    common: Line<T>,
    /// Calls by tenant; no line is empty.
    lines: HashMap<Arc<str>, Line<T>>,
    /// Everybody with a line that is not empty, once; the first one has the next turn.
    round: VecDeque<Option<Arc<str>>>,
    waiting: usize,
    next_id: u64,
}

impl<T> Queue<T> {
    /// Nobody waits.
    pub(super) fn new() -> Self {
        Self {
            returned: Line::new(),
            common: Line::new(),
            lines: HashMap::new(),
            round: VecDeque::new(),
            waiting: 0,
            next_id: 1,
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Joins the line of a tenant. The id names the place.
    pub(super) fn push(&mut self, tenant: Option<&Arc<str>>, term: Term, grant: T) -> u64 {
        let waiter = self.waiter(term, grant);
        let id = waiter.id;
        let line = match tenant {
            Some(tenant) => self.lines.entry(Arc::clone(tenant)).or_default(),
            None => &mut self.common,
        };
        if line.is_empty() {
            self.round.push_back(tenant.cloned());
        }
        line.push_back(waiter);
        id
    }

    /// Goes before everybody: a call that was sent before and came back.
    pub(super) fn push_returned(&mut self, term: Term, grant: T) -> u64 {
        let waiter = self.waiter(term, grant);
        let id = waiter.id;
        self.returned.push_front(waiter);
        id
    }

    fn waiter(&mut self, term: Term, grant: T) -> Waiter<T> {
        let id = self.next_id;
        self.next_id += 1;
        self.waiting += 1;
        Waiter { id, term, grant }
    }

    /// Takes the call whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        if let Some(waiter) = self.returned.pop_front() {
            self.waiting -= 1;
            return Some(waiter.grant);
        }
        let tenant = self.round.pop_front()?;
        let line = self.line(tenant.as_ref())?;
        let waiter = line.pop_front()?;
        if line.is_empty() {
            self.forget(tenant.as_ref());
        } else {
            self.round.push_back(tenant);
        }
        self.waiting -= 1;
        Some(waiter.grant)
    }

    /// Gives up a place, if it is still there.
    pub(super) fn leave(&mut self, tenant: Option<&Arc<str>>, id: u64) {
        // Ids ascend in a line.
        let found = self.line(tenant).and_then(|line| {
            let place = line.binary_search_by_key(&id, |waiter| waiter.id).ok()?;
            line.remove(place).map(|_| line.is_empty())
        });
        match found {
            Some(emptied) => {
                self.waiting -= 1;
                if emptied {
                    self.round.retain(|other| other.as_ref() != tenant);
                    self.forget(tenant);
                }
            }
            None => {
                if let Some(place) = self.returned.iter().position(|waiter| waiter.id == id) {
                    self.returned.remove(place);
                    self.waiting -= 1;
                }
            }
        }
    }

    /// The length of the longest line among these tenants; calls that came back are in no line.
    pub(super) fn longest(&self, among: &HashSet<Arc<str>>) -> usize {
        among.iter().filter_map(|tenant| self.lines.get(tenant)).map(VecDeque::len).max().unwrap_or(0)
    }

    /// Takes the newest call of the longest line among these tenants.
    pub(super) fn displace(&mut self, among: &HashSet<Arc<str>>) -> Option<T> {
        let longest = among.iter().max_by_key(|tenant| self.lines.get(*tenant).map_or(0, VecDeque::len))?;
        let line = self.lines.get_mut(longest)?;
        let waiter = line.pop_back()?;
        if line.is_empty() {
            self.round.retain(|other| other.as_ref() != Some(longest));
            self.forget(Some(longest));
        }
        self.waiting -= 1;
        Some(waiter.grant)
    }

    /// Takes everybody who cannot have his turn before his deadline if a turn comes every `turn` from `now` on and nobody
    /// else joins. Their turns are those of whoever stands behind them. In no order of tenants.
    pub(super) fn late(&mut self, now: Instant, turn: Duration) -> Vec<T> {
        let mut before = 0;
        let mut is_late = |waiter: &Waiter<T>| {
            let start = now.checked_add(turn.saturating_mul(before));
            let late = start.is_none_or(|start| start > waiter.term.until);
            before += u32::from(!late);
            late
        };
        let mut late: HashSet<u64> =
            self.returned.iter().filter(|waiter| is_late(waiter)).map(|waiter| waiter.id).collect();
        let line = |tenant: &Option<Arc<str>>| match tenant {
            Some(tenant) => self.lines.get(tenant),
            None => Some(&self.common),
        };
        let mut round: VecDeque<_> = self.round.iter().filter_map(line).map(VecDeque::iter).collect();
        while let Some(mut line) = round.pop_front() {
            let had_turn = line.by_ref().any(|waiter| {
                let is_late = is_late(waiter);
                if is_late {
                    late.insert(waiter.id);
                }
                !is_late
            });
            if had_turn {
                round.push_back(line);
            }
        }
        if late.is_empty() { Vec::new() } else { self.remove(&late) }
    }

    fn remove(&mut self, ids: &HashSet<u64>) -> Vec<T> {
        let lines = [&mut self.returned, &mut self.common].into_iter().chain(self.lines.values_mut());
        let mut removed = Vec::with_capacity(ids.len());
        for line in lines {
            let (out, kept): (Line<T>, Line<T>) =
                std::mem::take(line).into_iter().partition(|waiter| ids.contains(&waiter.id));
            *line = kept;
            removed.extend(out.into_iter().map(|waiter| waiter.grant));
        }
        self.lines.retain(|_, line| !line.is_empty());
        let (lines, common) = (&self.lines, &self.common);
        self.round.retain(|tenant| match tenant {
            Some(tenant) => lines.contains_key(tenant),
            None => !common.is_empty(),
        });
        self.waiting -= removed.len();
        removed
    }

    /// Turns until the last call of a tenant's line has been taken, if nobody else comes: its own line, and of each
    /// other line at most as many calls. Of a single line that is its length.
    pub(super) fn turns(&self, tenant: Option<&Arc<str>>) -> usize {
        let own = match tenant {
            Some(tenant) => self.lines.get(tenant).map_or(0, VecDeque::len),
            None => self.common.len(),
        };
        let lines = self.lines.values().map(VecDeque::len).chain([self.common.len()]);
        self.returned.len() + lines.map(|line| line.min(own)).sum::<usize>()
    }

    /// Since when the call waits that waits longest.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let firsts =
            self.lines.values().map(VecDeque::front).chain([self.common.front(), self.returned.back()]);
        firsts.flatten().map(|waiter| waiter.term.since).min()
    }

    /// Takes everybody.
    pub(super) fn drain(&mut self) -> Vec<T> {
        self.waiting = 0;
        self.round.clear();
        let lines = self.lines.drain().flat_map(|(_, line)| line);
        let all = self.returned.drain(..).chain(self.common.drain(..)).chain(lines);
        all.map(|waiter| waiter.grant).collect()
    }

    fn line(&mut self, tenant: Option<&Arc<str>>) -> Option<&mut Line<T>> {
        match tenant {
            Some(tenant) => self.lines.get_mut(tenant),
            None => Some(&mut self.common),
        }
    }

    /// Drops a line that is empty; the common one keeps its memory.
    fn forget(&mut self, tenant: Option<&Arc<str>>) {
        if let Some(tenant) = tenant {
            self.lines.remove(tenant);
        }
    }
}

#[cfg(test)]
mod tests;
