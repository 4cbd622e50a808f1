//! Whose the data directory is.

use std::{fs, io, os::unix::fs::PermissionsExt as _};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};

use crate::config::Config;

/// Makes the data directory ours: two processes on one would overwrite each other's state.
pub(crate) fn claim(config: &Config) -> anyhow::Result<fs::File> {
    let directory = &config.data_dir;
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    let file = fs::File::create(directory.join("lock"))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(io::Error::from)
        .with_context(|| format!("another par uses {}", directory.display()))?;
    match fs::remove_dir_all(directory.join("run")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        Ok(()) | Err(_) => Ok(file),
    }
}
