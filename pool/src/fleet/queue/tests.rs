use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Calls are told apart by whose they are and a number.
type Calls = Queue<(char, usize)>;

fn tenant(name: char) -> Option<Arc<str>> {
    (name != '-').then(|| Arc::from(name.to_string()))
}

/// Waits from now on, and long.
fn term() -> Term {
    from(Instant::now())
}

fn from(since: Instant) -> Term {
    Term { since, until: since + Duration::from_secs(3600) }
}

fn push(queue: &mut Calls, name: char, number: usize) -> u64 {
    queue.push(tenant(name).as_ref(), term(), (name, number))
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
    assert_eq!([queue.pop(), queue.pop(), queue.pop()].map(Option::unwrap), [('a', 0), ('b', 0), ('a', 1)]);
}

#[test]
fn turns_go_round_and_lines_stay_in_order() {
    let mut queue = Calls::new();
    for (name, number) in [('a', 0), ('a', 1), ('a', 2), ('b', 0), ('-', 0), ('b', 1)] {
        push(&mut queue, name, number);
    }
    queue.push_returned(term(), ('z', 9));
    assert_eq!((queue.turns(tenant('a').as_ref()), queue.turns(None)), (1 + 3 + 2 + 1, 1 + 3));
    assert_eq!(order(&mut queue), "z9 a0 b0 -0 a1 b1 a2 ");
    assert!(queue.is_empty() && queue.lines.is_empty() && queue.round.is_empty());
}

#[test]
fn whoever_leaves_takes_nobody_elses_turn() {
    let mut queue = Calls::new();
    let first = push(&mut queue, 'a', 0);
    push(&mut queue, 'b', 0);
    let returned = queue.push_returned(term(), ('z', 0));
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
    let later = |ms| begin + Duration::from_millis(ms);
    queue.push(tenant('a').as_ref(), from(later(3)), ('a', 0));
    queue.push(tenant('b').as_ref(), from(later(2)), ('b', 0));
    assert_eq!(queue.oldest(), Some(later(2)));
    queue.push_returned(from(later(1)), ('z', 0));
    queue.push_returned(from(later(4)), ('z', 1));
    assert_eq!(queue.oldest(), Some(later(1)));
    assert_eq!(queue.drain().len(), 4);
    assert_eq!((queue.oldest(), queue.pop()), (None, None));
}

#[test]
fn who_cannot_have_his_turn_in_time_gives_it_to_those_behind() {
    let mut queue = Calls::new();
    let now = Instant::now();
    let waits = |name, number, ms| {
        let term = Term { since: now, until: now + Duration::from_millis(ms) };
        (tenant(name), term, (name, number))
    };
    // Turns come at 0, 10, 20 …: z9 a0 b0 a1 a2 a3. What a1 and a2 give up is what lets a3 start.
    for (tenant, term, call) in
        [waits('a', 0, 10), waits('a', 1, 29), waits('a', 2, 5), waits('a', 3, 30), waits('b', 0, 20)]
    {
        queue.push(tenant.as_ref(), term, call);
    }
    let (_, term, call) = waits('z', 9, 0);
    queue.push_returned(term, call);
    assert_eq!(queue.late(now, Duration::ZERO), []);
    assert_eq!(queue.late(now, Duration::from_millis(10)), [('a', 1), ('a', 2)]);
    assert_eq!((queue.len(), queue.turns(tenant('a').as_ref())), (4, 1 + 2 + 1));
    let late: BTreeSet<_> = queue.late(now, Duration::from_millis(11)).into_iter().collect();
    assert_eq!(late, BTreeSet::from([('a', 0), ('b', 0)]), "lines of tenants stand in no order");
    assert_eq!(order(&mut queue), "z9 a3 ");
    push(&mut queue, '-', 0);
    assert_eq!(queue.late(now, Duration::MAX), [], "the first one's turn is now");
    assert_eq!(queue.late(now + Duration::from_secs(7200), Duration::ZERO), [('-', 0)]);
    assert!(queue.is_empty() && queue.lines.is_empty() && queue.round.is_empty());
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
