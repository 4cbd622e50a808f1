//! The real binary: started on free ports, watched, ended with everything that it started.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    Client, Line, Output,
    command::{par_command, par_command_through, shared_cache},
    eventually, eventually_within,
    log::{Log, collect},
    process::{self, Process},
    scratch,
    settings::nested,
};

/// Enough for a first install of pandas on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// How `par` will be started.
#[derive(Debug, Clone)]
pub(crate) struct ParBuilder {
    dev: bool,
    sources: Vec<OsString>,
    env: BTreeMap<String, String>,
    settings: Vec<(String, Value)>,
    allowed: Vec<String>,
    through: Vec<String>,
    pub(crate) data: Arc<TempDir>,
}

/// `par serve --dev` with nothing loaded.
pub(crate) fn par() -> ParBuilder {
    ParBuilder {
        dev: true,
        sources: vec![],
        env: BTreeMap::new(),
        settings: vec![],
        allowed: vec![],
        through: vec![],
        data: Arc::new(data_directory()),
    }
}

/// What all tests share and what is kept between runs, by its place in the data directory and in the cache: downloads of
/// installers, what requirements resolve to, and environments, which are addressed by that.
const SHARED: [(&str, &str); 3] =
    [("installer/uv-cache", "uv"), ("resolutions", "resolutions"), ("environments", "environments")];

/// Its own for each test, except for what is shared.
fn data_directory() -> TempDir {
    let data = scratch();
    fs::create_dir(data.path().join("installer")).expect("a directory");
    for (place, name) in SHARED {
        let shared = shared_cache().join(name);
        fs::create_dir_all(&shared).expect("a directory");
        std::os::unix::fs::symlink(shared, data.path().join(place)).expect("a link");
    }
    data
}

impl ParBuilder {
    /// With environments of its own: for tests of what installs cost and leave.
    pub(crate) fn own_environments(self) -> Self {
        for (place, _) in SHARED.into_iter().filter(|(place, _)| !place.starts_with("installer")) {
            fs::remove_file(self.data.path().join(place)).expect("a link of ours");
        }
        self
    }

    /// `par serve` as in production, on loopback.
    pub(crate) fn production(mut self) -> Self {
        self.dev = false;
        self.env("HOST", "127.0.0.1")
    }

    /// One container with one agent, on loopback.
    pub(crate) fn single(self, id: &str, package_url: impl AsRef<str>) -> Self {
        let named = self.production().env("AGENT_APP_ID", id).env("PACKAGE_URL", package_url);
        named.env("BOOT_BUDGET_MS", "120000")
    }

    /// One more source.
    pub(crate) fn source(mut self, source: impl Into<OsString>) -> Self {
        self.sources.push(source.into());
        self
    }

    /// A package of `tests/agents`.
    pub(crate) fn agent(self, name: &str) -> Self {
        self.source(super::agent(name))
    }

    /// A variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.env.insert(name.to_owned(), value.as_ref().to_owned());
        self
    }

    /// A key of the configuration file, sections joined by dots.
    pub(crate) fn setting(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.settings.push((key.to_owned(), value.into()));
        self
    }

    /// On a disk of its own at `place`, which only this `par` and its children see: a small one fills up.
    pub(crate) fn disk(self, place: &Path, megabytes: u32) -> Self {
        let mount = format!("mount -t tmpfs -o size={megabytes}m none \"$1\"");
        self.apart("--mount", &mount, &place.to_string_lossy())
    }

    /// In a network of its own, where nobody else is.
    pub(crate) fn alone(self) -> Self {
        self.apart("--net", "ip link set lo up && ip route add default dev lo", "")
    }

    fn apart(self, from: &str, first: &str, place: &str) -> Self {
        let first = format!("{first} && shift && exec \"$@\"");
        self.through(&["unshare", "--map-root-user", from, "sh", "-c", &first, "sh", place])
    }

    /// Started by another program, which ends by becoming it.
    pub(crate) fn through(self, words: &[&str]) -> Self {
        Self { through: words.iter().map(|word| (*word).to_owned()).collect(), ..self }
    }

    /// The same without its sources.
    pub(crate) fn without_sources(self) -> Self {
        Self { sources: vec![], ..self }
    }

    /// WARN and ERROR lines of this event are part of the story.
    pub(crate) fn allow(mut self, event: &str) -> Self {
        self.allowed.push(event.to_owned());
        self
    }

    /// Starts and waits until it is ready. A port that somebody took meanwhile costs another try.
    pub(crate) async fn start(self) -> Par {
        for _ in 0..3 {
            let mut par = self.clone().launch();
            let ready = eventually_within(READY_WITHIN, "par is ready", async || {
                let ready = par.lines().iter().any(|line| line.event() == "ready");
                if ready { Some(true) } else { par.exited().map(|_| false) }
            });
            if ready.await {
                return par;
            }
            par.exit().await;
            let clash = par.everything_said().to_lowercase().contains("in use");
            assert!(clash, "par ended before it was ready:\n{}", par.everything_said());
            par.allowed.lock().expect("no holder panics").push("*".to_owned());
        }
        panic!("three times in a row a port was taken");
    }

    fn speaks_tls(&self) -> bool {
        let mode = |mode: &str| mode == "self-signed";
        self.env.contains_key("TLS_CERT")
            || self.env.get("PAR_TLS").is_some_and(|text| mode(text))
            || self.settings.iter().any(|(key, value)| key == "tls.mode" && value.as_str().is_some_and(mode))
    }

    fn write_settings(&self) -> PathBuf {
        let path = self.data.path().join("test-settings.yaml");
        fs::write(&path, nested(&self.settings).to_string()).expect("a file");
        path
    }

    /// Starts and does not wait.
    pub(crate) fn launch(self) -> Par {
        let [port, metrics_port, grpc_port, ui_port] = free_ports();
        let mut command = par_command_through(&self.through);
        command.arg("serve");
        if self.dev {
            command.arg("--dev");
        }
        if !self.settings.is_empty() {
            command.arg("-c").arg(self.write_settings());
        }
        command
            .args(&self.sources)
            .env("PORT", port.to_string())
            .env("METRICS_PORT", metrics_port.to_string())
            .env("A2A_PORT", grpc_port.to_string())
            .env("REST_PORT", port.to_string())
            .env("UI_PORT", ui_port.to_string())
            .env("PAR_DATA_DIR", self.data.path())
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary under test");
        let log = Log::default();
        log.follow(child.stdout.take().expect("stdout is piped"));
        let stderr = collect(child.stderr.take().expect("stderr is piped"));
        let process = Process::running(child.id()).expect("a child that nobody has waited for");
        let allowed = Mutex::new(self.allowed.clone());
        let http = if self.speaks_tls() { Client::https(port) } else { Client::new(port) };
        Par {
            http,
            port,
            metrics_port,
            grpc_port,
            ui_port,
            builder: self,
            child,
            process,
            log,
            stderr,
            allowed,
        }
    }
}

/// Ports that were free a moment ago.
pub(crate) fn free_ports() -> [u16; 4] {
    let listeners = [(); 4].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}

/// A running `par`. Dropped, it takes down all that it started and fails the test on alarms that nobody expected.
pub(crate) struct Par {
    /// Speaks to the main port, as nobody in particular.
    pub(crate) http: Client,
    /// The main port.
    pub(crate) port: u16,
    /// The port of the metrics.
    pub(crate) metrics_port: u16,
    /// The port of gRPC.
    pub(crate) grpc_port: u16,
    /// The port of the UI, in single mode.
    pub(crate) ui_port: u16,
    builder: ParBuilder,
    child: Child,
    process: Process,
    log: Log,
    stderr: Arc<Mutex<String>>,
    allowed: Mutex<Vec<String>>,
}

impl Par {
    /// The data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        self.builder.data.path()
    }

    /// The operator token that it made.
    pub(crate) fn operator_token(&self) -> String {
        let path = self.data_dir().join("operator.token");
        fs::read_to_string(path).expect("the operator token").trim().to_owned()
    }

    /// A client with the operator token.
    pub(crate) fn operator(&self) -> Client {
        self.http.with_bearer(&self.operator_token())
    }

    /// A client of the metrics port.
    pub(crate) fn metrics(&self) -> Client {
        Client::new(self.metrics_port)
    }

    /// The main process.
    pub(crate) fn process(&self) -> Process {
        self.process
    }

    /// `par <args>` against this one, over its local socket.
    pub(crate) async fn cli(&self, args: &[&str]) -> Output {
        let mut command = par_command();
        command.args(args).env("PAR_DATA_DIR", self.data_dir());
        if let Some(socket) = self.builder.env.get("PAR_SOCKET") {
            command.env("PAR_SOCKET", socket);
        }
        Output::of(command).await
    }

    /// WARN and ERROR lines of this event are part of the story from here on.
    pub(crate) fn allow(&self, event: &str) {
        self.allowed.lock().expect("no holder panics").push(event.to_owned());
    }

    /// The log so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.log.lines()
    }

    /// The first line that fits, now or soon.
    pub(crate) async fn wait_for_line(&self, what: &str, fits: impl Fn(&Line) -> bool) -> Line {
        eventually(what, async || self.lines().into_iter().find(&fits)).await
    }

    /// The entry of a package in `GET /runtime/packages`, if it is there.
    pub(crate) async fn package(&self, id: &str) -> Option<Value> {
        let packages = self.operator().get("/runtime/packages").await.ok();
        packages["packages"].as_array()?.iter().find(|package| package["id"] == id).cloned()
    }

    /// The entry of a source that failed, if there is one whose `source` mentions these words.
    pub(crate) async fn failure(&self, words: &str) -> Option<Value> {
        let packages = self.operator().get("/runtime/packages").await.ok();
        let failed = packages["failed"].as_array()?;
        failed
            .iter()
            .find(|failure| failure["source"].as_str().is_some_and(|text| text.contains(words)))
            .cloned()
    }

    /// Asks it to stop, as a service manager would.
    pub(crate) fn term(&self) {
        self.process.signal(Signal::TERM);
    }

    /// `kill -9`: nothing is cleaned up by itself.
    pub(crate) fn kill(&self) {
        self.process.signal(Signal::KILL);
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// How it ends.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let status = eventually_within(Duration::from_secs(60), "par ends", async || self.exited()).await;
        eventually("its last words are read", async || self.log.is_whole().then_some(())).await;
        status
    }

    /// Stops it gracefully and starts it again with the same data, sources and variables.
    pub(crate) async fn restart(self) -> Self {
        self.stop().await.start().await
    }

    /// Stops it gracefully; what comes back starts it again with the same data, sources and variables.
    pub(crate) async fn stop(mut self) -> ParBuilder {
        self.term();
        self.exit().await;
        // Dropping takes down what is left of this one; later it would be the new one.
        self.anew()
    }

    /// The same builder, for a later start on the same data directory.
    pub(crate) fn anew(&self) -> ParBuilder {
        self.builder.clone()
    }

    /// Log and stderr, for a person who looks for the reason.
    pub(crate) fn everything_said(&self) -> String {
        let lines: Vec<String> = self.lines().iter().map(Line::text).collect();
        let stderr = self.stderr.lock().expect("no reader panics");
        format!("--- log\n{}\n--- stderr\n{stderr}", lines.join("\n"))
    }

    fn end_everything(&mut self) {
        let started = self.process.descendants();
        self.process.signal(Signal::KILL);
        self.child.wait().ok();
        for process in started.into_iter().chain(process::using(self.builder.data.path())) {
            process.signal(Signal::KILL);
        }
    }
}

impl Drop for Par {
    fn drop(&mut self) {
        self.end_everything();
        if std::thread::panicking() {
            eprintln!("{}", self.everything_said());
            return;
        }
        let allowed = self.allowed.lock().expect("no holder panics").clone();
        // Access lines of failed calls are alarms too, but the test has seen the answers themselves.
        let told = |event: &str| matches!(event, "agent_output" | "access");
        let expected = |event: &str| told(event) || allowed.iter().any(|name| name == "*" || name == event);
        let alarms: Vec<String> = self
            .lines()
            .iter()
            .filter(|line| line.is_alarm() && !expected(line.event()))
            .map(Line::text)
            .collect();
        assert!(alarms.is_empty(), "alarms that nobody expected:\n{}", alarms.join("\n"));
    }
}
