use super::*;
use crate::meter::{
    journal::Journal,
    outcome::Outcome,
    record::{Record, Usage},
};

const DAY_0: u64 = 20_000 * 1440;

fn call(minute: u64, tenant: &str, code: Option<par_proto::code::Code>) -> Record<'_> {
    Record::Call(Usage {
        time_us: minute * 60_000_000,
        tenant,
        agent: "a/b",
        version: "1",
        outcome: Outcome::of(code),
        worker_us: 10,
        ..Usage::NOTHING
    })
}

fn by(dimensions: &[Dimension]) -> Question {
    Question { by: dimensions.to_vec(), ..Question::default() }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.into())
}

fn counts(rows: &Rows) -> Vec<(Vec<Cell>, i64, i64)> {
    rows.iter().map(|(cells, row)| (cells.clone(), row.sums.requests, row.errors)).collect()
}

#[test]
fn what_was_added_and_what_was_not_yet_are_one_answer() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let journal = Journal::open(folder.to_owned(), 0, 256 << 10);
    let failed = Some(par_proto::code::Code::AgentError);
    let records = [call(DAY_0, "t", None), call(DAY_0 + 1440, "t", failed), call(DAY_0 + 61, "u", None)];
    // Only some of them are in the ledger.
    let mut added = Tally::default();
    for (at, record) in records.iter().enumerate() {
        assert!(journal.append(record));
        let offset = segment::read(folder, 1, HEAD).map(|(bytes, _)| {
            Scan::new(&bytes, 0)
                .filter_map(|found| match found {
                    Found::Record { end, .. } => Some(end),
                    Found::Gap { .. } => None,
                })
                .last()
                .unwrap()
        });
        if at == 1 {
            added.add(&records[0], &Outcome::names());
            added.add(&records[1], &Outcome::names());
            let offset = (HEAD + offset.unwrap()) as u64;
            Ledger::open(folder).unwrap().add(&added, Position { segment: 1, offset }).unwrap();
        }
    }
    let all = answer(folder, &by(&[])).unwrap();
    assert_eq!(counts(&all), [(vec![], 3, 1)]);
    let by_tenant = answer(folder, &by(&[Dimension::Tenant])).unwrap();
    assert_eq!(counts(&by_tenant), [(vec![text("t")], 2, 1), (vec![text("u")], 1, 0)]);
    let by_day = answer(folder, &by(&[Dimension::Day])).unwrap();
    assert_eq!(counts(&by_day), [(vec![Cell::Number(20_000)], 2, 0), (vec![Cell::Number(20_001)], 1, 1)]);
    assert_eq!(Dimension::Day.minute(20_000), 20_000 * 1440);
    let hours = answer(folder, &by(&[Dimension::Hour, Dimension::Agent])).unwrap();
    assert_eq!(hours.len(), 3);
    let outcomes = answer(folder, &by(&[Dimension::Outcome])).unwrap();
    assert_eq!(counts(&outcomes), [(vec![text("agent_error")], 1, 1), (vec![text("ok")], 2, 0)]);
    let minute = i64::try_from(DAY_0).unwrap();
    let only = Question { since: Some(minute + 1), until: Some(minute + 1440), ..by(&[Dimension::Tenant]) };
    assert_eq!(counts(&answer(folder, &only).unwrap()), [(vec![text("u")], 1, 0)]);
    let own = Question { tenant: Some("t".to_owned()), ..by(&[Dimension::Tenant]) };
    assert_eq!(counts(&answer(folder, &own).unwrap()), [(vec![text("t")], 2, 1)]);
}

#[test]
fn nothing_was_used_where_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    assert!(answer(folder.path(), &by(&[])).unwrap().is_empty());
    Ledger::open(folder.path()).unwrap();
    assert!(answer(folder.path(), &by(&[])).unwrap().is_empty());
}

#[test]
fn ten_thousand_tenants_are_added_and_answered() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path()).unwrap();
    let tenants: Vec<String> = (0..10_000).map(|n| format!("tenant-{n:05}")).collect();
    for minute in 0..2 {
        let mut tally = Tally::default();
        for tenant in &tenants {
            tally.add(&call(DAY_0 + minute, tenant, None), &Outcome::names());
        }
        ledger.add(&tally, Position { segment: 1, offset: 4096 + minute }).unwrap();
    }
    let rows = answer(folder.path(), &by(&[Dimension::Tenant])).unwrap();
    assert_eq!(rows.len(), 10_000);
    assert!(rows.values().all(|row| row.sums.requests == 2));
}
