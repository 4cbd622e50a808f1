//! A download in the making: answers enter part by part, possibly over several tries, a [`Fetched`] leaves.

use std::fs::File;

use bytes::Bytes;
use par_proto::ids::Digest;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWriteExt, BufWriter};

use super::{
    Fetched, SIZE_HINT,
    answer::{Answer, Wish},
    fault::Fault,
    too_large,
};
use crate::package::{
    PullError, Step,
    store::{Scratch, Store},
};

/// Bytes that have come so far. The file goes with this value, so nothing half-written stays.
#[derive(Debug)]
pub(super) struct Partial {
    file: Scratch,
    target: BufWriter<tokio::fs::File>,
    hash: Sha256,
    bytes: u64,
    total: Option<u64>,
    tag: Option<String>,
    max_bytes: u64,
}

impl Partial {
    /// An empty file of the store.
    pub(super) fn new(store: &Store, max_bytes: u64) -> Result<Self, PullError> {
        let file = store.scratch();
        // Made here and not on another thread: who drops this future at its first pause leaves no file
        // behind.
        let target = File::create_new(file.path()).map_err(|error| disk(&error))?;
        let target = BufWriter::with_capacity(128 * 1024, tokio::fs::File::from_std(target));
        Ok(Self { file, target, hash: Sha256::new(), bytes: 0, total: None, tag: None, max_bytes })
    }

    /// What the next try should ask for.
    pub(super) fn wish(&self) -> Wish<'_> {
        match &self.tag {
            Some(tag) if self.bytes > 0 => Wish::Rest { from: self.bytes, tag },
            Some(_) | None => Wish::Whole,
        }
    }

    /// Makes the next try begin at the first byte.
    pub(super) fn forget(&mut self) {
        self.tag = None;
    }

    /// Takes note of an answer before its bytes come; one from the first byte replaces what is there.
    pub(super) fn begin(&mut self, place: &str, answer: &Answer, store: &Store) -> Result<(), Fault> {
        if answer.total.is_some_and(|total| total > self.max_bytes) {
            return Err(too_large(place, self.max_bytes).with_hint(SIZE_HINT).into());
        }
        if answer.from == 0 {
            if self.bytes > 0 {
                *self = Self::new(store, self.max_bytes)?;
            }
            (self.total, self.tag) = (answer.total, answer.strong_tag());
            return Ok(());
        }
        let other_length = answer.total.is_some() && self.total.is_some() && answer.total != self.total;
        if answer.from != self.bytes || other_length {
            return Err(Fault::changed(place));
        }
        self.total = self.total.or(answer.total);
        Ok(())
    }

    /// Takes bytes.
    pub(super) async fn take(&mut self, place: &str, part: &Bytes) -> Result<(), Fault> {
        let bytes = self.bytes + part.len() as u64;
        if bytes > self.max_bytes {
            return Err(too_large(place, self.max_bytes).with_hint(SIZE_HINT).into());
        }
        self.target.write_all(part).await.map_err(|error| disk(&error))?;
        self.hash.update(part);
        self.bytes = bytes;
        Ok(())
    }

    /// Takes note of the end of an answer.
    pub(super) async fn end(&mut self, place: &str) -> Result<(), Fault> {
        self.target.flush().await.map_err(|error| disk(&error))?;
        match self.total {
            Some(total) if self.bytes < total => {
                Err(Fault::transient(format!("{place} broke off after {} of {total} bytes", self.bytes)))
            }
            Some(total) if self.bytes > total => Err(Fault::changed(place)),
            Some(_) | None => Ok(()),
        }
    }

    /// How much is here, and of how much, if that is known.
    pub(super) fn progress(&self) -> (u64, Option<u64>) {
        (self.bytes, self.total)
    }

    /// The finished download.
    pub(super) fn fetched(self) -> Fetched {
        Fetched { file: self.file, digest: Digest::new(self.hash.finalize().into()), bytes: self.bytes }
    }
}

fn disk(error: &std::io::Error) -> PullError {
    PullError::disk(Step::Fetch, "the download could not be written", error)
}
