//! Getting the bytes: a location enters, a temporary file with the digest of what was read leaves.
//!
//! [`Remote`] is the front door. Bytes are counted and hashed while they are read. Causes that may go away
//! are tried again within the one download timeout; error texts name host and path, never credentials or
//! queries.

use std::os::unix::fs::MetadataExt;

use bytes::Bytes;
use par_proto::ids::Digest;

use super::{Cause, PullError, Step, store::Scratch};

mod answer;
mod fault;
mod file;
mod https;
mod partial;
mod progress;
mod remote;
mod resolver;
mod s3;
mod tries;

pub use remote::Remote;
pub use s3::S3Settings;

/// Bytes on disk and their digest; they go when this is dropped.
#[derive(Debug)]
pub struct Fetched {
    /// The file.
    pub file: Scratch,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

/// A small document, read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// It is what it was when the validator was made.
    Unchanged,
    /// Its content now.
    Changed {
        /// All of it.
        bytes: Bytes,
        /// What tells this content from the next, if its place offers such a thing.
        validator: Option<Validator>,
    },
}

/// What a place said about a document's content, to ask it next time whether that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validator {
    /// Of a server.
    Server {
        /// Its `ETag`.
        tag: Option<String>,
        /// Its `Last-Modified`.
        modified: Option<String>,
    },
    /// Of a file.
    File(Stamp),
}

/// Which file it is and when it was written; two equal ones have the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn too_large(place: &str, max_bytes: u64) -> PullError {
    PullError::refused(Step::Fetch, format!("{place} is larger than the {max_bytes} bytes allowed"))
        .because(Cause::TooLarge)
}

/// The hint of a package that is too large.
const SIZE_HINT: &str = "MAX_PACKAGE_SIZE_MB sets the limit";

#[cfg(test)]
pub(crate) mod tests;
