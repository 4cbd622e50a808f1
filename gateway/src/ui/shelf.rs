//! Contents of files: small ones are kept in memory, large ones are read piece by piece as they are sent.

use std::{io, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use http::HeaderValue;
use quick_cache::{Weighter, sync::Cache};
use tokio::task::spawn_blocking;

use super::file::{Variant, changed};

/// Largest file that is kept. Bundles and pictures are smaller; with half of it the larger bundles would be read from
/// the disk again and again.
const SMALL: u64 = 4 << 20;

/// Bytes of all files that are kept, of all packages.
const ROOM: u64 = 64 << 20;

/// Files that are expected to be kept.
const FILES: usize = 1024;

/// What a file weighs beside its bytes.
const OVERHEAD: u64 = 128;

/// Bytes that are read of a large file at a time.
const PIECE: u64 = 256 * 1024;

/// What is kept in memory, for all packages.
#[derive(Debug)]
pub(crate) struct Shelf {
    contents: Cache<u64, Bytes, Weight>,
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<u64, Bytes> for Weight {
    fn weight(&self, _number: &u64, content: &Bytes) -> u64 {
        content.len() as u64 + OVERHEAD
    }
}

/// A file, ready to be sent.
#[derive(Debug)]
pub(crate) struct Content {
    /// `ETag`.
    pub(crate) tag: HeaderValue,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Memory(Bytes),
    Disk { file: Arc<std::fs::File>, variant: Arc<Variant> },
}

impl Shelf {
    /// Nothing is kept yet.
    pub(crate) fn new() -> Self {
        Self { contents: Cache::with_weighter(FILES, ROOM, Weight) }
    }

    /// The content of a file.
    ///
    /// # Errors
    /// If it cannot be read, or is not what it was when the package was mounted.
    pub(crate) async fn take(&self, variant: &Arc<Variant>) -> io::Result<Content> {
        if let Some(content) = self.contents.get(&variant.number) {
            return Ok(Content { tag: variant.tag_of(&content), source: Source::Memory(content) });
        }
        let wanted = Arc::clone(variant);
        let read = spawn_blocking(move || read(wanted)).await;
        let content = read.map_err(io::Error::other)??;
        if let Source::Memory(bytes) = &content.source {
            self.contents.insert(variant.number, bytes.clone());
        }
        Ok(content)
    }
}

fn read(variant: Arc<Variant>) -> io::Result<Content> {
    if variant.size <= SMALL {
        let file = variant.open()?;
        let mut bytes = vec![0; usize::try_from(variant.size).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        let bytes = Bytes::from(bytes);
        return Ok(Content { tag: variant.tag_of(&bytes), source: Source::Memory(bytes) });
    }
    let tag = match variant.known_tag() {
        Some(tag) => tag.clone(),
        None => variant.read_tag()?,
    };
    Ok(Content { tag, source: Source::Disk { file: Arc::new(variant.open()?), variant } })
}

impl Content {
    /// Bytes that are in no file.
    pub(crate) fn made(bytes: Bytes) -> Self {
        Self { tag: HeaderValue::from_static(""), source: Source::Memory(bytes) }
    }

    /// The next bytes from `at` until before `end`: some of them, and all if they are in memory.
    ///
    /// # Errors
    /// If the disk fails or the file is shorter than it was.
    pub(crate) async fn next(&self, at: u64, end: u64) -> io::Result<Bytes> {
        match &self.source {
            Source::Memory(bytes) => {
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(place(at)..place(end)))
            }
            Source::Disk { file, variant } => {
                let (file, variant) = (Arc::clone(file), Arc::clone(variant));
                let length = end.saturating_sub(at).min(PIECE);
                let piece = move || {
                    let mut piece = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                    match file.read_exact_at(&mut piece, at) {
                        Ok(()) => Ok(Bytes::from(piece)),
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                            Err(changed(&variant.path))
                        }
                        Err(error) => Err(error),
                    }
                };
                spawn_blocking(piece).await.map_err(io::Error::other)?
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::ui::{Found, Site};

    fn variant(directory: &tempfile::TempDir, content: &[u8]) -> Arc<Variant> {
        fs::write(directory.path().join("file"), content).unwrap();
        let site = Site::open(directory.path(), "/").unwrap();
        let Found::File(file) = site.find("/file", false) else { panic!("it is there") };
        Arc::clone(&file.plain)
    }

    async fn all(content: &Content, size: u64) -> Vec<u8> {
        let mut all = Vec::new();
        while (all.len() as u64) < size {
            all.extend_from_slice(&content.next(all.len() as u64, size).await.unwrap());
        }
        all
    }

    #[tokio::test]
    async fn small_files_come_from_memory_and_large_ones_in_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::new();
        for size in [0, 10, SMALL, SMALL + 1] {
            let written: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let variant = variant(&directory, &written);
            let content = shelf.take(&variant).await.unwrap();
            assert_eq!(matches!(content.source, Source::Memory(_)), size <= SMALL);
            assert!(all(&content, size).await == written, "{size}");
            let again = shelf.take(&variant).await.unwrap();
            assert_eq!(content.tag, again.tag);
        }
        assert_eq!(shelf.contents.len(), 3);
    }

    #[tokio::test]
    async fn another_content_has_another_tag_and_a_changed_file_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let (shelf, first) = (Shelf::new(), variant(&directory, b"one"));
        let tag = shelf.take(&first).await.unwrap().tag;
        assert!(tag.as_bytes().starts_with(b"\"") && tag.len() == 34, "{tag:?}");
        let second = variant(&directory, b"two");
        assert_ne!(shelf.take(&second).await.unwrap().tag, tag);
        let third = variant(&directory, b"three");
        fs::write(directory.path().join("file"), "longer than before").unwrap();
        assert_eq!(shelf.take(&third).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn what_is_kept_has_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::new();
        let big = vec![7; usize::try_from(SMALL).unwrap()];
        for _ in 0..40 {
            shelf.take(&variant(&directory, &big)).await.unwrap();
        }
        assert!(shelf.contents.weight() <= ROOM);
    }
}
