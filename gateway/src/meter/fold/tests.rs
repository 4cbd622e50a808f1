use std::{cell::RefCell, fs, path::Path, rc::Rc};

use proptest::prelude::*;

use super::*;
use crate::meter::record::Usage;

const BYTES: usize = 64 << 10;

/// A process: it ends as `kill -9` ends one, by being dropped.
struct Process {
    journal: Arc<Journal>,
    fold: Fold<Box<dyn Fn(Told)>>,
    told: Rc<RefCell<Vec<String>>>,
}

impl Process {
    fn start(folder: &Path) -> Self {
        let last = segment::numbers(folder).unwrap().last().copied().unwrap_or(0);
        let journal = Arc::new(Journal::open(folder.to_owned(), last, BYTES));
        let told = Rc::new(RefCell::new(Vec::new()));
        let heard = Rc::clone(&told);
        let tell: Box<dyn Fn(Told)> = Box::new(move |told| heard.borrow_mut().push(format!("{told:?}")));
        Self { fold: Fold::new(folder.to_owned(), Arc::clone(&journal), tell), journal, told }
    }

    fn call(&self, id: &str) {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let usage = Usage {
            time_us: u64::try_from(time.as_micros()).unwrap(),
            request_id: id,
            tenant: "t",
            agent: "a/b",
            version: "1",
            ..Usage::NOTHING
        };
        assert!(self.journal.append(&Record::Call(usage)));
    }

    fn requests(&mut self) -> i64 {
        self.fold.round().unwrap();
        let sum = "SELECT COALESCE(SUM(requests), 0) FROM usage";
        self.fold.ledger().unwrap().connection().query_row(sum, [], |row| row.get(0)).unwrap()
    }
}

#[test]
fn records_of_processes_that_were_killed_are_added_once_each() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::start(folder.path());
    for n in 0..3 {
        first.call(&format!("a{n}"));
    }
    drop(first);
    let mut second = Process::start(folder.path());
    // Over several segments.
    for n in 0..2000 {
        second.call(&format!("b{n}"));
    }
    assert_eq!(second.requests(), 2003);
    second.call("c");
    drop(second);
    let mut third = Process::start(folder.path());
    assert_eq!(third.requests(), 2004);
    assert_eq!(third.requests(), 2004);
    assert!(third.told.borrow().is_empty(), "{:?}", third.told);
    assert!(segment::numbers(folder.path()).unwrap().len() > 4);
}

#[test]
fn a_tail_that_is_damaged_is_cut_and_told_and_everything_else_is_added() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::start(folder.path());
    first.call("one");
    first.call("two");
    drop(first);
    let path = segment::path(folder.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let record = 88 + 3 + 1 + 3 + 1;
    bytes[HEAD + record + 20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let mut second = Process::start(folder.path());
    second.call("three");
    assert_eq!(second.requests(), 2);
    assert!(second.told.borrow()[0].contains("Lost { segment: 1"), "{:?}", second.told);
    assert_eq!(fs::metadata(&path).unwrap().len(), (HEAD + record) as u64);
    // Told once.
    assert_eq!((second.requests(), second.told.borrow().len()), (2, 1));
}

#[test]
fn segments_that_are_gone_or_garbled_are_told_and_stepped_over() {
    let folder = tempfile::tempdir().unwrap();
    for id in ["one", "two", "three"] {
        Process::start(folder.path()).call(id);
    }
    let numbers = segment::numbers(folder.path()).unwrap();
    fs::write(segment::path(folder.path(), numbers[0]), "no segment").unwrap();
    let mut process = Process::start(folder.path());
    assert_eq!(process.requests(), 2);
    assert!(process.told.borrow()[0].contains("Unreadable"), "{:?}", process.told);
}

#[test]
fn a_damaged_ledger_is_set_aside_and_built_again_with_the_same_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    process.call("one");
    process.requests();
    // As the minute's end would.
    let minute = process.fold.newest.unwrap();
    process.journal.append(&Record::Seal { minute });
    process.call("late");
    assert_eq!(process.requests(), 2);
    let rows = |process: &mut Process| -> Vec<(i64, i64)> {
        let connection = process.fold.ledger().unwrap().connection();
        let mut read = connection.prepare("SELECT minute, requests FROM usage ORDER BY minute").unwrap();
        let rows = read.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let before = rows(&mut process);
    assert_eq!(before, [(minute, 1), (minute + 1, 1)]);
    let name = process.fold.ledger().unwrap().name().to_owned();
    drop(process);
    fs::write(folder.path().join("ledger.db"), vec![1; 8192]).unwrap();
    let mut process = Process::start(folder.path());
    assert_eq!(process.requests(), 2);
    assert_eq!(rows(&mut process), before);
    let ledger = process.fold.ledger().unwrap();
    assert_eq!((ledger.name(), ledger.sealed().unwrap().from), (name.as_str(), 0));
    assert!(process.told.borrow()[0].contains("Rebuilt"), "{:?}", process.told);
}

#[test]
fn a_ledger_that_is_built_again_says_from_which_minute_on_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::start(folder.path());
    first.call("one");
    drop(first);
    let second = Process::start(folder.path());
    second.journal.append(&Record::Seal { minute: 40_000_000 });
    drop(second);
    fs::remove_file(segment::path(folder.path(), 1)).unwrap();
    fs::write(folder.path().join("ledger.db"), vec![1; 8192]).unwrap();
    let mut third = Process::start(folder.path());
    third.requests();
    assert_eq!(third.fold.ledger().unwrap().sealed().unwrap().from, 40_000_001);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Appends, folds and ends in any order: the ledger has each call once.
    #[test]
    fn whenever_a_process_ends_each_record_is_added_once(steps in proptest::collection::vec(0_u8..5, 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(folder.path());
        let mut calls = 0;
        for step in steps {
            match step {
                0 => process.fold.round().unwrap(),
                1 => process = Process::start(folder.path()),
                2 => {
                    // Ended between the sums and everything behind them.
                    let (tally, position) = process.fold.gather().unwrap();
                    if let Some(ledger) = process.fold.ledger() && !tally.is_empty() {
                        ledger.add(&tally, position).unwrap();
                    }
                    process = Process::start(folder.path());
                }
                _ => {
                    process.call(&format!("r{calls}"));
                    calls += 1;
                }
            }
        }
        prop_assert_eq!(process.requests(), calls);
    }
}
