//! The Python half of the workers, carried in the binary and written to the data directory at start.

use std::{
    io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

include!(concat!(env!("OUT_DIR"), "/worker_files.rs"));

/// Writes the package `pixell_runtime` below `directory` unless it is there, and returns its `__main__.py`. The
/// directory's name carries the digest of the code, so that two versions of the binary can share a data directory.
pub(crate) fn write(directory: &Path) -> io::Result<PathBuf> {
    let mut digest = Sha256::new();
    for (name, content) in WORKER_FILES {
        digest.update(name.as_bytes());
        digest.update(content.as_bytes());
    }
    let name = hex::encode(digest.finalize());
    let home = directory.join(name.get(..16).unwrap_or("worker"));
    let program = home.join("pixell_runtime").join("__main__.py");
    if program.is_file() {
        return Ok(program);
    }
    std::fs::create_dir_all(directory)?;
    let building = tempfile::Builder::new().prefix("building-").tempdir_in(directory)?;
    for (name, content) in WORKER_FILES {
        let path = building.path().join("pixell_runtime").join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, content)?;
    }
    let built = building.keep();
    match std::fs::rename(&built, &home) {
        Ok(()) => Ok(program),
        // Another process was faster with the same code.
        Err(_) if program.is_file() => {
            std::fs::remove_dir_all(&built)?;
            Ok(program)
        }
        Err(error) => Err(error),
    }
}
