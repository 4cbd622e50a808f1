//! A template: the process that has imported a package once and forks workers from itself.

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    pin::pin,
    process::Command,
    sync::Arc,
    time::Duration,
};

use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Signal, kill_process_group},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    cage::{Cage, Member},
    control::{
        Becomes, Control, ImportFailure, Init, InitEntry, InitExport, InitSandbox, InitSurfaces, Ready, Said,
    },
    death::Death,
    descriptors::{self, Theirs},
    launch::{Launch, Started},
    logs::{Origin, OutputSink},
    priority::{self, Low},
    sandbox::{Bounds, Inner, Offspring, SandboxError, SandboxLevel, Shield},
    spawner,
};
use crate::package::{Entry, Installed, Loaders, Program};

/// How long an import makes do with what nobody else wants. Most imports take less on a machine with room.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a template needs to start.
#[derive(Debug, Clone)]
pub(crate) struct TemplateSettings {
    /// `pixell_runtime/__main__.py` as written to the data directory.
    pub(crate) program: PathBuf,
    /// `main.mjs` of our own worker for JavaScript, likewise.
    pub(crate) node: PathBuf,
    /// What starts workers of loaders; `None`: there is no loader.
    pub(crate) nursery: Option<PathBuf>,
    /// What confines it.
    pub(crate) shield: Shield,
    /// Longest import.
    pub(crate) import_timeout: Duration,
    /// `--dev`.
    pub(crate) dev: bool,
    /// Where output goes.
    pub(crate) sink: OutputSink,
}

/// Why there is no template, or no worker from it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The code could not be imported, or a handler is missing.
    #[error("{}", import_text(.0))]
    Import(ImportFailure),
    /// It took too long.
    #[error("the package's code was not imported within {0:?}")]
    Slow(Duration),
    /// It cannot be confined as it has to be.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The process ended before it was ready.
    #[error("the package's process ended before it was ready")]
    Ended,
    /// The operating system refused.
    #[error("the operating system refused to {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// The template could not fork.
    #[error("a worker could not be forked: {0}")]
    Fork(String),
}

fn import_text(failure: &ImportFailure) -> String {
    let whose = failure.export.as_ref().map(|export| format!(" of {export}")).unwrap_or_default();
    if failure.phase == "sandbox" {
        format!("the package's process cannot enter its sandbox: {}", failure.message)
    } else if failure.phase == "handler" {
        format!("the handler{whose} cannot be used: {}", failure.message)
    } else if failure.phase == "surface" {
        format!("the surface{whose} cannot be served: {}: {}", failure.class, failure.message)
    } else {
        format!("the import{whose} failed: {}: {}", failure.class, failure.message)
    }
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}

/// A worker's process, as its template reported it.
#[derive(Debug)]
pub(crate) struct Forked {
    pub(crate) pid: u32,
    /// How it ended; an error if the template is gone.
    pub(crate) exit: oneshot::Receiver<Death>,
}

#[derive(Debug)]
struct Fork {
    becomes: Becomes,
    theirs: Theirs,
    reply: oneshot::Sender<Result<Forked, StartError>>,
}

/// A running template. Dropping it ends the process; its workers live on.
#[derive(Debug)]
pub(crate) struct Template {
    pid: u32,
    low: Arc<Low>,
    ready: Ready,
    sandbox: SandboxLevel,
    bounds: Bounds,
    member: Member,
    forks: mpsc::Sender<Fork>,
    alive: watch::Receiver<bool>,
}

impl Template {
    /// Starts the process in its package's cage and waits until it is ready.
    pub(crate) async fn start(
        installed: &Installed,
        preload: bool,
        settings: &TemplateSettings,
        cage: &Cage,
    ) -> Result<Self, StartError> {
        let (ours, theirs) = descriptors::control().map_err(system("make a control socket"))?;
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|error| system("make pipes")(error.into()));
        let ((stdout, their_stdout), (stderr, their_stderr)) = (pipe()?, pipe()?);
        let mut command = command(installed, settings)?;
        command.current_dir(&installed.root).envs(&installed.variables);
        let bounds = settings.shield.bounds(installed)?.marked(cage.mark()).within(cage.door());
        let offspring = match &installed.program {
            Program::Python(_) => Offspring::Forked,
            Program::Loader(_) => Offspring::Started,
        };
        let (entry, inner) = settings.shield.confine(&mut command, &bounds, offspring)?;
        let streams = [theirs, their_stdout, their_stderr];
        let launch = Launch::new(&command, streams, entry).map_err(system("describe the interpreter"))?;
        let child = spawner::start(launch.low()).await.map_err(system("start the interpreter"))?;
        let pid = child.id();
        let member = cage.template(pid);
        let low = Arc::new(Low::new(pid));
        settings.sink.follow(&Origin::template(installed, pid), stdout, stderr);
        let guard = Kill(Some(child));
        let control = Control::new(ours).map_err(system("use a control socket"))?;
        let (init, layer) = init(installed, preload, settings, inner);
        control
            .send(&serde_json::json!({ "init": init }), &layer)
            .await
            .map_err(system("speak to the template"))?;
        let said = hear(&control, &low, settings.import_timeout).await?;
        let ready = match said {
            Some(Said::Ready(ready)) => ready,
            Some(Said::Failed(failure)) => return Err(StartError::Import(failure)),
            Some(Said::Forked { .. } | Said::ForkFailed { .. } | Said::Exited { .. }) | None => {
                return Err(StartError::Ended);
            }
        };
        let sandbox = settings.shield.level(ready.apart).grouped(cage.door().is_some());
        settings.shield.accepts(&sandbox)?;
        let (forks, requests) = mpsc::channel(64);
        let (living, alive) = watch::channel(true);
        tokio::spawn(serve(control, requests, guard, living));
        let waiting = Arc::downgrade(&low);
        tokio::spawn(async move {
            tokio::time::sleep(priority::PATIENCE).await;
            if let Some(low) = waiting.upgrade() {
                low.raise();
            }
        });
        Ok(Self { pid, low, ready, sandbox, bounds, member, forks, alive })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether what it forks begins at low priority.
    pub(super) fn is_low(&self) -> bool {
        self.low.is_low()
    }

    /// From now on calls wait for what it forks.
    pub(crate) fn raise(&self) {
        self.low.raise();
    }

    /// What it found out.
    pub(crate) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// What its sandbox achieves.
    pub(crate) fn sandbox(&self) -> &SandboxLevel {
        &self.sandbox
    }

    /// What it and its workers may do at most.
    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Its place in its package's cage.
    pub(crate) fn member(&self) -> &Member {
        &self.member
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        *self.alive.borrow()
    }

    /// Forks a process that gets these descriptors.
    pub(crate) async fn fork(&self, becomes: Becomes, theirs: Theirs) -> Result<Forked, StartError> {
        let (reply, answer) = oneshot::channel();
        self.forks.send(Fork { becomes, theirs, reply }).await.map_err(|_| StartError::Ended)?;
        answer.await.map_err(|_| StartError::Ended)?
    }
}

/// What the template says when its imports are done, or have failed.
async fn hear(control: &Control, low: &Low, longest: Duration) -> Result<Option<Said>, StartError> {
    let mut hearing = pin!(control.receive());
    let soon = tokio::time::timeout(PATIENCE.min(longest), &mut hearing).await;
    let said = match soon {
        Ok(said) => said,
        Err(_) => {
            // On a full machine nothing is left for it: now it gets its share.
            low.raise();
            let left = longest.saturating_sub(PATIENCE);
            tokio::time::timeout(left, hearing).await.map_err(|_| StartError::Slow(longest))?
        }
    };
    said.map_err(system("hear the template"))
}

/// The program that becomes the template.
fn command(installed: &Installed, settings: &TemplateSettings) -> Result<Command, StartError> {
    match &installed.program {
        Program::Python(python) => {
            let mut command = Command::new(python);
            command.arg("-I").arg(&settings.program);
            Ok(command)
        }
        Program::Loader(_) => {
            let nursery = settings.nursery.as_ref();
            let missing = || system("start workers of a loader")(io::ErrorKind::NotFound.into());
            let mut command = Command::new(nursery.ok_or_else(missing)?);
            command.arg(Loaders::NURSERY);
            Ok(command)
        }
    }
}

fn init(
    installed: &Installed,
    preload: bool,
    settings: &TemplateSettings,
    inner: Inner,
) -> (Init, Vec<OwnedFd>) {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let Inner { on, layer, template, worker } = inner;
    let init = Init {
        package: installed.package.id.to_string(),
        root: text(&installed.root),
        sys_path: installed.sys_path.iter().map(|path| text(path)).collect(),
        kits: installed.kits.iter().map(|path| text(path)).collect(),
        exports: installed
            .package
            .exports
            .iter()
            .map(|export| InitExport {
                id: export.id.to_string(),
                module: export.handler.module.clone(),
                attribute: export.handler.attribute.clone(),
                concurrency: export.concurrency,
                threads: export.threads,
            })
            .collect(),
        preload,
        dev: settings.dev,
        surfaces: surfaces(installed),
        sandbox: on.then_some(InitSandbox { template, worker }),
        loader: installed.program.loader().map(|loader| loader.command(&settings.node)),
    };
    (init, layer.into_iter().collect())
}

fn surfaces(installed: &Installed) -> Option<InitSurfaces> {
    let declared = &installed.package.surfaces;
    let entry = |entry: &Entry| {
        let (handler, application) = match entry {
            Entry::Function(handler) => (handler, false),
            Entry::Application(handler) => (handler, true),
        };
        InitEntry { module: handler.module.clone(), attribute: handler.attribute.clone(), application }
    };
    declared.are_served().then(|| InitSurfaces {
        rest: declared.rest.as_ref().map(entry),
        a2a: declared.a2a.as_ref().map(entry),
    })
}

/// Kills the template alone and waits for it; workers end with their own sockets.
#[derive(Debug)]
struct Kill(Option<Started>);

impl Drop for Kill {
    fn drop(&mut self) {
        let Some(child) = self.0.take() else { return };
        child.kill();
        // It was killed, so this ends at once; a thread of its own, since a runtime's must not wait.
        let waiting = std::thread::Builder::new().name("par-reaper".into()).spawn(move || child.wait());
        drop(waiting);
    }
}

async fn serve(
    control: Control,
    mut requests: mpsc::Receiver<Fork>,
    guard: Kill,
    living: watch::Sender<bool>,
) {
    let mut waiting: HashMap<u64, oneshot::Sender<Result<Forked, StartError>>> = HashMap::new();
    let mut exits: HashMap<u32, oneshot::Sender<Death>> = HashMap::new();
    let mut next = 0u64;
    let mut open = true;
    loop {
        tokio::select! {
            said = control.receive() => match said {
                Ok(Some(Said::Forked { forked, pid })) => {
                    let (sender, exit) = oneshot::channel();
                    exits.insert(pid, sender);
                    if let Some(reply) = waiting.remove(&forked) {
                        // A caller that is gone dropped our ends: the worker meets the end of its sockets.
                        drop(reply.send(Ok(Forked { pid, exit })));
                    }
                }
                Ok(Some(Said::ForkFailed { fork_failed, message })) => {
                    if let Some(reply) = waiting.remove(&fork_failed) {
                        drop(reply.send(Err(StartError::Fork(message))));
                    }
                }
                Ok(Some(Said::Exited { exited, status })) => {
                    if let Some(sender) = exits.remove(&exited) {
                        drop(sender.send(Death::from_wait_status(status)));
                    }
                }
                Ok(Some(Said::Ready(_) | Said::Failed(_))) => {}
                Ok(None) | Err(_) => break,
            },
            request = requests.recv(), if open => match request {
                Some(Fork { becomes, theirs, reply }) => {
                    next += 1;
                    let sent = control.send(&becomes.order(next), &theirs.0).await;
                    drop(theirs);
                    match sent {
                        Ok(()) => drop(waiting.insert(next, reply)),
                        Err(source) => drop(reply.send(Err(system("speak to the template")(source)))),
                    }
                }
                // The generation let go of us: exits of the remaining workers are still reported until they are
                // all gone, then the template is ended.
                None => open = false,
            },
        }
        if !open && exits.is_empty() {
            break;
        }
    }
    living.send_replace(false);
    drop(control);
    drop(guard);
}

/// Ends a whole process group: template, workers and what they started.
pub(crate) fn kill_group(pid: u32) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        // Gone already is what was wanted.
        kill_process_group(pid, Signal::KILL).ok();
    }
}
