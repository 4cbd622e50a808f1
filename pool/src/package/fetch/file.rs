//! Local files: a path enters, a hashed copy or a small document leaves.

use std::{
    fs::{File, Metadata},
    io::{ErrorKind, Read, Write},
    path::Path,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use par_proto::ids::Digest;
use sha2::{Digest as _, Sha256};

use super::{Document, Fetched, SIZE_HINT, Stamp, Validator, too_large};
use crate::package::{Cause, PullError, Step, store::Scratch};

/// A file written less than this before it was read may be written again under the same time stamp, because
/// the kernel stamps with the granularity of its tick (at most 10 ms); it gets no validator.
const FRESH: Duration = Duration::from_millis(20);

/// Copies a local archive. Hashing the copy, not the original, makes later changes of the original harmless.
pub(super) fn copy(from: &Path, to: Scratch, max_bytes: u64) -> Result<Fetched, PullError> {
    let name = name(from);
    let (mut source, _) = open(from)?;
    let disk = |error: &std::io::Error| {
        PullError::disk(Step::Fetch, format!("the archive {name} could not be copied"), error)
    };
    let mut target = File::create_new(to.path()).map_err(|error| disk(&error))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 128 * 1024];
    let mut bytes = 0_u64;
    loop {
        let read = source.read(&mut buffer).map_err(|error| unreadable(from, &error))?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        bytes += part.len() as u64;
        if bytes > max_bytes {
            return Err(too_large(&name, max_bytes).with_hint(SIZE_HINT));
        }
        hash.update(part);
        target.write_all(part).map_err(|error| disk(&error))?;
    }
    Ok(Fetched { file: to, digest: Digest::new(hash.finalize().into()), bytes })
}

/// Reads a small file, unless it is the one that is known.
pub(super) fn document(
    path: &Path,
    known: Option<&Validator>,
    max_bytes: u64,
) -> Result<Document, PullError> {
    let (file, metadata) = open(path)?;
    let stamp = Stamp::of(&metadata);
    if known == Some(&Validator::File(stamp)) {
        return Ok(Document::Unchanged);
    }
    let mut bytes = Vec::new();
    let read = file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_large(&name(path), max_bytes));
    }
    let settled = metadata
        .modified()
        .is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|age| age >= FRESH));
    Ok(Document::Changed { bytes: Bytes::from(bytes), validator: settled.then_some(Validator::File(stamp)) })
}

fn open(path: &Path) -> Result<(File, Metadata), PullError> {
    let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (file, metadata) = opened.map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() {
        return Err(PullError::refused(Step::Fetch, format!("{} is not a file", name(path))));
    }
    Ok((file, metadata))
}

fn unreadable(path: &Path, error: &std::io::Error) -> PullError {
    let name = name(path);
    let refused = |what: &str| PullError::refused(Step::Fetch, format!("the file {name} {what}"));
    let refused = if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
        refused("does not exist").because(Cause::Missing)
    } else if error.kind() == ErrorKind::PermissionDenied {
        refused("may not be read").because(Cause::Forbidden)
    } else {
        refused("could not be read")
    };
    refused.with_log(format!("{}: {error}", path.display()))
}

/// A path as clients may see it.
fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
