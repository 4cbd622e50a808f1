//! Reading an archive: a zip file of a stranger enters, a read-only tree leaves, or a reason and nothing else.
//!
//! Headers are only ever believed to the archive's disadvantage: sizes are counted while inflating, checksums are
//! compared, names are checked before the first file is written, and an archive is refused whole.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use zip::{CompressionMethod, ZipArchive, read::ZipReadOptions, result::ZipError};

use self::names::{Kind, Names};
use super::{PullError, Step};

mod names;
#[cfg(test)]
pub(crate) mod tests;

/// Most entries, implied directories included. Real packages with vendored code have a few thousand; each costs an
/// inode in every store.
pub(crate) const MAX_ENTRIES: usize = 20_000;
/// Most bytes of all files together, whatever the package limit says.
const MAX_TOTAL: u64 = 2 << 30;
/// How much larger than the largest package its content may be: text compresses four to eight times.
const MAX_GROWTH: u64 = 10;
/// Highest compression of one entry, judged beyond [`RATIO_FROM`]. Repetitive JSON reaches 100; bombs 1,000.
const MAX_RATIO: u64 = 200;
/// Entries up to this size may compress as they like.
const RATIO_FROM: u64 = 1 << 20;

/// Why an archive was refused.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// Not a zip file, cut short or inconsistent.
    #[error("the archive is damaged or not a zip file: {0}")]
    Damaged(String),
    /// A name that must not become a path.
    #[error("the archive's entry {name:?} {what}")]
    Name {
        /// The entry, shortened.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The same path twice.
    #[error("the archive has two entries for {0:?}")]
    Duplicate(String),
    /// Two paths that some file system takes for one.
    #[error("the archive's entries {one:?} and {other:?} differ only in case or Unicode form")]
    Collision {
        /// One of them.
        one: String,
        /// The other.
        other: String,
    },
    /// A file where other entries need a directory.
    #[error("the archive has {0:?} both as a file and as a directory")]
    FileAndDirectory(String),
    /// A symlink, device or the like.
    #[error("the archive's entry {0:?} is neither a file nor a directory")]
    Special(String),
    /// A password would be needed.
    #[error("the archive's entry {0:?} is encrypted")]
    Encrypted(String),
    /// Neither stored nor deflated.
    #[error("the archive's entry {name:?} is compressed by {method}; only deflate is supported")]
    Compression {
        /// The entry.
        name: String,
        /// The method.
        method: String,
    },
    /// A bomb.
    #[error("the archive's entry {name:?} grows more than {MAX_RATIO} times")]
    Ratio {
        /// The entry.
        name: String,
    },
    /// A bomb of many parts.
    #[error("the archive's files have more than {0} bytes")]
    Total(u64),
    /// Too many names.
    #[error("the archive has more than {MAX_ENTRIES} entries")]
    Entries,
    /// Our disk.
    #[error("the package could not be written")]
    Disk(#[from] io::Error),
}

impl UnpackError {
    fn name(name: &str, what: &'static str) -> Self {
        Self::Name { name: name.chars().take(120).collect(), what }
    }
}

impl From<UnpackError> for PullError {
    fn from(error: UnpackError) -> Self {
        match &error {
            UnpackError::Disk(cause) => Self::disk(Step::Unpack, error.to_string(), cause),
            UnpackError::Damaged(_)
            | UnpackError::Name { .. }
            | UnpackError::Duplicate(_)
            | UnpackError::Collision { .. }
            | UnpackError::FileAndDirectory(_)
            | UnpackError::Special(_)
            | UnpackError::Encrypted(_)
            | UnpackError::Compression { .. }
            | UnpackError::Ratio { .. }
            | UnpackError::Total(_)
            | UnpackError::Entries => Self::refused(Step::Unpack, error.to_string()),
        }
    }
}

/// Most bytes of a package's files for the largest archive allowed.
pub(crate) fn total_limit(max_package_bytes: u64) -> u64 {
    max_package_bytes.saturating_mul(MAX_GROWTH).min(MAX_TOTAL)
}

/// One entry whose name and kind passed.
struct Admitted {
    index: usize,
    path: String,
    directory: bool,
    executable: bool,
}

/// Unpacks `archive` into the new directory `tree`. On an error the caller drops what is there.
pub fn unpack(archive: &Path, tree: &Path, max_package_bytes: u64) -> Result<(), UnpackError> {
    let mut file = File::open(archive)?;
    refuse_zip64(&mut file)?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    if zip.len() > MAX_ENTRIES {
        return Err(UnpackError::Entries);
    }
    if zip.has_duplicate_names() {
        return Err(UnpackError::Duplicate("one name".to_owned()));
    }
    if zip.has_overlapping_files().map_err(damaged)? {
        return Err(UnpackError::Damaged("entries share their bytes".to_owned()));
    }
    let limit = total_limit(max_package_bytes);
    let admitted = admit(&zip, limit)?;
    new_directory(tree)?;
    let mut left = limit;
    for entry in &admitted {
        if entry.directory {
            new_directory(&tree.join(&entry.path))?;
        } else {
            write(&mut zip, entry, tree, &mut left, limit)?;
        }
    }
    freeze(tree)?;
    Ok(())
}

/// Refuses archives whose directory needs zip64: none within our limits does, and the record would let an archive
/// name millions of entries that are read before they can be counted.
fn refuse_zip64(file: &mut File) -> Result<(), UnpackError> {
    const TAIL: u64 = (1 << 16) + 22 + 20;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    file.rewind()?;
    let end = tail.windows(4).rposition(|window| window == b"PK\x05\x06");
    let Some(end) = end else {
        return Err(UnpackError::Damaged("it has no end-of-directory record".to_owned()));
    };
    let locator = end.checked_sub(20).and_then(|at| tail.get(at..at + 4));
    if locator == Some(b"PK\x06\x07") {
        return Err(UnpackError::Entries);
    }
    Ok(())
}

fn admit(zip: &ZipArchive<BufReader<File>>, total_limit: u64) -> Result<Vec<Admitted>, UnpackError> {
    let mut names = Names::default();
    let mut admitted = Vec::with_capacity(zip.len());
    let mut total = 0_u64;
    for index in 0..zip.len() {
        let entry = zip.by_index_data(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?.into_owned();
        // The upper half is a Unix mode for every tool that sets it, whatever system the entry claims.
        let mode = entry.external_attributes() >> 16;
        let directory = name.ends_with('/');
        match mode & 0o170_000 {
            0 => {}
            0o100_000 if !directory => {}
            0o040_000 if directory => {}
            _ => return Err(UnpackError::Special(name.chars().take(120).collect())),
        }
        if entry.encrypted() {
            return Err(UnpackError::Encrypted(name));
        }
        if directory && entry.size() > 0 {
            return Err(UnpackError::name(&name, "is a directory with content"));
        }
        if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(UnpackError::Compression { name, method: entry.compression().to_string() });
        }
        if grows_too_much(entry.size(), entry.compressed_size()) {
            return Err(UnpackError::Ratio { name });
        }
        total = total.saturating_add(entry.size());
        if total > total_limit {
            return Err(UnpackError::Total(total_limit));
        }
        let kind = if directory { Kind::Directory } else { Kind::File };
        let path = names.admit(&name, kind)?;
        admitted.push(Admitted { index, path, directory, executable: mode & 0o111 != 0 });
    }
    Ok(admitted)
}

fn grows_too_much(size: u64, compressed: u64) -> bool {
    size > RATIO_FROM && size > compressed.saturating_mul(MAX_RATIO)
}

fn write(
    zip: &mut ZipArchive<BufReader<File>>,
    admitted: &Admitted,
    tree: &Path,
    left: &mut u64,
    limit: u64,
) -> Result<(), UnpackError> {
    let options = ZipReadOptions::new().enforce_header_consistency(true);
    let mut entry = zip.by_index_with_options(admitted.index, options).map_err(damaged)?;
    let (declared, compressed) = (entry.size(), entry.compressed_size());
    let path = tree.join(&admitted.path);
    if let Some(parent) = path.parent() {
        new_directory(parent)?;
    }
    let mode = if admitted.executable { 0o555 } else { 0o444 };
    let mut target = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let mut buffer = [0_u8; 16 * 1024];
    let mut size = 0_u64;
    loop {
        let read = entry
            .read(&mut buffer)
            .map_err(|error| UnpackError::Damaged(format!("{}: {error}", admitted.path)))?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        size += read as u64;
        *left = left.checked_sub(read as u64).ok_or(UnpackError::Total(limit))?;
        if grows_too_much(size, compressed) {
            return Err(UnpackError::Ratio { name: admitted.path.clone() });
        }
        target.write_all(part)?;
    }
    if size != declared {
        return Err(UnpackError::Damaged(format!(
            "{} has {size} bytes, not the {declared} declared",
            admitted.path
        )));
    }
    target.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn new_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes directories read-only; files already are.
pub(crate) fn freeze(tree: &Path) -> io::Result<()> {
    for entry in walkdir::WalkDir::new(tree).contents_first(true) {
        let entry = entry.map_err(io::Error::from)?;
        if entry.file_type().is_dir() {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o555))?;
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "used as a map_err function")]
fn damaged(error: ZipError) -> UnpackError {
    UnpackError::Damaged(error.to_string())
}
