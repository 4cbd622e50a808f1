//! Accounts by tenant: sharded, bounded, and without those whose forgetting changes nothing.
//!
//! Whoever can make up tenants (with identity off: client addresses) must not be able to fill the memory, nor to push
//! others out of the table and so give them, or itself, a fresh account. So what is known stays, and when the table is
//! full of tenants that are not idle, newcomers share one account per shard until there is room.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use parking_lot::Mutex;

/// One lock for each; so many that threads of the edge seldom meet.
const SHARDS: usize = 16;

/// Time between two searches for idle accounts in a full shard, in nanoseconds: each looks at all of them.
const SEARCH: u64 = 1_000_000_000;

#[derive(Debug)]
struct Shard<V> {
    known: HashMap<Arc<str>, Arc<V>>,
    /// The account that newcomers share while there is no room.
    shared: Option<Arc<V>>,
    searched: Option<u64>,
}

/// The accounts.
#[derive(Debug)]
pub(super) struct Table<V> {
    shards: Vec<Mutex<Shard<V>>>,
    hasher: RandomState,
    most: usize,
}

impl<V> Table<V> {
    /// Room for so many accounts, beside those that are `named`.
    pub(super) fn new(most: usize) -> Self {
        let shard = || Mutex::new(Shard { known: HashMap::new(), shared: None, searched: None });
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher: RandomState::new(),
            most: most.div_ceil(SHARDS),
        }
    }

    /// The account of a tenant, made if it is new. `named` ones always find room: there are as many as somebody wrote.
    /// `idle` says which may be forgotten; `at` is the time in nanoseconds.
    pub(super) fn get(
        &self,
        name: &Arc<str>,
        named: bool,
        at: u64,
        idle: impl Fn(&V) -> bool,
        make: impl FnOnce() -> V,
    ) -> Arc<V> {
        let place = self.hasher.hash_one(name) as usize % SHARDS;
        let Some(shard) = self.shards.get(place) else { return Arc::new(make()) };
        let mut shard = shard.lock();
        if let Some(known) = shard.known.get(name) {
            return Arc::clone(known);
        }
        if !named && shard.known.len() >= self.most {
            if shard.searched.is_none_or(|last| at.saturating_sub(last) >= SEARCH) {
                shard.searched = Some(at);
                shard.forget(&idle);
            }
            if shard.known.len() >= self.most {
                return Arc::clone(shard.shared.get_or_insert_with(|| Arc::new(make())));
            }
        }
        let new = Arc::new(make());
        shard.known.insert(Arc::clone(name), Arc::clone(&new));
        new
    }

    /// Forgets what is idle, one shard after the other.
    pub(super) fn sweep(&self, idle: impl Fn(&V) -> bool) {
        for shard in &self.shards {
            shard.lock().forget(&idle);
        }
    }

    /// Shows every account that has a name.
    pub(super) fn each(&self, mut look: impl FnMut(&Arc<str>, &V)) {
        for shard in &self.shards {
            shard.lock().known.iter().for_each(|(name, account)| look(name, account));
        }
    }
}

impl<V> Shard<V> {
    fn forget(&mut self, idle: impl Fn(&V) -> bool) {
        // Whoever holds an account is about to change it: only those that nobody holds can be idle.
        let keeps = |account: &Arc<V>| Arc::strong_count(account) > 1 || !idle(account);
        self.known.retain(|_, account| keeps(account));
        self.shared = self.shared.take().filter(|account| keeps(account));
        if self.known.len() * 4 < self.known.capacity() {
            self.known.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn name(number: usize) -> Arc<str> {
        Arc::from(format!("tenant-{number}"))
    }

    fn known<V>(table: &Table<V>) -> usize {
        let mut count = 0;
        table.each(|_, _| count += 1);
        count
    }

    #[test]
    fn many_tenants_find_no_more_room_than_there_is_and_push_nobody_out() {
        let table = Table::new(160);
        let first = table.get(&name(0), false, 0, |_| false, || 0);
        let mut shared = 0;
        for number in 1..10_000 {
            let account = table.get(&name(number), false, number as u64, |_| false, || number);
            shared += usize::from(Arc::strong_count(&account) == 2 && *account != number);
        }
        assert!(known(&table) <= 160, "{}", known(&table));
        assert!(shared > 9_000, "{shared} newcomers share an account");
        assert!(Arc::ptr_eq(&first, &table.get(&name(0), false, 0, |_| false, || 1)), "known stays known");
        let named = table.get(&name(10_000), true, 0, |_| false, || 10_000);
        assert_eq!((*named, Arc::strong_count(&named)), (10_000, 2), "who is named always finds room");
    }

    #[test]
    fn idle_tenants_make_room_at_once_and_those_in_use_do_not() {
        let table = Table::new(16);
        let busy: Vec<_> =
            (0..1_000).map(|n| table.get(&name(n), false, 0, |_| true, || AtomicBool::new(true))).collect();
        let before = known(&table);
        drop(busy);
        let second = table.get(&name(5_000), false, 2 * SEARCH, |_| true, || AtomicBool::new(false));
        assert!(!second.load(Ordering::Relaxed), "an account of its own");
        assert!(before <= 16 && known(&table) <= before);
        drop(second);
        table.sweep(|_| true);
        assert_eq!(known(&table), 0);
    }
}
