//! `par env refresh`: requirements may get newer versions. Works on the data directory, whether a `par` runs or not.

use std::{io::Write, path::Path};

use par_pool::package::forget_resolutions;
use serde_json::json;

use super::{Exit, Failure};

/// Forgets what requirements were resolved to, and tells how many sets there were.
pub(super) fn refresh(data_dir: &Path, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let forgotten = forget_resolutions(data_dir).map_err(|error| {
        let place = data_dir.display();
        Failure::new(Exit::Failed, format!("what is kept in {place} cannot be forgotten: {error}"))
    })?;
    if json {
        return Ok(writeln!(out, "{}", json!({"forgotten": forgotten}))?);
    }
    match forgotten {
        0 => writeln!(out, "nothing was resolved in {}", data_dir.display())?,
        1 => writeln!(out, "1 set of requirements is resolved anew at its next install")?,
        more => writeln!(out, "{more} sets of requirements are resolved anew at their next install")?,
    }
    Ok(())
}
