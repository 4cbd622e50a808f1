//! Which interpreters packages may run on, for whoever only wants to know.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{interpreters::Interpreters, tool::Tools};

/// An interpreter of this host, as it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// Its real path.
    pub path: PathBuf,
    /// Major, minor, patch.
    pub version: [u8; 3],
}

/// All interpreters that packages may run on, of each minor the first, `python3` before the others. `given`: those that
/// are configured; empty: those on PATH. What running them writes goes below `scratch`.
///
/// # Errors
/// `scratch` cannot be written.
pub async fn pythons(given: &[PathBuf], scratch: &Path) -> io::Result<Vec<Python>> {
    let tools = Tools::new(scratch, None)?;
    let found = Interpreters::new(given, tools, scratch.join("interpreters.json")).all().await;
    Ok(found.into_iter().map(|found| Python { path: found.path, version: found.version }).collect())
}
