//! What was used, summed up as somebody asks for it. Reads the ledger and, behind it, what was not added to it yet; of a
//! process that runs as well as of a data directory alone. Nothing is changed.

use std::{collections::BTreeMap, io, path::Path};

use rusqlite::{params_from_iter, types::Value};

use super::{
    ledger::{self, Ledger, LedgerError, Position},
    record::Usage,
    scan::{Found, Scan},
    segment::{self, HEAD},
    tally::{Key, Sums, Tally},
};

/// How often a query begins anew because segments were deleted while it read them.
const TRIES: usize = 3;

/// Minutes of an hour and of a day.
const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;

/// By what sums are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dimension {
    /// On whose account.
    Tenant,
    /// `package/export`, or `package` for its surfaces.
    Agent,
    /// Version of the package.
    Version,
    /// How calls ended.
    Outcome,
    /// UTC.
    Day,
    /// UTC.
    Hour,
}

impl Dimension {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Tenant, Self::Agent, Self::Version, Self::Outcome, Self::Day, Self::Hour];

    /// As it is asked for, and told.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Agent => "agent",
            Self::Version => "version",
            Self::Outcome => "outcome",
            Self::Day => "day",
            Self::Hour => "hour",
        }
    }

    fn column(self) -> String {
        match self {
            Self::Tenant | Self::Agent | Self::Version | Self::Outcome => self.text().to_owned(),
            Self::Day => format!("minute / {DAY}"),
            Self::Hour => format!("minute / {HOUR}"),
        }
    }

    fn of(self, key: &Key) -> Cell {
        match self {
            Self::Tenant => Cell::Text(key.tenant.clone()),
            Self::Agent => Cell::Text(key.agent.clone()),
            Self::Version => Cell::Text(key.version.clone()),
            Self::Outcome => Cell::Text(key.last.clone()),
            Self::Day => Cell::Number(key.minute.div_euclid(DAY)),
            Self::Hour => Cell::Number(key.minute.div_euclid(HOUR)),
        }
    }

    /// The minute with which a day or an hour begins.
    pub(super) fn minute(self, number: i64) -> i64 {
        match self {
            Self::Day => number * DAY,
            Self::Hour => number * HOUR,
            Self::Tenant | Self::Agent | Self::Version | Self::Outcome => number,
        }
    }
}

/// A value of a dimension.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    /// A name.
    Text(Box<str>),
    /// Of a day or an hour, since 1970.
    Number(i64),
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Question {
    /// By what.
    pub(crate) by: Vec<Dimension>,
    /// From this minute on (since 1970).
    pub(crate) since: Option<i64>,
    /// Up to the one before this.
    pub(crate) until: Option<i64>,
    /// Of this tenant alone.
    pub(crate) tenant: Option<String>,
}

/// Sums, and how many of the calls failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// Of all.
    pub(crate) sums: Sums,
    /// Calls that ended otherwise than with a result.
    pub(crate) errors: i64,
}

/// Sums by the values of what was asked for, in their order.
pub(crate) type Rows = BTreeMap<Vec<Cell>, Row>;

impl Row {
    fn add(&mut self, sums: &Sums, errors: i64) {
        self.sums.add(sums);
        self.errors += errors;
    }
}

/// Answers a question about the usage in `folder`.
///
/// # Errors
/// The ledger cannot be read, or is damaged: then a process that runs builds it again.
pub(crate) fn answer(folder: &Path, question: &Question) -> Result<Rows, LedgerError> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        match look(folder, question) {
            Err(LedgerError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound && tries > 0 => {}
            answered => return answered,
        }
    }
}

fn look(folder: &Path, question: &Question) -> Result<Rows, LedgerError> {
    let mut rows = Rows::new();
    let mut tally = Tally::default();
    let mut position = Position::default();
    if let Some(mut ledger) = Ledger::read(folder)? {
        // One transaction: sums, and up to where they reach.
        let transaction = ledger.connection().transaction()?;
        position = ledger::position(&transaction)?;
        tally = Tally::after(ledger::sealed(&transaction)?.through, None);
        read(&transaction, question, &mut rows)?;
    }
    behind(folder, position, &mut tally).map_err(|source| LedgerError::Io("a segment", source))?;
    for (key, sums) in &tally.usage {
        if question.means(key) {
            let errors = if &*key.last == "ok" { 0 } else { sums.requests };
            rows.entry(question.by.iter().map(|by| by.of(key)).collect()).or_default().add(sums, errors);
        }
    }
    Ok(rows)
}

impl Question {
    /// Whether a call is among what is asked for, by its own clock.
    pub(crate) fn is_about(&self, usage: &Usage<'_>) -> bool {
        let minute = (usage.time_us / 60_000_000).cast_signed();
        self.since.is_none_or(|since| minute >= since)
            && self.until.is_none_or(|until| minute < until)
            && self.tenant.as_ref().is_none_or(|tenant| tenant == usage.tenant)
    }

    fn means(&self, key: &Key) -> bool {
        self.since.is_none_or(|since| key.minute >= since)
            && self.until.is_none_or(|until| key.minute < until)
            && self.tenant.as_ref().is_none_or(|tenant| **tenant == *key.tenant)
    }
}

fn read(connection: &rusqlite::Connection, question: &Question, rows: &mut Rows) -> Result<(), LedgerError> {
    let mut columns: Vec<String> = question.by.iter().map(|by| by.column()).collect();
    columns.push("SUM(requests)".to_owned());
    let columns = columns.join(", ");
    let mut given = Vec::new();
    let mut wanted = String::from("TRUE");
    for (condition, value) in [
        ("minute >= ?", question.since.map(Value::from)),
        ("minute < ?", question.until.map(Value::from)),
        ("tenant = ?", question.tenant.clone().map(Value::from)),
    ] {
        if let Some(value) = value {
            wanted = format!("{wanted} AND {condition}");
            given.push(value);
        }
    }
    let places: Vec<String> = (1..=question.by.len()).map(|place| place.to_string()).collect();
    let grouped = if places.is_empty() { String::new() } else { format!(" GROUP BY {}", places.join(", ")) };
    let mut read = connection.prepare(&format!(
        "SELECT {columns}, SUM(input_tokens), SUM(output_tokens), SUM(duration_us), SUM(worker_us),
            SUM(queue_us), SUM(cpu_us), MAX(peak_rss_kb), SUM(bytes_in), SUM(bytes_out),
            SUM(CASE outcome WHEN 'ok' THEN 0 ELSE requests END)
         FROM usage WHERE {wanted}{grouped} HAVING COUNT(*) > 0",
    ))?;
    let mut found = read.query(params_from_iter(given))?;
    while let Some(row) = found.next()? {
        let mut cells = Vec::new();
        for (place, by) in question.by.iter().enumerate() {
            cells.push(match by {
                Dimension::Day | Dimension::Hour => Cell::Number(row.get(place)?),
                Dimension::Tenant | Dimension::Agent | Dimension::Version | Dimension::Outcome => {
                    Cell::Text(row.get(place)?)
                }
            });
        }
        let number = |place: usize| row.get(question.by.len() + place);
        let sums = Sums {
            requests: number(0)?,
            input_tokens: number(1)?,
            output_tokens: number(2)?,
            duration_us: number(3)?,
            worker_us: number(4)?,
            queue_us: number(5)?,
            cpu_us: number(6)?,
            peak_rss_kb: number(7)?,
            bytes_in: number(8)?,
            bytes_out: number(9)?,
        };
        rows.entry(cells).or_default().add(&sums, number(10)?);
    }
    Ok(())
}

/// Adds the records behind a position. What is being written to just now may be among them or not.
fn behind(folder: &Path, position: Position, tally: &mut Tally) -> io::Result<()> {
    for number in segment::numbers(folder)?.into_iter().filter(|number| *number >= position.segment) {
        let from = if number == position.segment { position.offset as usize } else { HEAD };
        let (bytes, names) = match segment::read(folder, number, from) {
            Ok(read) => read,
            // Whoever runs has told it.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        for found in Scan::new(&bytes, 0) {
            if let Found::Record { record, .. } = found {
                tally.add(&record, &names);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
