//! Programs that run packages of a `runtime:` other than Python: names enter, the command of a worker leaves.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What runs the packages of one `runtime:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// The value of `runtime:` that it is for.
    pub name: String,
    /// How one of its workers is started.
    pub worker: LoaderWorker,
}

/// How a worker of a loader is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoaderWorker {
    /// Our own worker for JavaScript (`pool/worker-node/`).
    Node {
        /// `node`.
        program: PathBuf,
    },
    /// Whatever speaks the frames of `FRAMES.md`.
    Command {
        /// An absolute path.
        program: PathBuf,
        /// What follows it on the command line.
        arguments: Vec<String>,
    },
}

impl fmt::Display for Loader {
    /// For people: what runs, without what is ours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.worker {
            LoaderWorker::Node { program } => write!(f, "{} with PAR's own worker", program.display()),
            LoaderWorker::Command { program, arguments } => {
                write!(f, "{}", program.display())?;
                arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
            }
        }
    }
}

impl Loader {
    /// The whole command line. `node`: where our own worker for JavaScript was written to.
    pub(crate) fn command(&self, node: &Path) -> Vec<String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        match &self.worker {
            LoaderWorker::Node { program } => vec![text(program), text(node)],
            LoaderWorker::Command { program, arguments } => {
                std::iter::once(text(program)).chain(arguments.iter().cloned()).collect()
            }
        }
    }

    /// What its processes must be able to read: the program, and the folders of files that the command line names.
    pub(crate) fn readable(&self) -> Vec<PathBuf> {
        let (program, arguments) = match &self.worker {
            LoaderWorker::Node { program } => (program, &[][..]),
            LoaderWorker::Command { program, arguments } => (program, arguments.as_slice()),
        };
        // A link is followed by who may read what it leads to.
        let program = [Some(program.clone()), program.canonicalize().ok()];
        let named = arguments.iter().map(Path::new).filter(|path| path.is_absolute() && path.is_file());
        let folders = named.filter_map(Path::parent).map(Path::to_path_buf);
        program.into_iter().flatten().chain(folders).collect()
    }
}

/// The loaders of this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaders {
    /// By the value of `runtime:`.
    by_name: BTreeMap<String, Arc<Loader>>,
    /// A program that calls [`crate::process::nursery`] when its first argument is [`Loaders::NURSERY`].
    nursery: PathBuf,
}

impl Loaders {
    /// The first argument of the program that starts the workers of loaders.
    pub const NURSERY: &'static str = "nursery";

    /// `nursery`: a program that calls [`crate::process::nursery`] when its first argument is [`Loaders::NURSERY`].
    pub fn new(loaders: impl IntoIterator<Item = Loader>, nursery: PathBuf) -> Self {
        let named = |loader: Loader| (loader.name.clone(), Arc::new(loader));
        Self { by_name: loaders.into_iter().map(named).collect(), nursery }
    }

    /// The one for a value of `runtime:`.
    pub fn get(&self, runtime: &str) -> Option<&Arc<Loader>> {
        self.by_name.get(runtime)
    }

    /// The values of `runtime:` for which there is one, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The program that starts their workers; `None` if there is no loader.
    pub(crate) fn nursery(&self) -> Option<&Path> {
        (!self.by_name.is_empty()).then_some(&self.nursery)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_reads_its_program_and_the_folders_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("main.js");
        std::fs::write(&script, "").unwrap();
        let arguments =
            vec!["--flag".to_owned(), script.to_string_lossy().into_owned(), "/none/x.js".to_owned()];
        let worker = LoaderWorker::Command { program: "/bin/sh".into(), arguments };
        let loader = Loader { name: "node20".to_owned(), worker };
        let readable = loader.readable();
        assert!(readable.contains(&PathBuf::from("/bin/sh")), "{readable:?}");
        assert!(readable.contains(&folder.path().to_path_buf()), "{readable:?}");
        assert!(!readable.contains(&PathBuf::from("/none")), "{readable:?}");
        assert_eq!(loader.command(Path::new("/data/main.mjs")).len(), 4);
        let node = Loader { worker: LoaderWorker::Node { program: "/bin/node".into() }, ..loader };
        assert_eq!(node.command(Path::new("/data/main.mjs")), ["/bin/node", "/data/main.mjs"]);
    }

    #[test]
    fn without_loaders_there_is_no_nursery() {
        assert_eq!(Loaders::new([], "/bin/par".into()).nursery(), None);
    }
}
