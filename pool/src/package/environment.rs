//! What a package runs in: an unpacked package enters, an interpreter with all its dependencies leaves.
//!
//! Two layers. The shared environment has only what comes from an index or a wheelhouse and is addressed by the
//! resolved set, so packages and versions with the same dependencies share it, read-only, and a rollout of code
//! installs nothing. The package's own project is installed without dependencies into a layer of its digest.
//! Requirements that mean this package alone (paths, addresses, an index of its own) get an environment of its digest.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use self::{
    bytecode::Bytecode,
    interpreter::Interpreter,
    interpreters::Interpreters,
    requirements::{Project, Requirements},
    resolution::{Question, Resolutions},
    shelf::Shelf,
    tool::Tools,
};
pub use self::{
    survey::{Python, pythons},
    workshop::Confine,
};
use super::{Kit, PackageSettings, PullError, PythonWanted, Step, Unpacked};

mod bytecode;
mod complaint;
mod interpreter;
mod interpreters;
mod kit;
mod layer;
mod requirements;
mod resolution;
mod shelf;
mod survey;
mod tool;
mod venv;
mod workshop;

#[cfg(test)]
mod tests;

/// Longest part of the install time that building the package's own project may take: its failure is a warning, and
/// the dependencies need the rest.
const LAYER_SHARE: u32 = 2;

/// Where locks are kept, below the data directory.
const RESOLUTIONS: &str = "resolutions";

/// Where a package's code finds its dependencies.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The environment's directory.
    pub directory: PathBuf,
    /// Its interpreter.
    pub python: PathBuf,
    /// What the package's own project installed, if anything.
    pub layer: Option<PathBuf>,
    /// What its surfaces are served with and what it asks for by name, if it does not bring it; ranks behind all else.
    pub kits: Vec<PathBuf>,
    /// All directories that code must be able to read for its imports.
    pub readable: Vec<PathBuf>,
    /// What is odd but not refused.
    pub warnings: Vec<String>,
}

/// Forgets to which versions requirements were resolved: the next install of each set of them looks for newer ones. What
/// is installed stays and serves on. Works beside a running `par`, too.
///
/// `data_dir` is that of [`PackageSettings`]; one in which nothing was installed has nothing to forget. Returns how many
/// sets there were.
pub fn forget_resolutions(data_dir: &Path) -> io::Result<usize> {
    let root = data_dir.join(RESOLUTIONS);
    if root.is_dir() { Resolutions::forget(&root) } else { Ok(0) }
}

/// Makes environments and keeps them.
#[derive(Debug)]
pub struct Environments {
    uv: Option<PathBuf>,
    wheelhouse: Option<PathBuf>,
    install_timeout: Duration,
    tools: Tools,
    interpreters: Arc<Interpreters>,
    runtime: Option<Arc<Bytecode>>,
    resolutions: Resolutions,
    shared: Shelf,
    layers: Shelf,
}

impl Environments {
    /// Opens what is kept below `data_dir`. Interpreters are looked for at the first package.
    /// Installers run in a sandbox if there is one.
    pub fn open(settings: &PackageSettings, confine: Option<Confine>) -> io::Result<Self> {
        fs::create_dir_all(&settings.data_dir)?;
        // Environments remember where they were made.
        let data_dir = settings.data_dir.canonicalize()?;
        let tools = Tools::new(&data_dir, confine)?;
        let known = data_dir.join("interpreters.json");
        Ok(Self {
            uv: settings.uv.clone(),
            wheelhouse: settings.wheelhouse.as_deref().map(Path::canonicalize).transpose()?,
            install_timeout: settings.install_timeout,
            interpreters: Arc::new(Interpreters::new(&settings.pythons, tools.clone(), known)),
            tools,
            runtime: None,
            resolutions: Resolutions::open(data_dir.join(RESOLUTIONS))?,
            shared: Shelf::open(data_dir.join("environments"))?,
            layers: Shelf::open(data_dir.join("layers"))?,
        })
    }

    /// Keeps the code of workers compiled; `code` is the directory of the package `pixell_runtime`.
    #[must_use]
    pub fn serving(mut self, code: PathBuf) -> Self {
        self.runtime = Some(Arc::new(Bytecode::new(code, self.tools.clone())));
        self
    }

    /// Begins to look for the interpreter that most packages want; to be called when one is about to come.
    pub fn foresee(&self) {
        let interpreters = Arc::clone(&self.interpreters);
        tokio::spawn(async move { interpreters.foresee().await });
    }

    /// Makes what a package needs, or finds it.
    pub async fn provide(
        &self,
        unpacked: &Unpacked,
        wanted: &PythonWanted,
    ) -> Result<Environment, PullError> {
        let deadline = Instant::now() + self.install_timeout;
        let mut warnings = Vec::new();
        let (interpreter, warning) = self.interpreters.choose(wanted).await?;
        let interpreter = &interpreter;
        self.compile_runtime(interpreter);
        warnings.extend(warning);
        let (mut requirements, project) = requirements::read(&unpacked.root, &mut warnings)?;
        let layer = match project {
            Project::None | Project::Generated => None,
            Project::Static | Project::Dynamic => {
                self.layer(unpacked, interpreter, deadline, project, &mut warnings).await?
            }
        };
        if let (Project::Dynamic, Some(layer)) = (project, &layer) {
            requirements.add(&unpacked.root, &layer::dependencies(layer))?;
            requirements.own = true;
        }
        if !requirements.own {
            requirements.add(&unpacked.root, &unpacked.package.dependencies)?;
        }
        let directory = self.environment(unpacked, interpreter, &requirements, deadline).await?;
        let own =
            [Some(venv::site_packages(interpreter, &directory)), layer.clone(), Some(unpacked.root.clone())];
        let own: Vec<&Path> = own.iter().flatten().map(PathBuf::as_path).collect();
        let mut kits = Vec::new();
        for kit in Kit::missing(&unpacked.package.surfaces, &unpacked.package.kits, &own) {
            match self.kit(kit, unpacked, interpreter, deadline).await {
                Ok(path) => kits.push(path),
                Err(error) if unpacked.package.kits.contains(&kit) => return Err(error),
                // The package may still be served by what it brings itself.
                Err(error) => warnings.push(error.detail),
            }
        }
        let readable =
            [Some(directory.clone()), layer.clone(), Some(interpreter.prefix.clone()), home(interpreter)];
        Ok(Environment {
            python: venv::python(&directory),
            readable: readable.into_iter().flatten().chain(kits.iter().cloned()).collect(),
            directory,
            layer,
            kits,
            warnings,
        })
    }

    /// Begins to compile the code of workers; nobody waits for it.
    fn compile_runtime(&self, interpreter: &Interpreter) {
        let Some(runtime) = self.runtime.as_ref().map(Arc::clone) else { return };
        let interpreter = interpreter.clone();
        tokio::spawn(async move { runtime.provide(&interpreter).await });
    }

    /// A kit's import path.
    async fn kit(
        &self,
        kit: Kit,
        unpacked: &Unpacked,
        interpreter: &Interpreter,
        deadline: Instant,
    ) -> Result<PathBuf, PullError> {
        let requirements = Requirements { lines: kit.lines(), ..Requirements::default() };
        match self.environment(unpacked, interpreter, &requirements, deadline).await {
            Ok(directory) => Ok(venv::site_packages(interpreter, &directory)),
            Err(error) => {
                let name = kit.text();
                tracing::debug!(package = %unpacked.package.id, kit = name, log = %error.log, "no kit");
                let missing = match kit {
                    Kit::Rest | Kit::A2a => format!("what {name} surfaces are served with"),
                    Kit::Data => format!("the {name} kit (numpy, pandas, matplotlib)"),
                };
                let detail = format!("{missing} is not installed: {}", error.detail);
                Err(PullError { detail, ..error })
            }
        }
    }

    async fn layer(
        &self,
        unpacked: &Unpacked,
        interpreter: &Interpreter,
        deadline: Instant,
        project: Project,
        warnings: &mut Vec<String>,
    ) -> Result<Option<PathBuf>, PullError> {
        let key = key(&["layer 1", &unpacked.digest.to_string(), &interpreter.key()]);
        if let Some(layer) = self.layers.find(&key) {
            return Ok(Some(layer));
        }
        let empty = self.environment(unpacked, interpreter, &Requirements::default(), deadline).await?;
        let order = layer::Order {
            root: &unpacked.root,
            environment: &empty,
            interpreter,
            uv: self.uv.as_deref(),
            wheelhouse: self.wheelhouse.as_deref(),
        };
        let own_deadline = deadline.min(Instant::now() + self.install_timeout / LAYER_SHARE);
        let build = |layer| layer::build(&order, layer, &self.tools, own_deadline);
        match self.layers.obtain(&key, deadline, build).await {
            Ok(layer) => Ok(Some(layer)),
            Err(error) => {
                tracing::debug!(package = %unpacked.package.id, log = %error.log, "the package's own project was not installed");
                let consequence = match project {
                    Project::Dynamic => {
                        "its code runs from the package root, and the dependencies it states are unknown"
                    }
                    Project::None | Project::Generated | Project::Static => {
                        "its code runs from the package root"
                    }
                };
                warnings.push(format!("{}; {consequence}", error.detail));
                Ok(None)
            }
        }
    }

    async fn environment(
        &self,
        unpacked: &Unpacked,
        interpreter: &Interpreter,
        requirements: &Requirements,
        deadline: Instant,
    ) -> Result<PathBuf, PullError> {
        let (lines, constraints) = requirements.texts();
        let wheelhouse = self.wheelhouse.as_deref();
        let question = Question { lines: &lines, constraints: &constraints, interpreter, wheelhouse };
        let (kind, text) = match (&self.uv, &requirements.private) {
            _ if lines.is_empty() => (Kind::Empty, String::new()),
            (_, Some(_)) => (Kind::Private, unpacked.digest.to_string()),
            (Some(uv), None) => {
                (Kind::Locked, self.resolutions.resolve(&question, uv, &self.tools, deadline).await?)
            }
            // Without a resolver the text itself is the address; its versions are those of the first install since
            // they were forgotten.
            (None, None) => (Kind::Text, format!("{lines}\n{constraints}{}", self.resolutions.age())),
        };
        let key = key(&["environment 1", kind.text(), &text, &interpreter.key()]);
        if self.shared.find(&key).is_some_and(|directory| !venv::is_usable(&directory)) {
            self.shared.forget(&key);
        }
        let build = |directory: PathBuf| async move {
            venv::create(interpreter, &directory, &self.tools, deadline).await?;
            if kind != Kind::Empty {
                let lines = if kind == Kind::Locked { text.as_str() } else { question.lines };
                self.install(unpacked, &question, lines, kind, &directory, deadline).await?;
            }
            venv::seal(directory).await
        };
        self.shared.obtain(&key, deadline, build).await
    }

    async fn install(
        &self,
        unpacked: &Unpacked,
        question: &Question<'_>,
        lines: &str,
        kind: Kind,
        directory: &Path,
        deadline: Instant,
    ) -> Result<(), PullError> {
        let disk = |error: io::Error| {
            PullError::refused(Step::Environment, "the requirements could not be written to disk")
                .with_log(error.to_string())
        };
        let interpreter = question.interpreter;
        let read = [interpreter.prefix.as_path()].into_iter().chain(question.wheelhouse);
        let work = self.tools.workshop().map_err(disk)?.filling(directory).reading(read);
        let project = work.path().join("project");
        if kind == Kind::Private {
            // Relative places are relative to the package, and their builds write beside their sources.
            layer::writable_copy(&unpacked.root, &project).map_err(disk)?;
        } else {
            fs::create_dir(&project).map_err(disk)?;
        }
        let requirements = project.join(".par-requirements.txt");
        fs::write(&requirements, lines).map_err(disk)?;
        let constraints = project.join(".par-constraints.txt");
        let constrained = kind != Kind::Locked && !question.constraints.is_empty();
        fs::write(&constraints, question.constraints).map_err(disk)?;
        let order = venv::Order {
            requirements: &requirements,
            constraints: constrained.then_some(constraints.as_path()),
            hashed: kind == Kind::Locked,
            directory: &project,
            workshop: &work,
            wheelhouse: question.wheelhouse,
        };
        let uv = self.uv.as_deref();
        let began = Instant::now();
        venv::install(&order, interpreter, directory, uv, &self.tools, deadline).await?;
        tracing::info!(package = %unpacked.package.id, kind = kind.text(), seconds = began.elapsed().as_secs_f32(), "environment installed");
        Ok(())
    }
}

/// What an environment is addressed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing but the interpreter.
    Empty,
    /// The resolved set with hashes.
    Locked,
    /// The requirements as written.
    Text,
    /// The package's digest.
    Private,
}

impl Kind {
    const fn text(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Locked => "locked",
            Self::Text => "text",
            Self::Private => "private",
        }
    }
}

/// The directory of an interpreter that lies outside its prefix.
fn home(interpreter: &Interpreter) -> Option<PathBuf> {
    let directory = interpreter.path.parent()?;
    (!directory.starts_with(&interpreter.prefix)).then(|| directory.to_path_buf())
}

/// An address: 128 bits of a hash over all parts with their lengths.
fn key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut text = hex::encode(hash.finalize());
    text.truncate(32);
    text
}
