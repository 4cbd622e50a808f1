//! How long what was recorded is kept: segments as the journal of single calls, minutes, and sums of days.

use std::{
    fs, io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use super::{
    fold::{Fold, Told},
    ledger::{Ledger, LedgerError},
    segment,
};
use crate::config::Metering;

/// Minutes of a day.
const DAY: i64 = 1440;

/// What is kept how long.
#[derive(Debug, Clone)]
pub(super) struct Retention {
    folder: PathBuf,
    journal_time: Duration,
    journal_bytes: u64,
    minutes: i64,
    days: i64,
    /// The day until which rows were swept.
    swept: Option<i64>,
}

/// A segment whose records are all in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    number: u64,
    bytes: u64,
    age: Duration,
}

fn minutes(time: Duration) -> i64 {
    i64::try_from(time.as_secs() / 60).unwrap_or(i64::MAX)
}

impl Retention {
    /// As it is configured.
    pub(super) fn new(folder: PathBuf, settings: &Metering) -> Self {
        Self {
            folder,
            journal_time: settings.journal_time,
            journal_bytes: settings.journal_bytes,
            minutes: minutes(settings.minutes_kept),
            days: minutes(settings.ledger_kept),
            swept: None,
        }
    }

    /// Lets go what is kept no longer. Time is what the last minute that is over says: a clock that slips does not get
    /// to delete anything.
    pub(super) fn sweep<T: Fn(Told)>(&mut self, fold: &mut Fold<T>) -> Result<(), LedgerError> {
        let added = fold.position().segment;
        let sealed = fold.sealed();
        let now = sealed.map(|minute| {
            let since = Duration::from_secs(u64::try_from(minute).unwrap_or_default() * 60);
            (SystemTime::UNIX_EPOCH + since).min(SystemTime::now())
        });
        self.files(added, now).map_err(|source| LedgerError::Io("segments", source))?;
        if let (Some(sealed), Some(ledger)) = (sealed, fold.ledger()) {
            let today = sealed / DAY;
            if self.swept != Some(today) {
                rows(ledger, sealed - self.minutes, sealed - self.days)?;
                self.swept = Some(today);
            }
        }
        Ok(())
    }

    fn files(&self, added: u64, now: Option<SystemTime>) -> io::Result<()> {
        let mut kept = Vec::new();
        for number in segment::numbers(&self.folder)?.into_iter().filter(|number| *number < added) {
            let facts = fs::metadata(segment::path(&self.folder, number))?;
            let age = now.and_then(|now| now.duration_since(facts.modified().ok()?).ok()).unwrap_or_default();
            kept.push(Kept { number, bytes: facts.len(), age });
        }
        for number in surplus(&kept, self.journal_time, self.journal_bytes) {
            fs::remove_file(segment::path(&self.folder, number))?;
        }
        Ok(())
    }
}

/// Which of them go, oldest first: what is too old, and what there is no room for.
fn surplus(kept: &[Kept], longest: Duration, most: u64) -> Vec<u64> {
    let mut bytes: u64 = kept.iter().map(|segment| segment.bytes).sum();
    let mut surplus = Vec::new();
    for segment in kept {
        if segment.age <= longest && bytes <= most {
            break;
        }
        bytes -= segment.bytes;
        surplus.push(segment.number);
    }
    surplus
}

/// Sums up the days that lie before a minute, and forgets what lies before another. Days are kept at their first minute.
fn rows(ledger: &mut Ledger, minutes: i64, days: i64) -> Result<(), LedgerError> {
    let whole = minutes.max(0) / DAY * DAY;
    let transaction = ledger.connection().transaction()?;
    for (table, last, sums, biggest) in [
        (
            "usage",
            "outcome",
            &[
                "requests",
                "input_tokens",
                "output_tokens",
                "duration_us",
                "worker_us",
                "queue_us",
                "cpu_us",
                "bytes_in",
                "bytes_out",
            ][..],
            Some("peak_rss_kb"),
        ),
        (
            "tokens",
            "model",
            &[
                "input_tokens",
                "output_tokens",
                "cached_input_tokens",
                "cache_read_input_tokens",
                "cache_creation_input_tokens",
            ][..],
            None,
        ),
    ] {
        let columns: Vec<&str> = sums.iter().copied().chain(biggest).collect();
        let selected = sums.iter().map(|name| format!("SUM({name})"));
        let selected: Vec<String> = selected.chain(biggest.map(|name| format!("MAX({name})"))).collect();
        let grown = sums.iter().map(|name| format!("{name} = {name} + excluded.{name}"));
        let largest = biggest.map(|name| format!("{name} = MAX({name}, excluded.{name})"));
        let grown: Vec<String> = grown.chain(largest).collect();
        let key = format!("tenant, agent, version, {last}");
        transaction.execute(
            &format!(
                "INSERT INTO {table} (minute, {key}, {})
                 SELECT minute / {DAY} * {DAY} AS day, {key}, {} FROM {table}
                 WHERE minute < ?1 AND minute % {DAY} <> 0 GROUP BY day, {key}
                 ON CONFLICT DO UPDATE SET {}",
                columns.join(", "),
                selected.join(", "),
                grown.join(", "),
            ),
            [whole],
        )?;
        transaction
            .execute(&format!("DELETE FROM {table} WHERE minute < ?1 AND minute % {DAY} <> 0"), [whole])?;
        transaction.execute(&format!("DELETE FROM {table} WHERE minute < ?1"), [days])?;
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            ledger::Position,
            outcome::Outcome,
            query::{Dimension, Question, answer},
            record::{Record, Usage},
            tally::Tally,
        },
        *,
    };

    #[test]
    fn segments_go_when_they_are_too_old_or_too_many() {
        let kept = |number, bytes, hours: u64| Kept { number, bytes, age: Duration::from_secs(hours * 3600) };
        let all = [kept(1, 10, 30), kept(2, 10, 20), kept(3, 10, 1)];
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for (longest, most, wanted) in [
            (hours(100), 100, &[][..]),
            (hours(24), 100, &[1]),
            (hours(100), 20, &[1]),
            (hours(10), 5, &[1, 2, 3]),
            (hours(0), 100, &[1, 2, 3]),
        ] {
            assert_eq!(surplus(&all, longest, most), wanted, "{longest:?} {most}");
        }
    }

    #[test]
    fn days_that_are_past_are_kept_as_sums_and_years_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        let mut tally = Tally::default();
        let tokens = br#"[{"model":"m","input_tokens":3}]"#;
        for minute in [10_u64, 1440, 1441, 2000, 2880, 2881, 5000] {
            let usage = Usage {
                time_us: minute * 60_000_000,
                tenant: "t",
                agent: "a",
                peak_rss_kb: 9,
                tokens,
                ..Usage::NOTHING
            };
            tally.add(&Record::Call(usage), &Outcome::names());
        }
        ledger.add(&tally, Position { segment: 1, offset: 1 }).unwrap();
        for _ in 0..2 {
            rows(&mut ledger, 3000, 1440).unwrap();
            let minutes: Vec<i64> = {
                let mut read = ledger.connection().prepare("SELECT minute FROM usage").unwrap();
                let rows = read.query_map([], |row| row.get(0)).unwrap();
                rows.map(Result::unwrap).collect()
            };
            assert_eq!(minutes, [1440, 2880, 2881, 5000]);
            let question = Question { by: vec![Dimension::Day], ..Question::default() };
            let days: Vec<_> = answer(folder.path(), &question).unwrap().into_values().collect();
            let sums: Vec<_> = days.iter().map(|row| (row.sums.requests, row.sums.input_tokens)).collect();
            assert_eq!(sums, [(3, 9), (2, 6), (1, 3)]);
            assert_eq!(days[0].sums.peak_rss_kb, 9);
            let sum = "SELECT SUM(input_tokens) FROM tokens";
            let tokens: i64 = ledger.connection().query_row(sum, [], |row| row.get(0)).unwrap();
            assert_eq!(tokens, 18);
        }
    }
}
