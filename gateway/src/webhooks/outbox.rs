//! Letters on disk: changes enter in transactions, due letters leave. One SQLite file in the data directory.
//!
//! Write-ahead log with `synchronous=FULL`: what a transaction has written survives `kill -9` and the loss of power.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, params};

use super::{
    letter::{Change, Letter},
    status::{DeadLetter, Deliveries, Waiting},
};
use crate::observe::timestamp;

/// Dead letters that are kept: enough to see what a broken receiver has missed, few enough to be shown at once.
const DEAD_KEPT: u32 = 1000;

/// How long another process that reads the file may hold it.
const BUSY: Duration = Duration::from_secs(5);

/// The form of the tables; a file of a later one belongs to a later version of the runtime.
const FORM: i64 = 1;

const TABLES: &str = "
    CREATE TABLE pending (
        place INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        package TEXT NOT NULL,
        event TEXT NOT NULL,
        body BLOB NOT NULL,
        created INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        next INTEGER NOT NULL,
        error TEXT
    ) STRICT;
    CREATE INDEX pending_by_package ON pending (package, place);
    CREATE TABLE dead (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        package TEXT NOT NULL,
        event TEXT NOT NULL,
        body BLOB NOT NULL,
        created INTEGER NOT NULL,
        died INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        error TEXT NOT NULL
    ) STRICT;
    PRAGMA user_version = 1;
";

/// The first letter of every package: only these can be sent.
const HEADS: &str = "WITH heads AS (SELECT MIN(place) AS place FROM pending GROUP BY package)";

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("the file is damaged: {0}")]
    Damaged(String),
    #[error("the file has form {0}: it was written by a later version of the runtime")]
    Later(i64),
    #[error("SQLite refused it")]
    Refused(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            Some(_) | None => Self::Refused(error),
        }
    }
}

/// Letters whose turn it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// At most as many as were asked for, those that wait for the longest time first.
    pub(super) letters: Vec<Letter>,
    /// When the next one is due.
    pub(super) next: Option<SystemTime>,
}

/// The file.
#[derive(Debug)]
pub(super) struct Outbox {
    connection: Connection,
}

impl Outbox {
    /// Opens `outbox.db` in `folder`, or makes it. A damaged file is put aside as `outbox.damaged` and said; one of
    /// a later version is an error.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("outbox.db");
        let opened = match Self::open_file(&path) {
            Err(OpenError::Damaged(cause)) => {
                let aside = put_aside(&path)?;
                tracing::error!(
                    event = "outbox_damaged",
                    aside = %aside.display(),
                    cause,
                    "webhooks that were pending are lost, starting with an empty outbox"
                );
                Self::open_file(&path)
            }
            opened => opened,
        };
        opened.map_err(io::Error::other)
    }

    fn open_file(path: &Path) -> Result<Self, OpenError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            return Err(OpenError::Damaged(found));
        }
        let form: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match form {
            FORM => {}
            0 => {
                let transaction = connection.transaction()?;
                transaction.execute_batch(TABLES)?;
                transaction.commit()?;
            }
            later => return Err(OpenError::Later(later)),
        }
        Ok(Self { connection })
    }

    /// Makes changes, all or none; they are on disk when this returns.
    pub(super) fn apply<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for change in changes {
            match change {
                Change::Accepted(draft) => {
                    transaction
                        .prepare_cached(
                            "INSERT INTO pending (id, package, event, body, created, attempts, next)
                         VALUES (?1, ?2, ?3, ?4, ?5, 0, ?5)",
                        )?
                        .execute(params![
                            draft.id,
                            draft.package,
                            draft.event,
                            draft.body,
                            millis(draft.created)
                        ])?;
                }
                Change::Delivered { place } => {
                    transaction.execute("DELETE FROM pending WHERE place = ?1", [place])?;
                }
                Change::Postponed { place, next, error } => {
                    transaction.execute(
                        "UPDATE pending SET attempts = attempts + 1, next = ?2, error = ?3 WHERE place = ?1",
                        params![place, millis(*next), error],
                    )?;
                }
                Change::Died { place, at, error } => {
                    transaction.execute(
                        "INSERT INTO dead (id, package, event, body, created, died, attempts, error)
                         SELECT id, package, event, body, created, ?2, attempts + 1, ?3
                         FROM pending WHERE place = ?1",
                        params![place, millis(*at), error],
                    )?;
                    transaction.execute("DELETE FROM pending WHERE place = ?1", [place])?;
                    transaction.execute(
                        "DELETE FROM dead WHERE number <= (SELECT MAX(number) FROM dead) - ?1",
                        [DEAD_KEPT],
                    )?;
                }
            }
        }
        transaction.commit()
    }

    /// Letters that are due at `now`: only the first of each package can be. One that waits for a time beyond
    /// `horizon` was written under another clock and is due as well.
    pub(super) fn due(&self, now: SystemTime, horizon: Duration, most: usize) -> rusqlite::Result<Due> {
        let latest = now.checked_add(horizon).unwrap_or(now);
        let mut letters = self.connection.prepare_cached(&format!(
            "{HEADS} SELECT place, id, package, event, body, created, attempts
             FROM heads JOIN pending USING (place)
             WHERE next <= ?1 OR next > ?2 ORDER BY next, place LIMIT ?3",
        ))?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let letters = letters
            .query_map(params![millis(now), millis(latest), most], |row| {
                Ok(Letter {
                    place: row.get(0)?,
                    id: row.get(1)?,
                    package: row.get(2)?,
                    event: row.get(3)?,
                    body: row.get(4)?,
                    created: time(row.get(5)?),
                    attempts: row.get(6)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        let mut next = self.connection.prepare_cached(&format!(
            "{HEADS} SELECT MIN(next) FROM heads JOIN pending USING (place) WHERE next > ?1 AND next <= ?2",
        ))?;
        let next: Option<i64> = next.query_row([millis(now), millis(latest)], |row| row.get(0))?;
        Ok(Due { letters, next: next.map(time) })
    }

    /// How many letters wait.
    pub(super) fn pending(&self) -> rusqlite::Result<u64> {
        let count: i64 = self.connection.query_row("SELECT COUNT(*) FROM pending", [], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// What people see; `receiver` is for others to fill.
    pub(super) fn deliveries(&self) -> rusqlite::Result<Deliveries> {
        let oldest = self.connection.query_row(
            "SELECT id, event, package, created, attempts, next, error FROM pending ORDER BY place LIMIT 1",
            [],
            |row| {
                Ok(Waiting {
                    id: row.get(0)?,
                    event: row.get(1)?,
                    package: row.get(2)?,
                    created: timestamp::text(time(row.get(3)?)),
                    attempts: row.get(4)?,
                    next_attempt: timestamp::text(time(row.get(5)?)),
                    last_error: row.get(6)?,
                })
            },
        );
        let mut dead = self.connection.prepare_cached(
            "SELECT id, event, package, created, died, attempts, error FROM dead ORDER BY number DESC",
        )?;
        let dead = dead.query_map([], dead_letter)?.collect::<rusqlite::Result<_>>()?;
        Ok(Deliveries { receiver: None, pending: self.pending()?, oldest: oldest.optional()?, dead })
    }
}

fn dead_letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        id: row.get(0)?,
        event: row.get(1)?,
        package: row.get(2)?,
        created: timestamp::text(time(row.get(3)?)),
        died: timestamp::text(time(row.get(4)?)),
        attempts: row.get(5)?,
        last_error: row.get(6)?,
    })
}

/// Moves a damaged file and its log out of the way; what was put aside before is replaced.
fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = path.with_extension("damaged");
    fs::rename(path, &aside)?;
    for (from, to) in [("db-wal", "damaged-wal"), ("db-shm", "damaged-shm")] {
        match fs::rename(path.with_extension(from), path.with_extension(to)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(aside)
}

/// Milliseconds since 1970, as times are on disk.
fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn time(millis: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
