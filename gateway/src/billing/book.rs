//! The book of what is billed: every event with what has become of it, in an SQLite file of its own beside the ledger.
//!
//! The ledger can be built again from the journal; what was sent to whom cannot. So nothing here is ever made anew by
//! itself: a damaged book ends billing, loudly, and calls go on.
//!
//! An event is *open* (never sent), *sending* (sent, and nobody knows), *taken*, *refused* (with a reason) or *dead* (too
//! old to be sent). A crash leaves it in one of these, and each says what is to be done next.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

mod claimed;
mod windows;

pub(super) use super::entry::{Entry, State};
use super::{
    measure::Measure,
    plan::{Event, Window},
};

const FILE: &str = "billing.db";

/// Why an event waits whose tenant is nobody's customer.
pub(crate) const UNMAPPED: &str = "its tenant is nobody's customer";

/// How the reason begins why an event is not sent again of which nobody knows whether it was counted.
pub(crate) const UNCLEAR: &str = "nobody knows whether it was counted";

/// The form of the tables.
const FORM: i64 = 1;

const TABLES: &str = "
    -- window: minutes since 1970, the last one excluded. Other times: seconds since 1970. due: when it was made.
    CREATE TABLE events (
        identifier TEXT PRIMARY KEY,
        tenant TEXT NOT NULL,
        measure TEXT NOT NULL,
        window_from INTEGER NOT NULL,
        window_to INTEGER NOT NULL,
        value INTEGER NOT NULL,
        customer TEXT,
        state TEXT NOT NULL,
        due INTEGER NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        first_sent INTEGER,
        next_try INTEGER NOT NULL DEFAULT 0,
        reason TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX events_to_send ON events (state, next_try) WHERE state IN ('open', 'sending');
    CREATE INDEX events_of_customer ON events (customer, measure, window_from);
    -- Parts of a unit that were not billed yet.
    CREATE TABLE rests (
        tenant TEXT NOT NULL,
        measure TEXT NOT NULL,
        rest INTEGER NOT NULL,
        PRIMARY KEY (tenant, measure)
    ) STRICT, WITHOUT ROWID;
    -- since: the first minute that is billed. planned: events were made of everything before this minute.
    CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";

/// What came later than the form, which means the same with it and without it.
const LATER: &str = "
    -- What tokens have said.
    CREATE TABLE IF NOT EXISTS customers (
        tenant TEXT PRIMARY KEY, customer TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS events_by_window ON events (window_from);
";

/// Why the book cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BookError {
    /// SQLite says why.
    #[error("the book of what is billed cannot be used")]
    Sqlite(#[from] rusqlite::Error),
    /// Nothing is changed in it.
    #[error("the book of what is billed has form {0}: it was written by a later version of the runtime")]
    Later(i64),
}

/// How many events are in which state, and the sum of their values by tenant and measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) tenant: String,
    pub(crate) customer: Option<String>,
    pub(crate) measure: Measure,
    pub(crate) state: State,
    pub(crate) events: i64,
    pub(crate) value: i64,
}

/// The file, open.
#[derive(Debug)]
pub(crate) struct Book {
    connection: Connection,
}

impl Book {
    /// Opens the book in a folder, or makes it.
    pub(crate) fn open(folder: &Path) -> Result<Self, BookError> {
        let mut connection = Connection::open(folder.join(FILE))?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What was written down before it was sent must be there after the loss of power, too.
        connection.pragma_update(None, "synchronous", "FULL")?;
        let form: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match form {
            FORM => {}
            0 => {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                // Somebody else may have made them while this one waited.
                let form: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
                if form == 0 {
                    transaction.execute_batch(TABLES)?;
                }
                transaction.commit()?;
            }
            later => return Err(BookError::Later(later)),
        }
        connection.execute_batch(LATER)?;
        Ok(Self { connection })
    }

    /// The first minute that is billed, and the one before which everything is in the book.
    pub(crate) fn planned(&self) -> Result<Option<(i64, i64)>, BookError> {
        let of = |key: &str| {
            let mut read = self.connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
            read.query_row([key], |row| row.get::<_, i64>(0)).optional()
        };
        Ok(of("since")?.zip(of("planned")?))
    }

    /// Billing begins with this minute.
    pub(crate) fn begin(&mut self, minute: i64) -> Result<(), BookError> {
        let transaction = self.connection.transaction()?;
        for key in ["since", "planned"] {
            transaction.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", params![key, minute])?;
        }
        Ok(transaction.commit()?)
    }

    /// Parts of a unit that a tenant was not billed yet.
    pub(crate) fn rest(&self, tenant: &str, measure: Measure) -> Result<i64, BookError> {
        let mut read =
            self.connection.prepare_cached("SELECT rest FROM rests WHERE tenant = ?1 AND measure = ?2")?;
        Ok(read.query_row([tenant, measure.text()], |row| row.get(0)).optional()?.unwrap_or(0))
    }

    /// Writes down what is billed of a window, and that it is: all of it or nothing.
    pub(crate) fn plan(
        &mut self,
        window: Window,
        events: &[Event],
        rests: &[(String, Measure, i64)],
        now: i64,
    ) -> Result<(), BookError> {
        let transaction = self.connection.transaction()?;
        for event in events {
            transaction.prepare_cached(
                "INSERT INTO events (identifier, tenant, measure, window_from, window_to, value, state, due)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'open', ?7)",
            )?
            .execute(params![
                event.identifier,
                event.tenant,
                event.measure.text(),
                event.window.from,
                event.window.to,
                event.value,
                now,
            ])?;
        }
        for (tenant, measure, rest) in rests {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO rests (tenant, measure, rest) VALUES (?1, ?2, ?3)")?
                .execute(params![tenant, measure.text(), rest])?;
        }
        transaction.execute("UPDATE meta SET value = ?1 WHERE key = 'planned'", [window.to])?;
        Ok(transaction.commit()?)
    }

    /// Events that are to be sent now, the oldest first.
    pub(crate) fn due(&self, now: i64, most: u32) -> Result<Vec<Entry>, BookError> {
        let mut read = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events WHERE state IN ('open', 'sending') AND next_try <= ?1
             ORDER BY window_from, identifier LIMIT ?2"
        ))?;
        let rows = read.query_map(params![now, most], entry)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// When the next of those that wait is to be tried.
    pub(crate) fn next_try(&self) -> Result<Option<i64>, BookError> {
        Ok(self.connection.query_row(
            "SELECT MIN(next_try) FROM events WHERE state IN ('open', 'sending')",
            [],
            |row| row.get(0),
        )?)
    }

    /// Events are about to be sent to a customer each. Whoever has written this down may send them.
    pub(crate) fn sending(&mut self, sent: &[(&str, &str)], now: i64) -> Result<(), BookError> {
        let transaction = self.connection.transaction()?;
        for (identifier, customer) in sent {
            transaction
                .prepare_cached(
                    "UPDATE events SET state = 'sending', customer = ?2, tries = tries + 1,
                     first_sent = COALESCE(first_sent, ?3), reason = NULL WHERE identifier = ?1",
                )?
                .execute(params![identifier, customer, now])?;
        }
        Ok(transaction.commit()?)
    }

    /// An event has come to its end.
    pub(crate) fn end(
        &self,
        identifier: &str,
        state: State,
        reason: Option<&str>,
    ) -> Result<bool, BookError> {
        let mut write = self
            .connection
            .prepare_cached("UPDATE events SET state = ?2, reason = ?3 WHERE identifier = ?1")?;
        Ok(write.execute(params![identifier, state.text(), reason])? > 0)
    }

    /// An event waits for another try. Its state stays: whether a former try was heard is as unknown as before.
    pub(crate) fn postpone(&self, identifier: &str, until: i64, reason: &str) -> Result<(), BookError> {
        let mut write = self
            .connection
            .prepare_cached("UPDATE events SET next_try = ?2, reason = ?3 WHERE identifier = ?1")?;
        write.execute(params![identifier, until, reason]).map(drop)?;
        Ok(())
    }

    /// An event whose name is forgotten on the other side, where it was not counted, begins anew.
    pub(crate) fn renew(&self, identifier: &str) -> Result<(), BookError> {
        let mut write = self
            .connection
            .prepare_cached("UPDATE events SET first_sent = NULL, tries = 0 WHERE identifier = ?1")?;
        write.execute([identifier]).map(drop)?;
        Ok(())
    }

    /// Events of tenants that were nobody's customers are tried at once.
    pub(crate) fn retry_unmapped(&self) -> Result<(), BookError> {
        let mut write = self.connection.prepare_cached(
            "UPDATE events SET next_try = 0 WHERE state IN ('open', 'sending') AND reason = ?1",
        )?;
        write.execute([UNMAPPED]).map(drop)?;
        Ok(())
    }

    /// An event that was refused or is too old begins anew; gives its name. One that was surely not counted gets a new
    /// name, since the other side may remember the old one and take it for a repetition. `None`: there is none, or it was
    /// counted.
    pub(crate) fn reopen(&self, identifier: &str) -> Result<Option<String>, BookError> {
        let state = "state IN ('refused', 'dead')";
        let reason: Option<Option<String>> = self
            .connection
            .prepare_cached(&format!("SELECT reason FROM events WHERE identifier = ?1 AND {state}"))?
            .query_row([identifier], |row| row.get(0))
            .optional()?;
        let Some(reason) = reason else { return Ok(None) };
        let is_unclear = reason.is_some_and(|reason| reason.starts_with(UNCLEAR));
        let name = if is_unclear { identifier.to_owned() } else { again(identifier) };
        // When it was first sent stays: after a day it is asked for before it is sent.
        let mut write = self.connection.prepare_cached(&format!(
            "UPDATE events SET identifier = ?2, state = 'open', next_try = 0, tries = 0, reason = NULL
             WHERE identifier = ?1 AND {state}"
        ))?;
        Ok((write.execute([identifier, name.as_str()])? > 0).then_some(name))
    }

    /// An event that was taken, or sent, is refused after all. `false`: it is none of these.
    pub(crate) fn reject(&self, identifier: &str, reason: &str) -> Result<bool, BookError> {
        let mut write = self.connection.prepare_cached(
            "UPDATE events SET state = 'refused', reason = ?2
             WHERE identifier = ?1 AND state IN ('taken', 'sending')",
        )?;
        Ok(write.execute([identifier, reason])? > 0)
    }

    /// One event.
    #[cfg(test)]
    fn find(&self, identifier: &str) -> Result<Option<Entry>, BookError> {
        let mut read =
            self.connection.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE identifier = ?1"))?;
        Ok(read.query_row([identifier], entry).optional()?)
    }

    /// What a customer was billed of a measure by events that were taken, in windows that begin in `window`.
    pub(crate) fn taken(&self, customer: &str, measure: Measure, window: Window) -> Result<i64, BookError> {
        Ok(self.connection.query_row(
            "SELECT COALESCE(SUM(value), 0) FROM events WHERE customer = ?1 AND measure = ?2 AND state = 'taken'
             AND window_from >= ?3 AND window_from < ?4",
            params![customer, measure.text(), window.from, window.to],
            |row| row.get(0),
        )?)
    }

    /// Sums of windows that begin in `window`.
    pub(crate) fn sums(&self, window: Window) -> Result<Vec<Sum>, BookError> {
        let mut read = self.connection.prepare_cached(
            "SELECT tenant, customer, measure, state, COUNT(*), SUM(value) FROM events
             WHERE window_from >= ?1 AND window_from < ?2 GROUP BY tenant, customer, measure, state
             ORDER BY tenant, measure, state",
        )?;
        let rows = read.query_map([window.from, window.to], |row| {
            Ok(Sum {
                tenant: row.get(0)?,
                customer: row.get(1)?,
                measure: measure(row, 2)?,
                state: State::of(&row.get::<_, String>(3)?),
                events: row.get(4)?,
                value: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many events wait to be taken, and since when the oldest does.
    pub(crate) fn unsent(&self) -> Result<(i64, Option<i64>), BookError> {
        Ok(self.connection.query_row(
            "SELECT COUNT(*), MIN(due) FROM events WHERE state IN ('open', 'sending')",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?)
    }

    /// Events that need somebody: refused, dead, or waiting with a reason. The newest first.
    pub(crate) fn troubled(&self, most: u32) -> Result<Vec<Entry>, BookError> {
        let mut read = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events WHERE state IN ('refused', 'dead') OR (state IN ('open', 'sending') AND
             reason IS NOT NULL) ORDER BY window_from DESC, identifier LIMIT ?1"
        ))?;
        let rows = read.query_map([most], entry)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Forgets events that were taken and can be disputed no more.
    pub(crate) fn forget(&self, before: i64) -> Result<usize, BookError> {
        let gone = self
            .connection
            .execute("DELETE FROM events WHERE state = 'taken' AND window_to <= ?1", [before])?;
        Ok(gone)
    }
}

/// The name of an event that is sent once more: the same with a number.
fn again(identifier: &str) -> String {
    let (base, number) = identifier.split_once('-').unwrap_or((identifier, "1"));
    format!("{base}-{}", number.parse::<u32>().unwrap_or(1).saturating_add(1))
}

const COLUMNS: &str = "identifier, tenant, measure, window_from, window_to, value, state, customer, due, tries, \
                       first_sent, reason";

fn measure(row: &Row<'_>, at: usize) -> rusqlite::Result<Measure> {
    let text: String = row.get(at)?;
    Measure::of(&text).ok_or(rusqlite::Error::InvalidColumnType(at, text, rusqlite::types::Type::Text))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        event: Event {
            identifier: row.get(0)?,
            tenant: row.get(1)?,
            measure: measure(row, 2)?,
            window: Window { from: row.get(3)?, to: row.get(4)? },
            value: row.get(5)?,
        },
        state: State::of(&row.get::<_, String>(6)?),
        customer: row.get(7)?,
        due: row.get(8)?,
        tries: row.get(9)?,
        first_sent: row.get(10)?,
        reason: row.get(11)?,
    })
}

#[cfg(test)]
mod tests;
