//! Running installers: a command line enters, its output leaves, or why it failed.
//!
//! Tools get a cleared environment, a low priority and a process group that is killed as a whole at the deadline, when
//! the caller goes away, and when they leave something running behind. Installers get a workshop and a sandbox as well.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group, setpriority_pgrp};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};

use super::{
    complaint,
    workshop::{Cache, Confine, Workshop},
};
use crate::package::{PullError, Step, store::remove_tree};

/// Output kept per stream: the end of it, where the error is. Resolvers explain conflicts in a few KB.
const KEPT_OUTPUT: usize = 32 * 1024;
/// Age of temporary files that nobody can be using any more; installs are capped at minutes.
const LEFT_OVER: Duration = Duration::from_secs(24 * 3600);
/// Installers yield to calls that are being served.
const NICENESS: i32 = 10;
/// Variables passed on as they are.
const PASSED: [&str; 13] = [
    "PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];
/// Settings of the installers that would move what we place, whatever their value.
const HELD_BACK: [&str; 16] = [
    "UV_SYSTEM_PYTHON",
    "UV_PYTHON",
    "UV_TARGET",
    "UV_PREFIX",
    "UV_CACHE_DIR",
    "UV_PROJECT",
    "UV_WORKING_DIR",
    "UV_PROJECT_ENVIRONMENT",
    "UV_COMPILE_BYTECODE",
    "UV_REQUIRE_HASHES",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_USER",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_PYTHON",
    "PIP_ROOT",
];

/// Why a tool did not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum ToolError {
    /// It could not be started.
    #[error("{program} could not be started")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    /// It said no.
    #[error("{status}")]
    Failed { status: ExitStatus, output: String },
    /// It was killed at the deadline.
    #[error("it was still running at the deadline")]
    Deadline { output: String },
}

/// What all tools have in common.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    variables: Arc<BTreeMap<OsString, OsString>>,
    data_dir: Arc<Path>,
    /// What confines installers; none: nothing.
    confine: Option<Confine>,
}

impl Tools {
    /// Prepares the directories that tools write to, below `data_dir`.
    pub(super) fn new(data_dir: &Path, confine: Option<Confine>) -> io::Result<Self> {
        let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os()
            .filter(|(name, _)| {
                let name = name.to_string_lossy();
                let installer = name.starts_with("PIP_") || name.starts_with("UV_");
                PASSED.contains(&&*name) || (installer && !HELD_BACK.contains(&&*name))
            })
            .collect();
        // What was configured for pip holds for uv, too, unless uv has its own word on it.
        for (pip, uv) in [
            ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
            ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
            ("PIP_CERT", "SSL_CERT_FILE"),
        ] {
            let old = uv.replace("UV_DEFAULT_INDEX", "UV_INDEX_URL");
            if let Some(value) = variables.get(&OsString::from(pip)).cloned()
                && !variables.contains_key(&OsString::from(old))
            {
                variables.entry(uv.into()).or_insert(value);
            }
        }
        for (name, directory) in [("HOME", "home"), ("TMPDIR", "tmp"), ("UV_CACHE_DIR", "uv-cache")] {
            let directory = data_dir.join("installer").join(directory);
            std::fs::create_dir_all(&directory)?;
            variables.insert(name.into(), directory.into());
        }
        sweep(&data_dir.join("installer/tmp"));
        if !variables.contains_key(&OsString::from("UV_CONFIG_FILE")) {
            variables.insert("UV_NO_CONFIG".into(), "1".into());
        }
        for (name, value) in [
            ("LANG", "C.UTF-8"),
            ("NO_COLOR", "1"),
            ("UV_NO_PROGRESS", "1"),
            ("UV_PYTHON_DOWNLOADS", "never"),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ("PIP_NO_INPUT", "1"),
            // Code of one package could leave there what another one installs.
            ("PIP_NO_CACHE_DIR", "1"),
        ] {
            variables.insert(name.into(), value.into());
        }
        Ok(Self { variables: Arc::new(variables), data_dir: Arc::from(data_dir), confine })
    }

    /// A place for one installer; on the file system of the environments.
    pub(super) fn workshop(&self) -> io::Result<Workshop> {
        let installer = self.data_dir.join("installer");
        Workshop::open(&installer.join("tmp"), &installer.join("uv-cache"))
    }

    /// Runs a program of the host, in which no code of a package runs, to its end and returns what it wrote to stdout.
    pub(super) async fn run(
        &self,
        program: &Path,
        arguments: &[OsString],
        deadline: Instant,
    ) -> Result<String, ToolError> {
        self.end(program, self.command(program, arguments, Path::new("/")), deadline).await
    }

    /// Runs an installer in its workshop, confined, to its end and returns what it wrote to stdout.
    pub(super) async fn install(
        &self,
        program: &Path,
        arguments: &[OsString],
        directory: &Path,
        (workshop, cache): (&Workshop, Cache),
        deadline: Instant,
    ) -> Result<String, ToolError> {
        let mut command = self.command(program, arguments, directory);
        workshop
            .equip(command.as_std_mut(), &self.variables, cache, self.confine.as_ref())
            .map_err(|source| ToolError::Start { program: program.display().to_string(), source })?;
        self.end(program, command, deadline).await
    }

    /// Runs uv in its workshop, first with ready-made wheels alone: that runs no code, so what is downloaded is kept for
    /// the next package. If that is not enough, once more with builds, and with a cache that is thrown away. So a version
    /// with a wheel is preferred to a newer one that would have to be built.
    pub(super) async fn install_by_uv(
        &self,
        uv: &Path,
        arguments: &[OsString],
        directory: &Path,
        workshop: &Workshop,
        deadline: Instant,
    ) -> Result<String, ToolError> {
        let mut wheels = arguments.to_vec();
        wheels.push("--no-build".into());
        match self.install(uv, &wheels, directory, (workshop, Cache::Shared), deadline).await {
            Err(ToolError::Failed { output, .. }) if !complaint::is_of_network(&output) => {
                self.install(uv, arguments, directory, (workshop, Cache::Own), deadline).await
            }
            outcome => outcome,
        }
    }

    fn command(&self, program: &Path, arguments: &[OsString], directory: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.variables.iter())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    async fn end(
        &self,
        program: &Path,
        mut command: Command,
        deadline: Instant,
    ) -> Result<String, ToolError> {
        let start = |source| ToolError::Start { program: program.display().to_string(), source };
        let mut child = command.spawn().map_err(start)?;
        let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
        group.slow_down();
        let output = [Tail::read(child.stdout.take()), Tail::read(child.stderr.take())];
        let left = deadline.saturating_duration_since(Instant::now());
        let status = tokio::time::timeout(left, child.wait()).await;
        drop(group);
        let [stdout, stderr] = output;
        let (stdout, stderr) = (stdout.text().await, stderr.text().await);
        let output = || format!("{stderr}{stdout}");
        match status {
            Ok(Ok(status)) if status.success() => Ok(stdout),
            Ok(Ok(status)) => Err(ToolError::Failed { status, output: output() }),
            Ok(Err(error)) => Err(start(error)),
            Err(_) => Err(ToolError::Deadline { output: output() }),
        }
    }

    /// The failure of a tool as the failure of a package. `what` completes "… failed".
    pub(super) fn refusal(&self, what: &str, error: &ToolError) -> PullError {
        match error {
            ToolError::Start { source, .. } => {
                PullError::refused(Step::Environment, format!("{what} failed: {error}"))
                    .with_log(source.to_string())
                    .with_hint("PAR needs uv, or Python 3.9 or newer with pip and venv")
            }
            ToolError::Deadline { output } => PullError::transient(
                Step::Environment,
                format!("{what} took longer than allowed and was stopped"),
            )
            .with_log(output.clone())
            .with_hint("INSTALL_TIMEOUT_SECONDS sets the limit"),
            ToolError::Failed { status, output } => {
                let cause = complaint::summary(output, &self.data_dir).unwrap_or_else(|| status.to_string());
                let transient = complaint::is_of_network(output);
                let refusal = PullError::refused(Step::Environment, format!("{what} failed: {cause}"));
                PullError { transient, ..refusal.with_log(output.clone()) }
            }
        }
    }
}

/// Removes temporary directories that crashes left: older than any install can take.
fn sweep(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let age = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > LEFT_OVER) {
            drop(remove_tree(&entry.path()));
        }
    }
}

/// A process group that ends with this value.
struct Group(Option<Pid>);

impl Group {
    fn slow_down(&self) {
        // Without a group this would be our own; without the right to, the tool runs at our priority.
        if self.0.is_some() {
            setpriority_pgrp(self.0, NICENESS).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            // Nobody left is what we hope for.
            kill_process_group(id, Signal::KILL).ok();
        }
    }
}

/// The end of a stream, read in the background.
struct Tail {
    kept: Arc<Mutex<Vec<u8>>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Tail {
    fn read(stream: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&kept);
        let reader = tokio::spawn(async move {
            let Some(mut stream) = stream else { return };
            let mut buffer = [0_u8; 8192];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                let mut kept = shared.lock();
                kept.extend_from_slice(buffer.get(..read).unwrap_or_default());
                let surplus = kept.len().saturating_sub(KEPT_OUTPUT);
                kept.drain(..surplus);
            }
        });
        Self { kept, reader }
    }

    async fn text(self) -> String {
        // The group is dead, so the pipe closes at once unless somebody left the group with it.
        drop(tokio::time::timeout(Duration::from_secs(1), self.reader).await);
        String::from_utf8_lossy(&self.kept.lock()).into_owned()
    }
}

/// Arguments from anything that is text or a path.
pub(super) fn arguments<const N: usize>(all: [&dyn AsRef<OsStr>; N]) -> Vec<OsString> {
    all.iter().map(|argument| AsRef::<OsStr>::as_ref(*argument).to_os_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[tokio::test]
    async fn a_tool_sees_no_secret_and_its_output_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let tools = Tools::new(directory.path(), None).unwrap();
        let script = "env; echo oops >&2; exit $1";
        let run = |code: &'static str| {
            let tools = tools.clone();
            async move {
                let arguments = ["-c", script, "sh", code].map(OsString::from);
                tools.run(Path::new("/bin/sh"), &arguments, soon()).await
            }
        };
        let output = run("0").await.unwrap();
        assert!(output.contains("UV_CACHE_DIR=") && output.contains("HOME="), "{output}");
        assert!(!output.contains("CARGO"), "{output}");
        let ToolError::Failed { output, .. } = run("3").await.unwrap_err() else { panic!("not failed") };
        assert!(output.starts_with("oops"));
    }

    #[tokio::test]
    async fn a_deadline_ends_the_whole_group() {
        let directory = tempfile::tempdir().unwrap();
        let tools = Tools::new(directory.path(), None).unwrap();
        let arguments = ["-c", "sleep 60 & echo $!; wait"].map(OsString::from);
        let deadline = Instant::now() + Duration::from_millis(300);
        let began = Instant::now();
        let error = tools.run(Path::new("/bin/sh"), &arguments, deadline).await.unwrap_err();
        let ToolError::Deadline { output } = error else { panic!("{error}") };
        assert!(began.elapsed() < Duration::from_secs(5));
        let process = Path::new("/proc").join(output.trim());
        // The kernel ends it in its own time.
        while std::fs::read_to_string(process.join("stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(began.elapsed() < Duration::from_secs(30), "it lives on");
            tokio::task::yield_now().await;
        }
    }
}
