//! The sandbox of one runtime: what no agent sees, where each has its temporary directory, how much there has
//! to be.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use rustix::process::getpid;
use tokio::runtime::Handle;

use super::{
    super::cage::Mark,
    entry::{Entry, Walls},
    level::{Kernel, SandboxLevel},
    limits::Limits,
    lodging::{Directories, Lodging, Lodgings},
    paths::{self, Access, Grant},
    permissions::{self, Places, SandboxError},
    rules::{self, Network},
    seccomp,
    settings::{SandboxMode, SandboxSettings},
};
use crate::package::{Confine, Installed, Permissions, SessionMode};

/// Largest file that an installer may write: wheels of CUDA libraries unpack to files of 2 GiB.
const INSTALLED_FILE_BYTES: u64 = 4 << 30;

/// Settings of the host's installers, beside what every package may read.
const INSTALLER_SETTINGS: [&str; 4] = ["/etc/pip.conf", "/etc/uv", "/etc/xdg", "/etc/gitconfig"];

/// Makes resolvers use TCP, which is all that a package with listed ports can speak.
const NAMES_OVER_TCP: [(&str, &str); 2] = [("RES_OPTIONS", "use-vc"), ("GRPC_DNS_RESOLVER", "native")];

/// Where directories of packages are made, one for each.
#[derive(Debug, Clone)]
pub struct Roots {
    /// Of their temporary files.
    pub temporary: PathBuf,
    /// Of the files that come with their calls.
    pub uploads: PathBuf,
}

impl Roots {
    /// Makes both, empty, below a data directory: what was left there belongs to processes and calls that are gone.
    ///
    /// # Errors
    /// What the file system says.
    pub fn make(data_dir: &Path) -> io::Result<Self> {
        let empty = |name| {
            let path = data_dir.join(name);
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            fs::create_dir_all(&path)?;
            path.canonicalize()
        };
        Ok(Self { temporary: empty("tmp")?, uploads: empty("uploads")? })
    }
}

/// Confines processes of packages.
#[derive(Debug, Clone)]
pub struct Shield {
    settings: SandboxSettings,
    /// Never seen, as real paths.
    hidden: Vec<PathBuf>,
    /// Readable all the same: the worker's own code.
    shared: Vec<PathBuf>,
    roots: Roots,
    lodgings: Lodgings,
}

/// What one package is let do on this host.
#[derive(Debug, Clone)]
pub struct Bounds {
    grants: Vec<Grant>,
    network: Network,
    programs: bool,
    temporary: PathBuf,
    /// Where its isolated sessions have theirs; `None`: it has no such sessions.
    sessions: Option<PathBuf>,
    mark: Option<Mark>,
    group: Option<Arc<File>>,
}

/// What is left to the process itself: layers that it enters after its start, and after each fork.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    /// Whether there is a sandbox at all.
    pub(crate) on: bool,
    /// A domain for each worker; `None`: there is none.
    pub(crate) layer: Option<OwnedFd>,
    /// A program for the template, entered before its imports.
    pub(crate) template: Option<String>,
    /// A program for each worker.
    pub(crate) worker: Option<String>,
}

/// How the workers of a template come to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offspring {
    /// They are forked from what has imported the package.
    Forked,
    /// They are programs that it starts; whatever of the sandbox is left to them they have before their first
    /// step.
    Started,
}

impl Offspring {
    /// A template that has Python handles the signal. One that starts programs would end by it before it has ended
    /// those; the end of its control socket tells it in time.
    const fn dies_with_parent(self) -> bool {
        match self {
            Self::Forked => true,
            Self::Started => false,
        }
    }
}

impl Bounds {
    /// The package's own temporary directory.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Where its isolated sessions have temporary directories of their own, one each.
    pub(crate) fn sessions(&self) -> Option<&Path> {
        self.sessions.as_deref()
    }

    /// The same for processes that carry a mark.
    pub(crate) fn marked(self, mark: Mark) -> Self {
        Self { mark: Some(mark), ..self }
    }

    /// The same for processes that begin in a group: `door` is the file by which they go in.
    pub(crate) fn within(self, door: Option<Arc<File>>) -> Self {
        Self { group: door, ..self }
    }
}

impl Shield {
    /// `hidden`: the runtime's own directories; `shared`: what of them all agents may read; `roots`: where theirs
    /// are made. All of them exist.
    pub fn new(settings: SandboxSettings, hidden: &[PathBuf], shared: Vec<PathBuf>, roots: Roots) -> Self {
        // What is not there yet is hidden under the name that it would have.
        let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        let hidden = hidden.iter().chain(&settings.hidden).map(real).chain(paths::secrets()).collect();
        Self { settings, hidden, shared, roots, lodgings: Lodgings::default() }
    }

    /// What the operator decided.
    pub fn settings(&self) -> &SandboxSettings {
        &self.settings
    }

    /// What is achieved on this host. `apart`: whether workers enter domains of their own.
    pub fn level(&self, apart: bool) -> SandboxLevel {
        match self.settings.mode {
            SandboxMode::Off => SandboxLevel::off(),
            SandboxMode::Auto | SandboxMode::Require => SandboxLevel::of(Kernel::running(), apart),
        }
    }

    /// Whether a level is enough.
    pub fn accepts(&self, level: &SandboxLevel) -> Result<(), SandboxError> {
        match self.settings.mode {
            SandboxMode::Require if !level.is_full() => {
                Err(SandboxError::Missing { missing: level.missing.clone() })
            }
            SandboxMode::Require | SandboxMode::Auto | SandboxMode::Off => Ok(()),
        }
    }

    /// What a package is let do; makes its directories.
    pub fn bounds(&self, installed: &Installed) -> Result<Bounds, SandboxError> {
        let (package, name) = (&installed.package, name(installed));
        let bounds = self.bounds_of(&package.permissions, &installed.root, &installed.readable, &name)?;
        if package.session.mode == SessionMode::Isolated {
            self.with_sessions(bounds, &name)
        } else {
            Ok(bounds)
        }
    }

    /// A share in the directories that a package's processes and calls have: they are removed with the last share.
    pub(crate) fn lodge(&self, installed: &Installed, background: &Handle) -> Lodging {
        let name = name(installed);
        let directories = self.directories(&name);
        self.lodgings.enter(name, directories, background.clone())
    }

    fn directories(&self, name: &str) -> Directories {
        let Roots { temporary, uploads } = &self.roots;
        Directories {
            temporary: temporary.join(name),
            sessions: temporary.join(format!("{name}-sessions")),
            uploads: uploads.join(name),
        }
    }

    fn bounds_of(
        &self,
        permissions: &Permissions,
        root: &Path,
        readable: &[PathBuf],
        name: &str,
    ) -> Result<Bounds, SandboxError> {
        let Directories { temporary, uploads, .. } = self.directories(name);
        fs::create_dir_all(&temporary)?;
        fs::create_dir_all(&uploads)?;
        let places = Places { root, temporary: &temporary, hidden: &self.hidden };
        let mut grants = self.readable(readable);
        grants.extend(permissions::paths(permissions, &places)?);
        grants.push(Grant::new(uploads, Access::Known));
        Ok(Bounds {
            grants,
            network: permissions::network(permissions),
            programs: permissions.subprocess,
            temporary,
            sessions: None,
            mark: None,
            group: None,
        })
    }

    /// The same for a package whose sessions are isolated: beside its temporary directory, which all its other workers
    /// share.
    fn with_sessions(&self, bounds: Bounds, name: &str) -> Result<Bounds, SandboxError> {
        let Directories { sessions, .. } = self.directories(name);
        fs::create_dir_all(&sessions)?;
        Ok(Bounds { sessions: Some(sessions), ..bounds })
    }

    /// The host's share, the operator's, and directories of ours by name.
    fn readable(&self, own: &[PathBuf]) -> Vec<Grant> {
        let mut grants = paths::system(&self.hidden);
        for path in &self.settings.read {
            let opened = paths::open(path, &self.hidden);
            grants.extend(opened.into_iter().map(|path| Grant { path, access: Access::Run }));
        }
        for path in self.shared.iter().chain(own) {
            // Among what is hidden it is ours by name; an interpreter's prefix is the host's, and may be a
            // large part of it.
            let opened =
                if self.is_hidden(path) { [path.clone()].into() } else { paths::open(path, &self.hidden) };
            grants.extend(opened.into_iter().map(|path| Grant { path, access: Access::Run }));
        }
        grants
    }

    fn is_hidden(&self, path: &Path) -> bool {
        self.hidden.iter().any(|hidden| path.starts_with(hidden))
    }

    /// Prepares a template's command: its temporary directory (and home). Returns what the child has to enter on its
    /// way, death with its parent and the sandbox, and what the process has to enter by itself.
    pub(crate) fn confine(
        &self,
        command: &mut Command,
        bounds: &Bounds,
        offspring: Offspring,
    ) -> Result<(Entry, Inner), SandboxError> {
        command.env("TMPDIR", &bounds.temporary).env("HOME", &bounds.temporary);
        let parent = offspring.dies_with_parent().then(getpid);
        if self.settings.mode == SandboxMode::Off {
            return Ok((Entry::free(parent), Inner::default()));
        }
        self.accepts(&self.level(true))?;
        if bounds.network.connect.as_ref().is_some_and(|ports| !ports.is_empty()) {
            for (name, value) in NAMES_OVER_TCP {
                if !command.get_envs().any(|(given, _)| given == name) {
                    command.env(name, value);
                }
            }
        }
        let kernel = Kernel::running();
        let filters = if kernel.seccomp { seccomp::programs(&bounds.network)? } else { Vec::new() };
        let own = Grant::new(&bounds.temporary, Access::Write);
        // A template opens what one of its workers may see; each of them then keeps its own share.
        let (everything, layer) = match &bounds.sessions {
            None => (vec![own], rules::domain()?),
            Some(sessions) => {
                let layer = self.extra_layer(bounds, &bounds.temporary)?;
                (vec![own, Grant::new(sessions, Access::Write)], layer)
            }
        };
        let walls = Walls {
            private_files: true,
            group: bounds.group.clone(),
            limits: Limits { file_bytes: self.settings.file_bytes, mark: bounds.mark },
            rules: self.rules(bounds, everything)?,
            filters,
        };
        let refused = kernel.seccomp && !bounds.programs;
        let (template, worker) = match offspring {
            Offspring::Forked if refused => (Some(seccomp::no_programs()?), Some(seccomp::no_processes()?)),
            Offspring::Started if refused => (None, Some(seccomp::no_children()?)),
            Offspring::Forked | Offspring::Started => (None, None),
        };
        let entry = Entry { parent, walls: Some(walls) };
        Ok((entry, Inner { on: true, layer, template, worker }))
    }

    /// What installers are put into.
    pub(crate) fn for_installers(&self) -> Confine {
        let shield = self.clone();
        Confine(Arc::new(move |command, writable, readable| {
            shield.confine_install(command, writable, readable)
        }))
    }

    /// Prepares an installer's command: the network as it is, writing below `writable` only, reading what
    /// packages may, `readable` and the host's settings of installers.
    pub fn confine_install(
        &self,
        command: &mut Command,
        writable: &[PathBuf],
        readable: &[PathBuf],
    ) -> io::Result<()> {
        if self.settings.mode == SandboxMode::Off {
            return Ok(());
        }
        let kernel = Kernel::running();
        let mut grants = self.readable(readable);
        grants.extend(INSTALLER_SETTINGS.map(|path| Grant::new(path, Access::Read)));
        // Real paths: a link among them is the runtime's own.
        grants.extend(writable.iter().map(|path| Grant::new(path, Access::Write)));
        let rules = if kernel.landlock > 0 { rules::rules(&grants, &Network::ANY)?.into() } else { None };
        let filters = if kernel.seccomp { seccomp::programs_of_installers()? } else { Vec::new() };
        let limits = Limits { file_bytes: INSTALLED_FILE_BYTES, mark: None };
        let walls = Walls { private_files: false, group: None, limits, rules, filters };
        Entry { parent: None, walls: Some(walls) }.prepare(command);
        Ok(())
    }

    /// One more layer for a process that is confined by these bounds already: the same, but of all temporary
    /// places only `own`, a directory of the package or of one of its sessions. Whoever has it enters it by
    /// `landlock_restrict_self`, as workers do with theirs. `None` where the kernel has no Landlock or the
    /// sandbox is off.
    pub fn extra_layer(&self, bounds: &Bounds, own: &Path) -> io::Result<Option<OwnedFd>> {
        if self.settings.mode == SandboxMode::Off {
            return Ok(None);
        }
        self.rules(bounds, vec![Grant::new(own, Access::Write)])
    }

    fn rules(&self, bounds: &Bounds, mut grants: Vec<Grant>) -> io::Result<Option<OwnedFd>> {
        if self.settings.mode == SandboxMode::Off || Kernel::running().landlock == 0 {
            return Ok(None);
        }
        grants.extend_from_slice(&bounds.grants);
        rules::rules(&grants, &bounds.network).map(Into::into)
    }
}

/// A package's name among directories. Names and digests are checked text: nothing of them leads out of it.
fn name(installed: &Installed) -> String {
    format!("{}-{:.12}", installed.package.id, installed.digest.to_string())
}

#[cfg(test)]
mod tests;
