use super::*;
use crate::meter::{
    outcome::Outcome,
    record::{Record, Usage},
};

fn call(minute: u64, tenant: &str) -> Record<'_> {
    let tokens = br#"[{"model":"m","input_tokens":3,"output_tokens":1}]"#;
    let time_us = minute * 60_000_000;
    Record::Call(Usage {
        time_us,
        tenant,
        agent: "a/b",
        version: "1",
        peak_rss_kb: 5,
        tokens,
        ..Usage::NOTHING
    })
}

fn tally(records: &[Record<'_>]) -> Tally {
    let mut tally = Tally::default();
    for record in records {
        tally.add(record, &Outcome::names());
    }
    tally
}

fn rows(ledger: &mut Ledger) -> Vec<(i64, String, i64, i64)> {
    let mut read =
        ledger.connection().prepare("SELECT minute, tenant, requests, input_tokens FROM usage").unwrap();
    let rows = read.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn sums_grow_and_the_position_is_written_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path()).unwrap();
    assert_eq!((ledger.position().unwrap(), ledger.newest().unwrap()), (Position::default(), None));
    assert_eq!(ledger.sealed().unwrap(), Sealed { from: 0, through: None });
    let at = |offset| Position { segment: 1, offset };
    ledger.add(&tally(&[call(5, "t"), call(5, "t"), call(6, "u")]), at(10)).unwrap();
    ledger.add(&tally(&[call(5, "t"), Record::Seal { minute: 5 }]), at(20)).unwrap();
    assert_eq!(rows(&mut ledger), [(5, "t".to_owned(), 3, 9), (6, "u".to_owned(), 1, 3)]);
    assert_eq!(ledger.position().unwrap(), at(20));
    assert_eq!(ledger.sealed().unwrap().through, Some(5));
    assert_eq!(ledger.newest().unwrap(), Some(6));
    let sums =
        "SELECT input_tokens, (SELECT peak_rss_kb FROM usage WHERE minute = 5) FROM tokens WHERE minute = 5";
    let read: (i64, i64) =
        ledger.connection().query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(read, (9, 5));
    ledger.check().unwrap();
}

#[test]
fn a_ledger_keeps_its_name_even_when_it_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path()).unwrap();
    let name = ledger.name().to_owned();
    assert_eq!(name.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    ledger.add(&tally(&[call(5, "t")]), Position { segment: 1, offset: 9 }).unwrap();
    drop(ledger);
    fs::write(folder.path().join(FILE), [7; 4096]).unwrap();
    assert!(matches!(Ledger::open(folder.path()), Err(LedgerError::Damaged(_))));
    let aside = Ledger::set_aside(folder.path()).unwrap();
    assert!(aside.exists());
    let mut ledger = Ledger::open(folder.path()).unwrap();
    assert!(rows(&mut ledger).is_empty());
    assert_eq!(ledger.name(), name);
    assert_eq!(Ledger::read(folder.path()).unwrap().unwrap().name(), name);
}

#[test]
fn a_file_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Ledger::read(folder.path()).unwrap().is_none());
    Ledger::open(folder.path()).unwrap().connection().pragma_update(None, "user_version", 2).unwrap();
    assert!(matches!(Ledger::open(folder.path()), Err(LedgerError::Later(2))));
    assert!(matches!(Ledger::read(folder.path()), Err(LedgerError::Later(2))));
}
