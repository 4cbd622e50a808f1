//! Where one installer works: a directory of its own for what it makes on the way, the one that it fills, and nothing
//! else that it could write. Builds run code of strangers.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt, io,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// Whether what is downloaded is kept for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cache {
    /// Kept for all packages. Only for runs in which no code of a package runs: it could leave there what another
    /// package would install.
    Shared,
    /// Thrown away with the workshop.
    Own,
}

type Prepare = dyn Fn(&mut Command, &[PathBuf], &[PathBuf]) -> io::Result<()> + Send + Sync;

/// Puts an installer's command into a sandbox: the command, what it may write below, what it may read besides what every
/// package may.
#[derive(Clone)]
pub struct Confine(pub Arc<Prepare>);

impl fmt::Debug for Confine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confine")
    }
}

/// One installer's place.
#[derive(Debug)]
pub(super) struct Workshop {
    directory: tempfile::TempDir,
    shared_cache: PathBuf,
    writable: Vec<PathBuf>,
    readable: Vec<PathBuf>,
}

/// Variables of tools that are no settings of installers.
const OURS: [&str; 4] = ["PATH", "HOME", "TMPDIR", "UV_CACHE_DIR"];

/// Parts of a workshop: home, temporary files, a cache of its own.
const PARTS: [(&str, &str); 3] = [("HOME", "home"), ("TMPDIR", "tmp"), ("UV_CACHE_DIR", "cache")];

impl Workshop {
    /// Makes one below `temporary`; `shared_cache` is what [`Cache::Shared`] means.
    pub(super) fn open(temporary: &Path, shared_cache: &Path) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("work-").tempdir_in(temporary)?;
        for (_, part) in PARTS {
            std::fs::create_dir(directory.path().join(part))?;
        }
        let (shared_cache, readable) = (shared_cache.to_path_buf(), Vec::new());
        Ok(Self { directory, shared_cache, writable: Vec::new(), readable })
    }

    /// Its directory; what is made there goes with it.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Lets what works here fill an existing directory.
    #[must_use]
    pub(super) fn filling(mut self, directory: &Path) -> Self {
        self.writable.push(directory.to_path_buf());
        self
    }

    /// Lets what works here read, and run programs.
    #[must_use]
    pub(super) fn reading<'a>(mut self, paths: impl IntoIterator<Item = &'a Path>) -> Self {
        self.readable.extend(paths.into_iter().map(Path::to_path_buf));
        self
    }

    /// Makes a command work here.
    pub(super) fn equip(
        &self,
        command: &mut Command,
        variables: &BTreeMap<OsString, OsString>,
        cache: Cache,
        confine: Option<&Confine>,
    ) -> io::Result<()> {
        for (name, part) in PARTS {
            command.env(name, self.path().join(part));
        }
        let mut writable = self.writable.clone();
        writable.push(self.path().to_path_buf());
        if cache == Cache::Shared {
            command.env("UV_CACHE_DIR", &self.shared_cache);
            writable.push(self.shared_cache.clone());
        }
        let Some(Confine(confine)) = confine else { return Ok(()) };
        let program = Path::new(command.get_program());
        let mut readable: Vec<PathBuf> = program.canonicalize().into_iter().collect();
        readable.extend(self.readable.iter().cloned());
        let settings = variables.iter().filter(|(name, _)| !OURS.iter().any(|ours| *name == *ours));
        readable.extend(settings.flat_map(|(_, value)| places(value)));
        confine(command, &writable, &readable)
    }
}

/// Files and directories that a setting of an installer names: a configuration, certificates, a folder of wheels.
fn places(value: &OsStr) -> Vec<PathBuf> {
    let Some(text) = value.to_str() else { return Vec::new() };
    let place = |word: &str| {
        let path = Path::new(word.strip_prefix("file://").unwrap_or(word));
        path.is_absolute().then(|| path.canonicalize().ok()).flatten()
    };
    // A path may have blanks in it; a list of places has them between.
    let places = place(text).map_or_else(
        || text.split([' ', ',', '\n']).filter_map(place).collect::<Vec<_>>(),
        |whole| vec![whole],
    );
    places.into_iter().filter(|path| path.parent().is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_name_places_open_them_and_the_root_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let wheels = directory.path().canonicalize().unwrap();
        let text = |value: String| places(OsStr::new(&value));
        for setting in [format!("file://{}", wheels.display()), format!("relative {}", wheels.display())] {
            assert_eq!(text(setting), std::slice::from_ref(&wheels));
        }
        assert!(text(format!("{}/none", wheels.display())).is_empty());
        assert!(text("/".to_owned()).is_empty() && text("1".to_owned()).is_empty());
    }
}
