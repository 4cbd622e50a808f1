//! The ledger: what tenants have used, by minute, in one SQLite file.
//!
//! Write-ahead log with `synchronous=FULL`. Each transaction says as well up to which record of which segment it has
//! added, so that a record is added once however often a process ends in between. Whoever bills reads `usage` and
//! `tokens` up to [`Sealed::through`]: those rows change no more.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, params};

use super::tally::Tally;

/// The file, beside the segments.
pub(super) const FILE: &str = "ledger.db";

/// Holds the name of the ledger, so that one that is built again is still the same one to whoever is billed.
const NAME: &str = "ledger.id";

/// How long another process that uses the file may hold it.
const BUSY: Duration = Duration::from_secs(5);

/// The form of the tables; a file of a later one belongs to a later version of the runtime.
const FORM: i64 = 1;

const TABLES: &str = "
    -- Sums of a minute (since 1970). duration: from arrival to end; worker: in the worker; queue: waiting for it. All
    -- but peak_rss_kb add up.
    CREATE TABLE usage (
        minute INTEGER NOT NULL,
        tenant TEXT NOT NULL,
        agent TEXT NOT NULL,
        version TEXT NOT NULL,
        outcome TEXT NOT NULL,
        requests INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        duration_us INTEGER NOT NULL,
        worker_us INTEGER NOT NULL,
        queue_us INTEGER NOT NULL,
        cpu_us INTEGER NOT NULL,
        peak_rss_kb INTEGER NOT NULL,
        bytes_in INTEGER NOT NULL,
        bytes_out INTEGER NOT NULL,
        PRIMARY KEY (minute, tenant, agent, version, outcome)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tokens (
        minute INTEGER NOT NULL,
        tenant TEXT NOT NULL,
        agent TEXT NOT NULL,
        version TEXT NOT NULL,
        model TEXT NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cached_input_tokens INTEGER NOT NULL,
        cache_read_input_tokens INTEGER NOT NULL,
        cache_creation_input_tokens INTEGER NOT NULL,
        PRIMARY KEY (minute, tenant, agent, version, model)
    ) STRICT, WITHOUT ROWID;
    -- ledger: its name. segment, offset: what was added. sealed: the last minute that is over. complete_from: minutes
    -- before it may lack records, since the file was built again from what was left.
    CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";

/// Why the ledger could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// It has to be built again.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// Nothing is changed in it.
    #[error("the file has form {0}: it was written by a later version of the runtime")]
    Later(i64),
    /// No room, no right, in use.
    #[error("SQLite refused it")]
    Refused(#[source] rusqlite::Error),
    /// Beside the file.
    #[error("{0}")]
    Io(&'static str, #[source] io::Error),
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            Some(_) | None => Self::Refused(error),
        }
    }
}

/// Up to where records were added: everything before `offset` of `segment`, and all segments before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position {
    /// Number of the segment; 0: none.
    pub(crate) segment: u64,
    /// Place in its file.
    pub(crate) offset: u64,
}

/// Minutes (since 1970) whose rows are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// Rows of minutes before it may lack calls: the file was damaged and built again from the segments that were left.
    pub(crate) from: i64,
    /// The last one. It goes on only when there is something to seal: behind it there are no rows, or rows that may grow.
    pub(crate) through: Option<i64>,
}

/// The file, open.
#[derive(Debug)]
pub(crate) struct Ledger {
    connection: Connection,
    name: String,
}

impl Ledger {
    /// Opens the ledger in `folder`, which exists, or makes it.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] is for [`Self::set_aside`].
    pub(crate) fn open(folder: &Path) -> Result<Self, LedgerError> {
        let mut connection = Connection::open(folder.join(FILE))?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let form: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match form {
            FORM => {}
            0 => {
                let name = kept_name(folder)?;
                let transaction = connection.transaction()?;
                transaction.execute_batch(TABLES)?;
                set(&transaction, "ledger", name)?;
                transaction.commit()?;
            }
            later => return Err(LedgerError::Later(later)),
        }
        let name =
            meta(&connection, "ledger")?.ok_or_else(|| LedgerError::Damaged("it has no name".to_owned()))?;
        Ok(Self { connection, name })
    }

    /// Opens the ledger for reading only; `None`: there is none.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, LedgerError> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(BUSY)?;
        let form: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match form {
            // Whoever makes it has not come far.
            0 => return Ok(None),
            FORM => {}
            later => return Err(LedgerError::Later(later)),
        }
        let name = meta(&connection, "ledger")?.unwrap_or_default();
        Ok(Some(Self { connection, name }))
    }

    /// Its name, made once: a UUID.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// For whoever reads or adds tables.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Looks at every page.
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        let found: String = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found == "ok" { Ok(()) } else { Err(LedgerError::Damaged(found)) }
    }

    /// Which minutes are final.
    pub(crate) fn sealed(&self) -> Result<Sealed, LedgerError> {
        sealed(&self.connection)
    }

    /// Up to where records were added.
    pub(super) fn position(&self) -> Result<Position, LedgerError> {
        position(&self.connection)
    }

    /// The latest minute that has rows.
    pub(super) fn newest(&self) -> Result<Option<i64>, LedgerError> {
        Ok(self.connection.query_row("SELECT MAX(minute) FROM usage", [], |row| row.get(0))?)
    }

    /// Adds records and says up to where they reach: both or neither.
    pub(super) fn add(&mut self, tally: &Tally, position: Position) -> Result<(), LedgerError> {
        let transaction = self.connection.transaction()?;
        insert(&transaction, tally)?;
        set(&transaction, "segment", position.segment.cast_signed())?;
        set(&transaction, "offset", position.offset.cast_signed())?;
        if let Some(sealed) = tally.sealed {
            set(&transaction, "sealed", sealed)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Says that minutes before this one may lack records.
    pub(super) fn complete_from(&mut self, minute: i64) -> Result<(), LedgerError> {
        set(&self.connection, "complete_from", minute)?;
        Ok(())
    }

    /// Moves a damaged file out of the way, with its log, and says where it is now.
    pub(super) fn set_aside(folder: &Path) -> Result<PathBuf, LedgerError> {
        let failed = |source| LedgerError::Io("the damaged file cannot be set aside", source);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let aside = folder.join(format!("ledger-damaged-{}.db", since.as_millis()));
        fs::rename(folder.join(FILE), &aside).map_err(failed)?;
        for suffix in ["-wal", "-shm"] {
            let from = folder.join(format!("{FILE}{suffix}"));
            let mut to = aside.clone().into_os_string();
            to.push(suffix);
            match fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(aside)
    }
}

/// Up to where records were added, as this connection sees it.
pub(super) fn position(connection: &Connection) -> Result<Position, LedgerError> {
    let number = |key| meta(connection, key).map(|number: Option<i64>| number.unwrap_or(0).cast_unsigned());
    Ok(Position { segment: number("segment")?, offset: number("offset")? })
}

/// Which minutes are final, as this connection sees it.
pub(super) fn sealed(connection: &Connection) -> Result<Sealed, LedgerError> {
    let from = meta(connection, "complete_from")?.unwrap_or(0);
    Ok(Sealed { from, through: meta(connection, "sealed")? })
}

fn meta<T: rusqlite::types::FromSql>(connection: &Connection, key: &str) -> Result<Option<T>, LedgerError> {
    let mut read = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(read.query_row([key], |row| row.get(0)).optional()?)
}

fn set(connection: &Connection, key: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
    let mut write = connection.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?;
    write.execute(params![key, value]).map(drop)
}

fn insert(transaction: &Transaction<'_>, tally: &Tally) -> Result<(), LedgerError> {
    let mut write = transaction.prepare_cached(
        "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
         ON CONFLICT DO UPDATE SET
            requests = requests + excluded.requests,
            input_tokens = input_tokens + excluded.input_tokens,
            output_tokens = output_tokens + excluded.output_tokens,
            duration_us = duration_us + excluded.duration_us,
            worker_us = worker_us + excluded.worker_us,
            queue_us = queue_us + excluded.queue_us,
            cpu_us = cpu_us + excluded.cpu_us,
            peak_rss_kb = MAX(peak_rss_kb, excluded.peak_rss_kb),
            bytes_in = bytes_in + excluded.bytes_in,
            bytes_out = bytes_out + excluded.bytes_out",
    )?;
    for (key, sums) in &tally.usage {
        write.execute(params![
            key.minute,
            key.tenant,
            key.agent,
            key.version,
            key.last,
            sums.requests,
            sums.input_tokens,
            sums.output_tokens,
            sums.duration_us,
            sums.worker_us,
            sums.queue_us,
            sums.cpu_us,
            sums.peak_rss_kb,
            sums.bytes_in,
            sums.bytes_out,
        ])?;
    }
    let mut write = transaction.prepare_cached(
        "INSERT INTO tokens VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT DO UPDATE SET
            input_tokens = input_tokens + excluded.input_tokens,
            output_tokens = output_tokens + excluded.output_tokens,
            cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
            cache_read_input_tokens = cache_read_input_tokens + excluded.cache_read_input_tokens,
            cache_creation_input_tokens = cache_creation_input_tokens + excluded.cache_creation_input_tokens",
    )?;
    for (key, tokens) in &tally.tokens {
        write.execute(params![
            key.minute,
            key.tenant,
            key.agent,
            key.version,
            key.last,
            tokens.input,
            tokens.output,
            tokens.cached_input,
            tokens.cache_read,
            tokens.cache_creation,
        ])?;
    }
    Ok(())
}

/// The name that is beside the file, or a new one.
fn kept_name(folder: &Path) -> Result<String, LedgerError> {
    let failed = |source| LedgerError::Io("the name of the ledger cannot be kept", source);
    let path = folder.join(NAME);
    match fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(_) | Err(_) => {}
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| failed(io::Error::other(error)))?;
    let hex = hex::encode(bytes);
    let part = |range| hex.get(range).unwrap_or_default();
    // Version 4 of RFC 9562: random, but for the version and the variant.
    let name = format!("{}-{}-4{}-8{}-{}", part(0..8), part(8..12), part(13..16), part(17..20), part(20..32));
    let mut beside = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    io::Write::write_all(&mut beside, name.as_bytes()).map_err(failed)?;
    beside.as_file().sync_all().map_err(failed)?;
    beside.persist(&path).map_err(|error| failed(error.error))?;
    Ok(name)
}

#[cfg(test)]
mod tests;
