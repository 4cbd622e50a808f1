//! A package directory: a directory that somebody edits enters, an immutable copy and its digest leave.
//!
//! The digest covers sorted relative paths, executable bits and contents of what is copied; caches, environments and
//! version control are left out. The copy is what runs, so editing never touches a running generation.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use par_proto::ids::Digest;
use sha2::{Digest as _, Sha256};
use walkdir::{DirEntry, WalkDir};

use super::{
    PullError, Step,
    unpack::{MAX_ENTRIES, freeze, total_limit},
};

/// Directories that are never part of a package.
const SKIPPED_DIRECTORIES: [&str; 14] = [
    ".git",
    ".hg",
    ".svn",
    "__pycache__",
    ".venv",
    "venv",
    "node_modules",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".nox",
    ".idea",
    ".ipynb_checkpoints",
];
/// Endings of files that are never part of a package.
const SKIPPED_ENDINGS: [&str; 5] = [".pyc", ".pyo", ".swp", ".apkg", ".DS_Store"];

/// Copies `from` into the new directory `tree` and returns the digest of what was copied.
pub fn copy(from: &Path, tree: &Path, max_package_bytes: u64) -> Result<Digest, PullError> {
    let root = from.canonicalize().map_err(|error| {
        PullError::refused(Step::Fetch, "the package directory cannot be read")
            .with_log(format!("{}: {error}", from.display()))
    })?;
    let mut copy = Copy { root, left: total_limit(max_package_bytes), entries: 0, hash: Sha256::new() };
    fs::create_dir_all(tree).map_err(|error| disk(tree, &error))?;
    let walk =
        WalkDir::new(&copy.root).sort_by_file_name().into_iter().filter_entry(|entry| !is_skipped(entry));
    for entry in walk {
        let entry = entry.map_err(|error| {
            PullError::refused(Step::Fetch, "the package directory cannot be read")
                .with_log(error.to_string())
        })?;
        copy.take(&entry, tree, max_package_bytes)?;
    }
    freeze(tree).map_err(|error| disk(tree, &error))?;
    Ok(Digest::new(copy.hash.finalize().into()))
}

/// What a tree holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// The digest of every file in it, as [`copy`] computes it of what it copies.
    pub digest: Digest,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Reads a whole tree of the store, in which nothing is skipped: a file that was added counts as much as one that
/// was changed. What is neither a file nor a directory is invalid data.
pub fn content(tree: &Path) -> io::Result<Content> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    for entry in WalkDir::new(tree).sort_by_file_name() {
        let entry = entry?;
        let kind = entry.file_type();
        if kind.is_dir() {
            continue;
        }
        let shown = entry.path().strip_prefix(tree).unwrap_or(entry.path());
        if !kind.is_file() {
            let what = format!("{} is neither a file nor a directory", shown.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let mut file = File::open(entry.path())?;
        let executable = file.metadata()?.permissions().mode() & 0o100 != 0;
        let (length, content) = digest(&mut file)?;
        add(&mut hash, shown, executable, length, content);
        bytes += length;
    }
    Ok(Content { digest: Digest::new(hash.finalize().into()), bytes })
}

fn digest(file: &mut File) -> io::Result<(u64, [u8; 32])> {
    let (mut hash, mut length) = (Sha256::new(), 0);
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        hash.update(part);
        length += read as u64;
    }
    Ok((length, hash.finalize().into()))
}

/// Adds one file to the digest of a tree. Lengths make the concatenation unambiguous.
fn add(hash: &mut Sha256, relative: &Path, executable: bool, length: u64, content: [u8; 32]) {
    let path = relative.as_os_str().as_encoded_bytes();
    hash.update((path.len() as u64).to_le_bytes());
    hash.update(path);
    hash.update([u8::from(executable)]);
    hash.update(length.to_le_bytes());
    hash.update(content);
}

struct Copy {
    root: PathBuf,
    left: u64,
    entries: usize,
    hash: Sha256,
}

impl Copy {
    fn take(&mut self, entry: &DirEntry, tree: &Path, max_package_bytes: u64) -> Result<(), PullError> {
        let Ok(relative) = entry.path().strip_prefix(&self.root) else { return Ok(()) };
        if relative.as_os_str().is_empty() {
            return Ok(());
        }
        let shown = relative.display();
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            let detail = format!("the package directory has more than {MAX_ENTRIES} entries");
            return Err(PullError::refused(Step::Unpack, detail));
        }
        let target = tree.join(relative);
        let kind = entry.file_type();
        if kind.is_dir() {
            return fs::create_dir(&target).map_err(|error| disk(&target, &error));
        }
        let from = if kind.is_symlink() {
            self.resolve(entry.path()).ok_or_else(|| {
                let detail = format!("the symlink {shown} does not lead to a file of the package directory");
                PullError::refused(Step::Unpack, detail)
            })?
        } else if kind.is_file() {
            entry.path().to_path_buf()
        } else {
            return Err(PullError::refused(
                Step::Unpack,
                format!("{shown} is neither a file nor a directory"),
            ));
        };
        let (executable, length, content) = self.copy_file(&from, &target).map_err(|error| match error {
            CopyError::Disk(error) => disk(&from, &error),
            CopyError::TooLarge => {
                let limit = total_limit(max_package_bytes);
                PullError::refused(Step::Unpack, format!("the package directory has more than {limit} bytes"))
            }
        })?;
        add(&mut self.hash, relative, executable, length, content);
        Ok(())
    }

    /// The file behind a symlink, if it is one of the package's own.
    fn resolve(&self, link: &Path) -> Option<PathBuf> {
        let target = link.canonicalize().ok()?;
        (target.starts_with(&self.root) && target.is_file()).then_some(target)
    }

    fn copy_file(&mut self, from: &Path, to: &Path) -> Result<(bool, u64, [u8; 32]), CopyError> {
        let mut source = File::open(from)?;
        let executable = source.metadata()?.permissions().mode() & 0o100 != 0;
        let mut target = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        let mut hash = Sha256::new();
        let mut length = 0_u64;
        let mut buffer = [0_u8; 16 * 1024];
        loop {
            let read = source.read(&mut buffer)?;
            let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
            self.left = self.left.checked_sub(read as u64).ok_or(CopyError::TooLarge)?;
            length += read as u64;
            hash.update(part);
            target.write_all(part)?;
        }
        target.set_permissions(fs::Permissions::from_mode(if executable { 0o555 } else { 0o444 }))?;
        Ok((executable, length, hash.finalize().into()))
    }
}

enum CopyError {
    Disk(std::io::Error),
    TooLarge,
}

impl From<std::io::Error> for CopyError {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error)
    }
}

fn disk(path: &Path, error: &std::io::Error) -> PullError {
    PullError::disk(Step::Unpack, "the package directory could not be copied", error)
        .with_log(format!("{}: {error}", path.display()))
}

fn is_skipped(entry: &DirEntry) -> bool {
    if entry.depth() == 0 {
        return false;
    }
    let name = entry.file_name().to_string_lossy();
    SKIPPED_DIRECTORIES.contains(&&*name)
        || SKIPPED_ENDINGS.iter().any(|ending| name.ends_with(ending))
        || (entry.file_type().is_dir() && entry.path().join("pyvenv.cfg").is_file())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn digest(from: &Path) -> Result<Digest, PullError> {
        let target = tempfile::tempdir().unwrap();
        copy(from, &target.path().join("tree"), 1 << 20)
    }

    fn package() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("src")).unwrap();
        fs::write(directory.path().join("agent.yaml"), "name: a").unwrap();
        fs::write(directory.path().join("src/main.py"), "x = 1").unwrap();
        directory
    }

    #[test]
    fn the_digest_follows_content_paths_and_executable_bits_only() {
        let package = package();
        let before = digest(package.path()).unwrap();
        for skipped in [
            ".git/HEAD",
            "src/__pycache__/main.cpython-311.pyc",
            ".venv/bin/python",
            "env/pyvenv.cfg",
            "a.apkg",
        ] {
            let path = package.path().join(skipped);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        assert_eq!(digest(package.path()).unwrap(), before);
        fs::set_permissions(package.path().join("src/main.py"), fs::Permissions::from_mode(0o755)).unwrap();
        let executable = digest(package.path()).unwrap();
        fs::rename(package.path().join("src/main.py"), package.path().join("src/other.py")).unwrap();
        let renamed = digest(package.path()).unwrap();
        fs::write(package.path().join("src/other.py"), "x = 2").unwrap();
        let changed = digest(package.path()).unwrap();
        let all = std::collections::BTreeSet::from([before, executable, renamed, changed]);
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn the_content_of_a_copy_has_the_digest_of_the_copying() {
        let package = package();
        fs::write(package.path().join("src/skipped.pyc"), "x").unwrap();
        let target = tempfile::tempdir().unwrap();
        let tree = target.path().join("tree");
        let digest = copy(package.path(), &tree, 1 << 20).unwrap();
        assert_eq!(content(&tree).unwrap(), Content { digest, bytes: 12 });
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(tree.join("extra.pyc"), "x").unwrap();
        assert_ne!(content(&tree).unwrap().digest, digest);
        fs::remove_file(tree.join("extra.pyc")).unwrap();
        assert_eq!(content(&tree).unwrap().digest, digest);
        symlink("agent.yaml", tree.join("link")).unwrap();
        assert_eq!(content(&tree).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(content(&tree.join("missing")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn symlinks_that_leave_the_directory_are_refused() {
        let inside = package();
        symlink("src/main.py", inside.path().join("link.py")).unwrap();
        let target = tempfile::tempdir().unwrap();
        copy(inside.path(), &target.path().join("tree"), 1 << 20).unwrap();
        let copied = target.path().join("tree/link.py");
        assert!(fs::symlink_metadata(&copied).unwrap().is_file());
        assert_eq!(fs::read_to_string(&copied).unwrap(), "x = 1");
        for leaving in ["/etc/hostname", "../", "missing", "src"] {
            let outside = package();
            symlink(leaving, outside.path().join("link")).unwrap();
            assert_eq!(digest(outside.path()).unwrap_err().step, Step::Unpack, "{leaving}");
        }
    }

    #[test]
    fn a_directory_larger_than_the_limit_is_refused() {
        let package = package();
        fs::write(package.path().join("big"), vec![0_u8; 3000]).unwrap();
        let target = tempfile::tempdir().unwrap();
        let error = copy(package.path(), &target.path().join("tree"), 200).unwrap_err();
        assert!(error.detail.contains("more than 2000 bytes"), "{error}");
    }
}
