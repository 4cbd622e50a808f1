//! Single calls in the journal: all of them, or every record of one request. Clients may use an id twice, and calls between agents have
//! that of the call in which they were made.

use std::{io, path::Path};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    record::{Record, Usage},
    scan::{Found, Scan},
    segment::{self, HEAD},
};
use crate::observe::timestamp;

/// A record, for people.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    /// When it ended, RFC 3339.
    pub(crate) ended: String,
    /// `call`, or `amendment`: what was learned when the call had been recorded.
    pub(crate) kind: &'static str,
    /// Its id.
    pub(crate) request_id: String,
    /// On whose account.
    pub(crate) tenant: String,
    /// The first 64 bits of the SHA-256 of who called, hexadecimal, as in the log.
    pub(crate) subject: Option<String>,
    /// `package/export`, or `package`.
    pub(crate) agent: String,
    /// Version of the package.
    pub(crate) version: String,
    /// `invoke, stream, rest, grpc, call`.
    pub(crate) surface: &'static str,
    /// How many calls it is nested in.
    pub(crate) depth: u8,
    /// `ok`, or a code.
    pub(crate) outcome: String,
    /// Microseconds from its arrival to its end.
    pub(crate) duration_us: u64,
    /// Microseconds in the worker.
    pub(crate) worker_us: u64,
    /// Microseconds in the queue.
    pub(crate) queue_us: u64,
    /// Microseconds of processor time, if they were told.
    pub(crate) cpu_us: Option<u64>,
    /// The most memory that its worker had had, KiB, if it was told.
    pub(crate) peak_rss_kb: Option<u32>,
    /// Of the request.
    pub(crate) bytes_in: u64,
    /// Of the answer.
    pub(crate) bytes_out: u64,
    /// What the agent reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tokens: Option<Box<RawValue>>,
}

/// Every record of a request, oldest first; of `tenant` alone, if one is given. Empty: there is none, or its segment is
/// kept no longer.
///
/// # Errors
/// A segment cannot be read.
pub(crate) fn request(folder: &Path, id: &str, tenant: Option<&str>) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let is_wanted =
        |usage: &Usage<'_>| usage.request_id == id && tenant.is_none_or(|tenant| tenant == usage.tenant);
    each(folder, is_wanted, |entry| {
        entries.push(entry);
        Ok(())
    })?;
    Ok(entries)
}

/// Every record that is kept and wanted, oldest first.
///
/// # Errors
/// A segment cannot be read, or `take` has failed.
pub(crate) fn each(
    folder: &Path,
    is_wanted: impl Fn(&Usage<'_>) -> bool,
    mut take: impl FnMut(Entry) -> io::Result<()>,
) -> io::Result<()> {
    for number in segment::numbers(folder)? {
        use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
        let (bytes, names) = match segment::read(folder, number, HEAD) {
            Ok(read) => read,
            // Kept no longer, or told already.
            Err(error) if matches!(error.kind(), NotFound | InvalidData | UnexpectedEof) => continue,
            Err(error) => return Err(error),
        };
        for found in Scan::new(&bytes, 0) {
            let (kind, usage) = match found {
                Found::Record { record: Record::Call(usage), .. } => ("call", usage),
                Found::Record { record: Record::Amendment(usage), .. } => ("amendment", usage),
                Found::Record { record: Record::Seal { .. }, .. } | Found::Gap { .. } => continue,
            };
            if is_wanted(&usage) {
                take(entry(kind, &usage, &names))?;
            }
        }
    }
    Ok(())
}

fn entry(kind: &'static str, usage: &Usage<'_>, names: &[Box<str>]) -> Entry {
    let ended = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(usage.time_us);
    let outcome = names.get(usize::from(usage.outcome.number())).map_or("unknown", |name| name);
    Entry {
        ended: timestamp::text(ended),
        kind,
        request_id: usage.request_id.to_owned(),
        tenant: usage.tenant.to_owned(),
        subject: (usage.subject != 0).then(|| format!("{:016x}", usage.subject)),
        agent: usage.agent.to_owned(),
        version: usage.version.to_owned(),
        surface: usage.surface.text(),
        depth: usage.depth,
        outcome: outcome.to_owned(),
        duration_us: usage.duration_us,
        worker_us: usage.worker_us,
        queue_us: usage.queue_us,
        cpu_us: Some(usage.cpu_us).filter(|time| *time > 0),
        peak_rss_kb: Some(usage.peak_rss_kb).filter(|size| *size > 0),
        bytes_in: usage.bytes_in,
        bytes_out: usage.bytes_out,
        tokens: serde_json::from_slice(usage.tokens).ok(),
    }
}
