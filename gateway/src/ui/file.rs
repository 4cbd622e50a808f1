//! One file of a UI, in the forms in which the package has it.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::UNIX_EPOCH,
};

use http::{HeaderMap, HeaderValue};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use super::{coding, coding::Coding, date::http_date, name};

/// Bytes of a hash in an `ETag`: 128 bits never meet by chance.
const TAG: usize = 16;

/// Bytes that are hashed at a time.
const PIECE: usize = 64 * 1024;

/// A file and its packed forms.
#[derive(Debug)]
pub(crate) struct File {
    /// `Content-Type`.
    pub(crate) kind: HeaderValue,
    /// Whether its name changes with its content.
    pub(crate) is_hashed: bool,
    /// As it is.
    pub(crate) plain: Arc<Variant>,
    /// Packed by whoever made the package.
    pub(crate) packed: Vec<(Coding, Arc<Variant>)>,
}

/// One form of a file. Its content never changes: a package that changes is another one.
#[derive(Debug)]
pub(crate) struct Variant {
    /// Names it among all that are kept in memory.
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// Bytes.
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) modified: u64,
    /// `Last-Modified`.
    pub(crate) date: HeaderValue,
    tag: OnceLock<HeaderValue>,
}

impl File {
    /// A file of this name; the packed forms are found by the names of others.
    pub(super) fn new(name: &str, plain: Arc<Variant>) -> Self {
        let kind = HeaderValue::from_str(&name::content_type(name))
            .unwrap_or(HeaderValue::from_static("application/octet-stream"));
        Self { kind, is_hashed: name::is_hashed(name), plain, packed: Vec::new() }
    }

    /// The form that a client is sent, and how that is packed.
    pub(crate) fn form(&self, headers: &HeaderMap) -> (&Arc<Variant>, Option<Coding>) {
        let chosen = coding::choose(headers, self.packed.iter().map(|(coding, _)| *coding));
        let packed = self.packed.iter().find(|(coding, _)| Some(*coding) == chosen);
        packed.map_or((&self.plain, None), |(coding, variant)| (variant, Some(*coding)))
    }
}

impl Variant {
    /// A file on the disk.
    pub(super) fn new(path: PathBuf, facts: &fs::Metadata) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let since = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = since.map_or(0, |since| since.as_secs());
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            path,
            size: facts.len(),
            modified,
            date: HeaderValue::from_str(&http_date(modified)).unwrap_or(HeaderValue::from_static("")),
            tag: OnceLock::new(),
        }
    }

    /// `ETag`, if it was ever read.
    pub(super) fn known_tag(&self) -> Option<&HeaderValue> {
        self.tag.get()
    }

    /// `ETag` of this content.
    pub(super) fn tag_of(&self, content: &[u8]) -> HeaderValue {
        self.tag.get_or_init(|| tag(&Sha256::digest(content))).clone()
    }

    /// Reads the whole file to know its `ETag`. Blocks.
    pub(super) fn read_tag(&self) -> io::Result<HeaderValue> {
        let mut file = self.open()?;
        let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE]);
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                return Ok(self.tag.get_or_init(|| tag(&hash.finalize())).clone());
            }
            hash.update(piece.get(..read).unwrap_or_default());
        }
    }

    /// Opens it. A link that has taken its place is not followed, and another length is another file. Blocks.
    pub(super) fn open(&self) -> io::Result<fs::File> {
        let no_link = OFlags::NOFOLLOW.bits().cast_signed();
        let file = fs::OpenOptions::new().read(true).custom_flags(no_link).open(&self.path)?;
        if file.metadata()?.len() == self.size { Ok(file) } else { Err(changed(&self.path)) }
    }
}

/// A file is not what it was when the package was mounted.
pub(super) fn changed(path: &Path) -> io::Error {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    io::Error::new(io::ErrorKind::InvalidData, format!("{name} has changed since the package was mounted"))
}

fn tag(digest: &[u8]) -> HeaderValue {
    let text = format!("\"{}\"", hex::encode(digest.get(..TAG).unwrap_or(digest)));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"\""))
}
