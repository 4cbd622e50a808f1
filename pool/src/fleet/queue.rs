//! Calls that wait for a slot of one lane: a line per tenant, served in turns. Pure: the slots act on it.
//!
//! Whoever's turn it is gives one call and goes to the end of the round, so a tenant waits for at most one call of
//! each other tenant, however long their lines are, and within a line the first come is the first served. Calls
//! without a tenant share one line; alone it is a plain queue, and nothing else is touched.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};

#[derive(Debug)]
struct Waiter<T> {
    id: u64,
    since: Instant,
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
    pub(super) fn push(&mut self, tenant: Option<&Arc<str>>, since: Instant, grant: T) -> u64 {
        let waiter = self.waiter(since, grant);
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
    pub(super) fn push_returned(&mut self, since: Instant, grant: T) -> u64 {
        let waiter = self.waiter(since, grant);
        let id = waiter.id;
        self.returned.push_front(waiter);
        id
    }

    fn waiter(&mut self, since: Instant, grant: T) -> Waiter<T> {
        let id = self.next_id;
        self.next_id += 1;
        self.waiting += 1;
        Waiter { id, since, grant }
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
        firsts.flatten().map(|waiter| waiter.since).min()
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Calls are told apart by whose they are and a number.
    type Calls = Queue<(char, usize)>;

    fn tenant(name: char) -> Option<Arc<str>> {
        (name != '-').then(|| Arc::from(name.to_string()))
    }

    fn push(queue: &mut Calls, name: char, number: usize) -> u64 {
        queue.push(tenant(name).as_ref(), Instant::now(), (name, number))
    }

    fn among(names: &str) -> HashSet<Arc<str>> {
        names.chars().filter_map(tenant).collect()
    }

    fn order(queue: &mut Calls) -> String {
        let mut told = String::new();
        while let Some((name, number)) = queue.pop() {
            told.push(name);
            told += &number.to_string();
            told.push(' ');
        }
        told
    }

    #[test]
    fn a_newcomer_is_served_after_one_call_of_a_tenant_with_a_long_line() {
        let mut queue = Calls::new();
        for number in 0..100 {
            push(&mut queue, 'a', number);
        }
        push(&mut queue, 'b', 0);
        assert_eq!(queue.turns(tenant('b').as_ref()), 2);
        assert_eq!(
            [queue.pop(), queue.pop(), queue.pop()].map(Option::unwrap),
            [('a', 0), ('b', 0), ('a', 1)]
        );
    }

    #[test]
    fn turns_go_round_and_lines_stay_in_order() {
        let mut queue = Calls::new();
        for (name, number) in [('a', 0), ('a', 1), ('a', 2), ('b', 0), ('-', 0), ('b', 1)] {
            push(&mut queue, name, number);
        }
        queue.push_returned(Instant::now(), ('z', 9));
        assert_eq!((queue.turns(tenant('a').as_ref()), queue.turns(None)), (1 + 3 + 2 + 1, 1 + 3));
        assert_eq!(order(&mut queue), "z9 a0 b0 -0 a1 b1 a2 ");
        assert!(queue.is_empty() && queue.lines.is_empty() && queue.round.is_empty());
    }

    #[test]
    fn whoever_leaves_takes_nobody_elses_turn() {
        let mut queue = Calls::new();
        let first = push(&mut queue, 'a', 0);
        push(&mut queue, 'b', 0);
        let returned = queue.push_returned(Instant::now(), ('z', 0));
        queue.leave(tenant('a').as_ref(), returned);
        queue.leave(tenant('a').as_ref(), first);
        queue.leave(tenant('a').as_ref(), first);
        assert_eq!((queue.len(), order(&mut queue).as_str()), (1, "b0 "));
    }

    #[test]
    fn the_newest_call_of_the_longest_line_makes_room() {
        let mut queue = Calls::new();
        for (name, number) in [('a', 0), ('b', 0), ('b', 1), ('c', 0), ('c', 1), ('c', 2)] {
            push(&mut queue, name, number);
        }
        assert_eq!((queue.longest(&among("ab")), queue.longest(&among("xy"))), (2, 0));
        assert_eq!(queue.displace(&among("ab")), Some(('b', 1)));
        assert_eq!(queue.displace(&among("x")), None);
        assert_eq!(queue.displace(&among("a")), Some(('a', 0)));
        assert_eq!((queue.len(), order(&mut queue).as_str()), (4, "b0 c0 c1 c2 "));
    }

    #[test]
    fn the_oldest_call_is_found_in_every_line() {
        let mut queue = Calls::new();
        assert_eq!(queue.oldest(), None);
        let begin = Instant::now();
        let later = |ms| begin + std::time::Duration::from_millis(ms);
        queue.push(tenant('a').as_ref(), later(3), ('a', 0));
        queue.push(tenant('b').as_ref(), later(2), ('b', 0));
        assert_eq!(queue.oldest(), Some(later(2)));
        queue.push_returned(later(1), ('z', 0));
        queue.push_returned(later(4), ('z', 1));
        assert_eq!(queue.oldest(), Some(later(1)));
        assert_eq!(queue.drain().len(), 4);
        assert_eq!((queue.oldest(), queue.pop()), (None, None));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(char),
        Pop,
        Leave(usize),
        Displace(char),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let name = prop::sample::select(vec!['a', 'b', 'c', '-']);
        let step = prop_oneof![
            4 => name.clone().prop_map(Step::Push),
            3 => Just(Step::Pop),
            1 => any::<usize>().prop_map(Step::Leave),
            1 => name.prop_map(Step::Displace),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Against a plain list of all calls: nobody is lost, lines keep their order, and while a tenant waits, each
        /// other is served at most once before it.
        #[test]
        fn no_backlog_takes_more_than_its_turn(steps in steps()) {
            let mut queue = Calls::new();
            let mut model: Vec<(char, usize, u64)> = Vec::new();
            let mut served: HashMap<char, Vec<char>> = HashMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(name) => {
                        let id = push(&mut queue, name, number);
                        if model.iter().all(|call| call.0 != name) {
                            served.insert(name, Vec::new());
                        }
                        model.push((name, number, id));
                    }
                    Step::Pop => {
                        let popped = queue.pop();
                        prop_assert_eq!(popped.is_none(), model.is_empty());
                        let Some((name, number)) = popped else { continue };
                        let place = model.iter().position(|call| call.0 == name).unwrap();
                        prop_assert_eq!(model.remove(place).1, number);
                        for (other, seen) in &mut served {
                            if *other == name {
                                seen.clear();
                            } else if model.iter().any(|call| call.0 == *other) {
                                prop_assert!(!seen.contains(&name), "{} had two turns before {}", name, other);
                                seen.push(name);
                            }
                        }
                    }
                    Step::Leave(place) => {
                        let Some(place) = place.checked_rem(model.len()) else { continue };
                        let (name, _, id) = model.remove(place);
                        queue.leave(tenant(name).as_ref(), id);
                        // A line that begins anew has no turn before others'.
                        for seen in served.values_mut() {
                            seen.retain(|other| *other != name);
                        }
                        served.insert(name, Vec::new());
                    }
                    Step::Displace(name) => {
                        let place = model.iter().rposition(|call| call.0 == name && name != '-');
                        let displaced = queue.displace(&tenant(name).into_iter().collect());
                        prop_assert_eq!(displaced.map(|call| call.1), place.map(|place| model.remove(place).1));
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                let lines: HashSet<char> = model.iter().map(|call| call.0).collect();
                prop_assert_eq!(queue.round.len(), lines.len());
            }
        }
    }
}
