//! Virtual environments: an interpreter and what to install enter, a read-only directory leaves.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    interpreter::Interpreter,
    tool::{ToolError, Tools, arguments},
    workshop::{Cache, Workshop},
};
use crate::package::{PullError, Step, errand};

/// Largest environment. CPU builds of torch stay below; CUDA ones do not and belong into the image.
const MAX_BYTES: u64 = 2 << 30;

/// The interpreter of an environment.
pub(super) fn python(environment: &Path) -> PathBuf {
    environment.join("bin/python")
}

/// Makes an empty environment. Without pip it takes 50 ms, with it five seconds.
pub(super) async fn create(
    interpreter: &Interpreter,
    environment: &Path,
    tools: &Tools,
    deadline: Instant,
) -> Result<(), PullError> {
    let command = arguments([&"-I", &"-m", &"venv", &"--without-pip", &environment]);
    let made = tools.run(&interpreter.path, &command, deadline).await;
    made.map(drop).map_err(|error| tools.refusal("creating the environment", &error))
}

/// What an installer installs.
pub(super) struct Order<'a> {
    /// A requirements file.
    pub(super) requirements: &'a Path,
    /// A file of constraints; may be empty.
    pub(super) constraints: Option<&'a Path>,
    /// Whether the file has hashes for all of it.
    pub(super) hashed: bool,
    /// Where relative places start.
    pub(super) directory: &'a Path,
    /// Where the installer works.
    pub(super) workshop: &'a Workshop,
    /// Wheels instead of an index.
    pub(super) wheelhouse: Option<&'a Path>,
}

/// Installs into an environment: by uv where there is one, else by the interpreter's pip.
pub(super) async fn install(
    order: &Order<'_>,
    interpreter: &Interpreter,
    environment: &Path,
    uv: Option<&Path>,
    tools: &Tools,
    deadline: Instant,
) -> Result<(), PullError> {
    let mut options = arguments([&"-r", &order.requirements]);
    if order.hashed {
        options.extend(arguments([&"--require-hashes"]));
    }
    if let Some(constraints) = order.constraints {
        options.extend(arguments([&"-c", &constraints]));
    }
    if let Some(wheelhouse) = order.wheelhouse {
        options.extend(arguments([&"--no-index", &"--find-links", &wheelhouse]));
    }
    let python = python(environment);
    let outcome = if let Some(uv) = uv {
        let mut command =
            arguments([&"pip", &"install", &"--quiet", &"--compile-bytecode", &"--python", &python]);
        command.extend(options);
        tools.install_by_uv(uv, &command, order.directory, order.workshop, deadline).await
    } else {
        let mut command = arguments([&"-m", &"pip", &"--python", &python, &"install", &"--quiet"]);
        command.extend(options.clone());
        let place = (order.workshop, Cache::Own);
        match tools.install(&interpreter.path, &command, order.directory, place, deadline).await {
            Err(ToolError::Failed { output, .. }) if output.contains("no such option: --python") => {
                let site = site_packages(interpreter, environment);
                let mut command = arguments([&"-m", &"pip", &"install", &"--quiet", &"--target", &site]);
                command.extend(options);
                tools.install(&interpreter.path, &command, order.directory, place, deadline).await
            }
            outcome => outcome,
        }
    };
    outcome.map(drop).map_err(|error| tools.refusal("installing the requirements", &error))
}

/// Where an environment's packages are.
pub(super) fn site_packages(interpreter: &Interpreter, environment: &Path) -> PathBuf {
    let [major, minor, _] = interpreter.version;
    environment.join(format!("lib/python{major}.{minor}/site-packages"))
}

/// Whether an environment that was complete once can still be used: its interpreter is a link to the host's.
pub(super) fn is_usable(environment: &Path) -> bool {
    python(environment).is_file()
}

/// Measures a directory, refuses one that is too large and makes it read-only.
pub(super) async fn seal(directory: PathBuf) -> Result<(), PullError> {
    let sealed = errand::run(move || seal_now(&directory)).await;
    let disk = |log: String| {
        PullError::refused(Step::Environment, "the environment could not be made read-only").with_log(log)
    };
    match sealed {
        Ok(Ok(bytes)) if bytes > MAX_BYTES => {
            let detail = format!("the environment has {bytes} bytes, more than the {MAX_BYTES} allowed");
            Err(PullError::refused(Step::Environment, detail))
        }
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(disk(error.to_string())),
        Err(error) => Err(disk(error.to_string())),
    }
}

fn seal_now(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in walkdir::WalkDir::new(directory).contents_first(true) {
        let entry = entry.map_err(io::Error::from)?;
        if entry.file_type().is_symlink() {
            continue;
        }
        let metadata = entry.metadata().map_err(io::Error::from)?;
        if metadata.is_file() {
            bytes += metadata.len();
        }
        let mode = metadata.permissions().mode();
        if mode & 0o222 != 0 {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode & 0o7555))?;
        }
    }
    Ok(bytes)
}
