//! The package's own project: a tree with a `setup.py` or `pyproject.toml` enters, a directory with what its build
//! installs leaves, and what it says it depends on.
//!
//! It is installed without dependencies into a directory of this package alone. The build gets a copy, because build
//! backends write into what they build.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    interpreter::Interpreter,
    tool::{Tools, arguments},
    venv,
    workshop::Cache,
};
use crate::package::{PullError, Step};

/// What a build needs.
pub(super) struct Order<'a> {
    pub(super) root: &'a Path,
    /// An environment of the interpreter, empty.
    pub(super) environment: &'a Path,
    pub(super) interpreter: &'a Interpreter,
    pub(super) uv: Option<&'a Path>,
    pub(super) wheelhouse: Option<&'a Path>,
}

/// Builds and installs the project into the new directory `layer`.
pub(super) async fn build(
    order: &Order<'_>,
    layer: PathBuf,
    tools: &Tools,
    deadline: Instant,
) -> Result<(), PullError> {
    let disk = |error: io::Error| {
        PullError::refused(Step::Environment, "the project could not be copied for its build")
            .with_log(error.to_string())
    };
    fs::create_dir_all(&layer).map_err(disk)?;
    let read = [order.environment, &order.interpreter.prefix].into_iter().chain(order.wheelhouse);
    let work = tools.workshop().map_err(disk)?.filling(&layer).reading(read);
    let copy = work.path().join("project");
    writable_copy(order.root, &copy).map_err(disk)?;
    let (program, mut command) = if let Some(uv) = order.uv {
        let python = venv::python(order.environment);
        let command = arguments([
            &"pip",
            &"install",
            &"--quiet",
            &"--no-deps",
            &"--no-sources",
            &"--compile-bytecode",
            &"--python",
            &python,
            &"--target",
            &layer,
        ]);
        (uv, command)
    } else {
        let command = arguments([&"-m", &"pip", &"install", &"--quiet", &"--no-deps", &"--target", &layer]);
        (order.interpreter.path.as_path(), command)
    };
    if let Some(wheelhouse) = order.wheelhouse {
        command.extend(arguments([&"--no-index", &"--find-links", &wheelhouse]));
    }
    command.extend(arguments([&copy]));
    let built = tools.install(program, &command, work.path(), (&work, Cache::Own), deadline).await;
    built.map_err(|error| tools.refusal("installing the package's own project", &error))?;
    venv::seal(layer).await
}

pub(super) fn writable_copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.map_err(io::Error::from)?;
        let Ok(relative) = entry.path().strip_prefix(from) else { continue };
        let target = to.join(relative);
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            let mode = entry.metadata().map_err(io::Error::from)?.permissions().mode();
            fs::set_permissions(&target, fs::Permissions::from_mode(mode | 0o600))?;
        }
    }
    Ok(())
}

/// What the installed project depends on, extras left out.
pub(super) fn dependencies(layer: &Path) -> Vec<String> {
    let entries = fs::read_dir(layer).into_iter().flatten().flatten().map(|entry| entry.path());
    let metadata = entries.filter(|path| path.extension().is_some_and(|extension| extension == "dist-info"));
    let texts = metadata.filter_map(|path| fs::read_to_string(path.join("METADATA")).ok());
    texts.flat_map(|text| requires(&text)).collect()
}

fn requires(metadata: &str) -> Vec<String> {
    let head = metadata.lines().take_while(|line| !line.is_empty());
    let required = head.filter_map(|line| line.strip_prefix("Requires-Dist:")).map(str::trim);
    let is_extra = |line: &str| line.split_once(';').is_some_and(|(_, marker)| marker.contains("extra"));
    required.filter(|line| !is_extra(line)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extras_and_descriptions_are_no_dependencies() {
        let metadata = "Metadata-Version: 2.1\nRequires-Dist: six>=1\nRequires-Dist: x; extra == \"dev\"\n\
            Requires-Dist: idna (<4) ; python_version > \"3.8\"\n\nRequires-Dist: text\n";
        assert_eq!(requires(metadata), ["six>=1", "idna (<4) ; python_version > \"3.8\""]);
    }
}
