use proptest::prelude::*;

use super::*;
use crate::session::ending::Loss;

const LIMITS: Limits = Limits { idle_ttl: Duration::from_secs(10), max_ttl: Duration::from_secs(100) };
const CAPS: Caps = Caps { per_package: 100, per_tenant: 100 };

fn claim(id: &str, who: &str) -> Claim {
    let owner = Owner::Caller { tenant: Arc::from("acme"), subject: Arc::from(who) };
    Claim { id: id.parse().unwrap(), owner, tenant: Arc::from("acme") }
}

/// A table with a clock and numbers of its own.
struct Story {
    table: Table<()>,
    now: Instant,
    next: u64,
    caps: Caps,
}

impl Story {
    fn new() -> Self {
        Self { table: Table::default(), now: Instant::now(), next: 0, caps: CAPS }
    }

    fn enter(&mut self, claim: &Claim) -> Result<u64, String> {
        let next = &mut self.next;
        let begin = || {
            *next += 1;
            (*next, Arc::new(()))
        };
        match self.table.enter(claim, LIMITS, self.caps, self.now, begin) {
            Ok((number, _)) => Ok(number),
            Err(Barred::Stranger) => Err("stranger".to_owned()),
            Err(Barred::Ended(ending, _)) => Err(ending.text().to_owned()),
            Err(Barred::Full(full, _)) => Err(format!("{full:?}")),
        }
    }

    /// One call that works.
    fn call(&mut self, claim: &Claim) -> Result<u64, String> {
        let number = self.enter(claim)?;
        assert!(self.table.keep(&claim.id, number));
        self.table.leave(&claim.id, number, true, self.now);
        Ok(number)
    }

    fn after(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self
    }
}

#[test]
fn a_session_belongs_to_who_opened_it_and_so_does_its_end() {
    let mut story = Story::new();
    let (mine, yours) = (claim("s", "me"), claim("s", "you"));
    let number = story.call(&mine).unwrap();
    assert_eq!(story.call(&yours), Err("stranger".to_owned()));
    assert_eq!(story.call(&mine), Ok(number));
    assert!(story.table.end(&mine.id, number, Ending::Lost(Loss::Crash), story.now).is_some());
    assert_eq!(story.call(&yours), Err("stranger".to_owned()), "the id is not free before its owner knows");
    assert_eq!(story.call(&mine), Err("crash".to_owned()));
    assert_eq!(story.call(&yours), Ok(number + 1), "told once, then free");
}

#[test]
fn work_keeps_a_session_and_what_only_waited_does_not() {
    let mut story = Story::new();
    let mine = claim("s", "me");
    let number = story.call(&mine).unwrap();
    story.after(9).call(&mine).unwrap();
    story.after(9);
    let same = story.enter(&mine).unwrap();
    story.table.leave(&mine.id, same, false, story.now);
    assert_eq!(story.after(1).call(&mine), Err("idle".to_owned()));
    assert_eq!(story.call(&mine), Ok(number + 1));
}

#[test]
fn a_call_that_runs_is_finished_by_an_aged_session_and_the_next_is_told() {
    let mut story = Story::new();
    let mine = claim("s", "me");
    let number = story.enter(&mine).unwrap();
    story.table.keep(&mine.id, number);
    assert_eq!(story.after(200).enter(&mine), Err("max_ttl".to_owned()));
    assert!(story.table.sweep(story.now).is_empty(), "a call runs in it");
    let over = story.table.leave(&mine.id, number, true, story.now);
    assert!(over.is_some(), "nobody is in it any more");
    assert_eq!(story.call(&mine), Ok(number + 1), "the end was told while the call ran");
}

#[test]
fn a_session_in_which_nothing_began_leaves_no_trace() {
    let mut story = Story::new();
    let mine = claim("s", "me");
    let number = story.enter(&mine).unwrap();
    assert_eq!(story.table.live(), 1);
    story.table.leave(&mine.id, number, false, story.now);
    assert!(story.table.is_empty());
    assert_eq!(story.call(&claim("s", "you")), Ok(number + 1));
}

#[test]
fn caps_hold_and_an_end_makes_room() {
    let mut story = Story::new();
    story.caps = Caps { per_package: 3, per_tenant: 2 };
    let of = |id: &str, tenant: &str| Claim { tenant: Arc::from(tenant), ..claim(id, tenant) };
    let first = story.call(&of("a", "x")).unwrap();
    story.call(&of("b", "x")).unwrap();
    assert_eq!(story.call(&of("c", "x")), Err("Tenant".to_owned()));
    story.call(&of("c", "y")).unwrap();
    assert_eq!(story.call(&of("d", "y")), Err("Package".to_owned()));
    story.table.end(&"a".parse().unwrap(), first, Ending::Lost(Loss::Evicted), story.now);
    story.call(&of("d", "y")).unwrap();
}

#[test]
fn ends_that_nobody_asks_for_are_forgotten_in_time_and_in_number() {
    let mut story = Story::new();
    for n in 0..UNTOLD + 5 {
        let id: SessionId = format!("s-{n}").parse().unwrap();
        story.table.remember(id, 0, Owner::Anybody, Ending::Idle, story.now);
    }
    assert_eq!(story.table.ends().count(), UNTOLD);
    story.now += REMEMBERED;
    assert!(story.table.sweep(story.now).is_empty());
    assert!(story.table.is_empty());
}

proptest! {
    /// Whatever happens in whatever order: counts are right, an end is told exactly once, and nobody finds a fresh
    /// session where theirs ended untold.
    #[test]
    fn ends_are_told_exactly_once(steps in prop::collection::vec((0u8..6, 0usize..3, 0u64..8), 1..80)) {
        let mut story = Story::new();
        let claims = ["a", "b", "c"].map(|id| claim(id, "me"));
        // What the client of each id believes: the number of its session.
        let mut believed: [Option<u64>; 3] = [None; 3];
        for (what, at, seconds) in steps {
            let mine = &claims[at];
            match what {
                0..=2 => match story.call(mine) {
                    Ok(number) => {
                        prop_assert!(believed[at].is_none_or(|known| known == number), "a silent fresh session");
                        believed[at] = Some(number);
                    }
                    Err(_) => {
                        prop_assert!(believed[at].is_some(), "an end was told twice");
                        believed[at] = None;
                    }
                },
                3 => {
                    if let Some(number) = believed[at] {
                        story.table.end(&mine.id, number, Ending::Lost(Loss::Crash), story.now);
                    }
                }
                4 => {
                    story.after(seconds);
                    let now = story.now;
                    drop(story.table.sweep(now));
                }
                _ => {
                    story.after(seconds);
                }
            }
            prop_assert_eq!(story.table.live(), story.table.lives().count());
            prop_assert_eq!(story.table.tenants.values().sum::<usize>(), story.table.live());
        }
    }
}
