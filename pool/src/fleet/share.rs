//! How the calls that this process may hold are shared between tenants: `MAX_CONCURRENT_INVOCATIONS` must not become
//! the property of whoever came first.
//!
//! Alone, a tenant may have all of it. When more than half is taken, each may hold at most its share: the limit over
//! the number of tenants that hold any. Who comes when everything is taken and is under its share gets the place of a
//! call that still waits: the newest one of the longest line among tenants that are over theirs. Calls that run are
//! never taken back; if nothing waits, the newcomer is refused, and those over their share get nothing new until they
//! are under it again.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use super::pool::Pool;

/// What is held when a call comes, without that call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    /// By everybody.
    total: usize,
    /// By the tenant of the call.
    own: usize,
    /// Tenants that hold any, the one of the call included.
    tenants: usize,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is a place.
    Enter,
    /// It gets the place of a call that waits, if one of a tenant over its share does.
    Displace,
    /// There is none.
    Refuse,
}

/// Most calls of one tenant when more than half of the limit is taken.
fn share(limit: usize, tenants: usize) -> usize {
    (limit / tenants.max(1)).max(1)
}

fn decide(limit: usize, held: Held) -> Verdict {
    if held.total < limit && held.total <= limit / 2 {
        Verdict::Enter
    } else if held.own >= share(limit, held.tenants) {
        Verdict::Refuse
    } else if held.total < limit {
        Verdict::Enter
    } else {
        Verdict::Displace
    }
}

/// What everybody holds.
#[derive(Debug)]
pub(super) struct Shares {
    limit: usize,
    total: AtomicUsize,
    /// Calls by tenant; nobody with none.
    held: Mutex<HashMap<Arc<str>, usize>>,
}

/// A call that is held; a dropped future gives it back.
#[derive(Debug)]
pub(super) struct Flight<'a> {
    shares: &'a Shares,
    tenant: Option<Arc<str>>,
    armed: bool,
}

impl Flight<'_> {
    /// Leaves it to somebody else to count the call out, with [`Shares::leave`].
    pub(super) fn stay(mut self) {
        self.armed = false;
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.shares.leave(self.tenant.as_ref());
        }
    }
}

impl Shares {
    /// Nothing is held.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, total: AtomicUsize::new(0), held: Mutex::default() }
    }

    /// Calls that run or wait.
    pub(super) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Counts a call in, and says what becomes of it. Calls without a tenant have no share: what is free is theirs.
    pub(super) fn enter(&self, tenant: Option<&Arc<str>>) -> (Verdict, Flight<'_>) {
        let total = self.total.fetch_add(1, Ordering::Relaxed);
        let flight = Flight { shares: self, tenant: tenant.cloned(), armed: true };
        let Some(tenant) = tenant else {
            return (if total < self.limit { Verdict::Enter } else { Verdict::Refuse }, flight);
        };
        let mut held = self.held.lock();
        let now = held.entry(Arc::clone(tenant)).or_insert(0);
        let own = *now;
        *now += 1;
        (decide(self.limit, Held { total, own, tenants: held.len() }), flight)
    }

    /// Counts a call out.
    pub(super) fn leave(&self, tenant: Option<&Arc<str>>) {
        self.total.fetch_sub(1, Ordering::Relaxed);
        let Some(tenant) = tenant else { return };
        let mut held = self.held.lock();
        if let Some(own) = held.get_mut(tenant) {
            *own -= 1;
            if *own == 0 {
                held.remove(tenant);
            }
        }
    }

    /// Tenants that hold more than their share.
    fn over(&self) -> HashSet<Arc<str>> {
        let held = self.held.lock();
        let share = share(self.limit, held.len());
        held.iter().filter(|(_, own)| **own > share).map(|(tenant, _)| Arc::clone(tenant)).collect()
    }
}

impl Pool {
    /// Makes room for a call under its share. False: nothing waits that could make it.
    pub(super) fn displace(&self) -> bool {
        let over = self.shares.over();
        if over.is_empty() {
            return false;
        }
        let directory = self.directory();
        let slots = directory.standing().iter().map(|seated| &seated.mount.generation.slots);
        let longest = slots.max_by_key(|slots| slots.longest_line(&over));
        longest.is_some_and(|slots| slots.displace(&over))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    #[test]
    fn the_limit_is_shared_as_soon_as_others_come() {
        for (limit, total, own, tenants, wanted) in [
            // Alone: all of it, and no more.
            (4, 0, 0, 1, Verdict::Enter),
            (4, 3, 3, 1, Verdict::Enter),
            (4, 4, 4, 1, Verdict::Refuse),
            // Up to half of it nobody counts.
            (500, 250, 250, 2, Verdict::Enter),
            (500, 251, 250, 2, Verdict::Refuse),
            (500, 251, 249, 2, Verdict::Enter),
            // Somebody who has all of it makes room for newcomers, and gets nothing new.
            (500, 500, 0, 2, Verdict::Displace),
            (500, 500, 249, 2, Verdict::Displace),
            (500, 500, 250, 2, Verdict::Refuse),
            (500, 499, 490, 2, Verdict::Refuse),
            // More tenants than places: one each, while there are any.
            (4, 3, 0, 9, Verdict::Enter),
            (4, 4, 0, 9, Verdict::Displace),
            (4, 4, 1, 9, Verdict::Refuse),
            (1, 1, 0, 2, Verdict::Displace),
        ] {
            assert_eq!(
                decide(limit, Held { total, own, tenants }),
                wanted,
                "{limit} {total} {own} {tenants}"
            );
        }
    }

    #[test]
    fn a_dropped_call_is_counted_out_and_a_tenant_without_calls_is_forgotten() {
        let shares = Shares::new(4);
        let (a, b) = (tenant("a"), tenant("b"));
        let flights: Vec<_> = (0..4).map(|_| shares.enter(Some(&a))).collect();
        assert!(flights.iter().all(|(verdict, _)| *verdict == Verdict::Enter));
        assert_eq!(shares.enter(Some(&a)).0, Verdict::Refuse);
        assert_eq!(shares.enter(None).0, Verdict::Refuse);
        let newcomer = shares.enter(Some(&b));
        assert_eq!(newcomer.0, Verdict::Displace);
        assert_eq!(shares.over(), [a.clone()].into());
        drop((flights, newcomer));
        assert_eq!((shares.total(), shares.held.lock().len()), (0, 0));
    }

    proptest! {
        /// Whatever was entered before, a tenant under its share finds a place or somebody over his.
        #[test]
        fn nobody_under_its_share_is_refused(
            limit in 1usize..20,
            arrivals in prop::collection::vec(0usize..6, 0..60),
        ) {
            let shares = Shares::new(limit);
            let mut inside = Vec::new();
            for arrival in arrivals {
                let (verdict, flight) = shares.enter(Some(&tenant(&arrival.to_string())));
                match verdict {
                    Verdict::Enter => inside.push(flight),
                    Verdict::Displace => {
                        let tenants = shares.held.lock().len();
                        prop_assert!(!shares.over().is_empty() || tenants > limit);
                    }
                    Verdict::Refuse => {
                        let held = shares.held.lock();
                        let own = held[&tenant(&arrival.to_string())] - 1;
                        prop_assert!(own >= share(limit, held.len()));
                    }
                }
                prop_assert!(inside.len() <= limit);
            }
        }
    }
}
