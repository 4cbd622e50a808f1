//! The workers that are written in other languages, carried in the binary and written to the data directory at start.

use std::{
    io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

include!(concat!(env!("OUT_DIR"), "/worker_files.rs"));

/// The files of one worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Embedded {
    /// The folder that they are written to.
    folder: &'static str,
    /// The one that is run.
    program: &'static str,
    /// Name and content of each.
    files: &'static [(&'static str, &'static str)],
}

/// The package `pixell_runtime`.
pub(crate) const PYTHON: Embedded =
    Embedded { folder: "pixell_runtime", program: "__main__.py", files: PYTHON_FILES };

/// The worker for packages in JavaScript.
pub(crate) const NODE: Embedded = Embedded { folder: "node", program: "main.mjs", files: NODE_FILES };

impl Embedded {
    /// Writes the files below `directory` unless they are there, and returns the program. The directory's name carries
    /// the digest of the code, so that two versions of the binary can share a data directory.
    pub(crate) fn write(self, directory: &Path) -> io::Result<PathBuf> {
        let mut digest = Sha256::new();
        for (name, content) in self.files {
            digest.update(name.as_bytes());
            digest.update(content.as_bytes());
        }
        let name = hex::encode(digest.finalize());
        let home = directory.join(name.get(..16).unwrap_or("worker"));
        let program = home.join(self.folder).join(self.program);
        if program.is_file() {
            return Ok(program);
        }
        std::fs::create_dir_all(directory)?;
        let building = tempfile::Builder::new().prefix("building-").tempdir_in(directory)?;
        for (name, content) in self.files {
            let path = building.path().join(self.folder).join(name);
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
}
