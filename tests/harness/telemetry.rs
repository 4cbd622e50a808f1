//! Receivers of traces and metrics: one of OTLP, of the official messages (`telemetry/receiver.py`); the daemon of StatsD
//! itself, on Node; and plain sockets that check every line.

use std::{
    net::UdpSocket,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::{
    Authority, Issued, ParBuilder,
    command::shared_cache,
    eventually, eventually_within,
    issuer::node,
    log::{Line, Log},
    repository, scratch,
};

/// A receiver of OTLP; runs until it is dropped.
pub(crate) struct Collector {
    /// Where it takes gRPC on 127.0.0.1.
    pub(crate) grpc: u64,
    /// Where it takes HTTP.
    pub(crate) http: u64,
    scheme: &'static str,
    log: Log,
    child: Child,
    /// Its end is the receiver's.
    _stdin: ChildStdin,
}

/// One span.
#[derive(Debug, Clone)]
pub(crate) struct SpanTold(pub(crate) Value);

impl SpanTold {
    /// A text of it.
    #[track_caller]
    pub(crate) fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_else(|| panic!("{key} in {}", self.0))
    }

    /// An attribute.
    pub(crate) fn attribute(&self, key: &str) -> &Value {
        &self.0["attributes"][key]
    }

    /// Whether it lies in another one, by its parent and by its times.
    pub(crate) fn is_in(&self, other: &Self) -> bool {
        let at = |span: &Self, key: &str| span.0[key].as_u64().expect("a time");
        self.text("parent") == other.text("id")
            && self.text("trace") == other.text("trace")
            && at(self, "begin") >= at(other, "begin")
            && at(self, "end") <= at(other, "end")
    }
}

impl Collector {
    /// Takes everything.
    pub(crate) async fn start() -> Self {
        Self::failing(0).await
    }

    /// Turns away the first requests.
    pub(crate) async fn failing(times: u32) -> Self {
        Self::told(&["--fail", &times.to_string()], "http").await
    }

    /// Takes everything by TLS with this certificate; from whom an authority has named, if one is given.
    pub(crate) async fn secure(issued: &Issued, clients: Option<&Authority>) -> Self {
        let text = |path: &Path| path.to_str().expect("a path of text").to_owned();
        let (chain, key) = (text(&issued.chain), text(&issued.key));
        let known = clients.map(|authority| text(&authority.certificate()));
        let mut words = vec!["--certificate", &chain, "--key", &key];
        words.extend(known.iter().flat_map(|known| ["--client-authority", known.as_str()]));
        Self::told(&words, "https").await
    }

    async fn told(words: &[&str], scheme: &'static str) -> Self {
        let mut command = Command::new(tools().join("venv/bin/python3"));
        command.arg(repository().join("tests/harness/telemetry/receiver.py")).args(words);
        let (child, stdin, log) = begin(command);
        let ports = first(&log, "the ports of the receiver").await;
        let port = |name: &str| ports[name].as_u64().expect("a port");
        Self { grpc: port("grpc"), http: port("http"), scheme, log, child, _stdin: stdin }
    }

    /// A `par` that sends to it by HTTP, often, and keeps every trace.
    pub(crate) fn told_by(&self, par: ParBuilder) -> ParBuilder {
        often(par)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}://127.0.0.1:{}", self.scheme, self.http))
            .env("OTEL_TRACES_SAMPLER", "parentbased_always_on")
    }

    /// The same by gRPC.
    pub(crate) fn told_by_grpc(&self, par: ParBuilder) -> ParBuilder {
        self.told_by(par)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}://127.0.0.1:{}", self.scheme, self.grpc))
    }

    /// What came so far of `traces` or `metrics`, request by request.
    pub(crate) fn requests(&self, signal: &str) -> Vec<Value> {
        let lines = self.log.lines();
        lines.iter().map(|line| line.value().clone()).filter(|told| told["signal"] == signal).collect()
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<SpanTold> {
        let requests = self.requests("traces");
        let spans = requests.iter().flat_map(|told| told["spans"].as_array().cloned().unwrap_or_default());
        spans.map(SpanTold).collect()
    }

    /// The spans of a trace, as soon as there are so many.
    pub(crate) async fn trace(&self, id: &str, count: usize) -> Vec<SpanTold> {
        let found = || self.spans().into_iter().filter(|span| span.text("trace") == id).collect::<Vec<_>>();
        let there = || Some(found()).filter(|spans| spans.len() >= count);
        eventually(&format!("{count} spans of {id}"), async || there()).await
    }

    /// A metric, as soon as a point of it satisfies.
    pub(crate) async fn metric(&self, name: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let newest = || self.requests("metrics").last().map(|told| told["metrics"][name].clone());
        let wanted =
            |metric: &Value| metric["points"].as_array().is_some_and(|points| points.iter().any(&is_wanted));
        eventually(name, async || newest().filter(|metric| wanted(metric))).await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A `par` that does not let receivers wait.
pub(crate) fn often(par: ParBuilder) -> ParBuilder {
    par.env("OTEL_BSP_SCHEDULE_DELAY", "50").env("OTEL_METRIC_EXPORT_INTERVAL", "300")
}

/// The one span of this name.
#[track_caller]
pub(crate) fn named<'a>(spans: &'a [SpanTold], name: &str) -> &'a SpanTold {
    let mut all = spans.iter().filter(|span| span.text("name") == name);
    let (Some(span), None) = (all.next(), all.next()) else { panic!("one {name} in {spans:#?}") };
    span
}

/// The daemon of StatsD; runs until it is dropped.
pub(crate) struct StatsdDaemon {
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    log: Log,
    child: Child,
    _stdin: ChildStdin,
    _config: tempfile::TempDir,
}

impl StatsdDaemon {
    /// Adds up, and tells four times a second what came.
    pub(crate) async fn start() -> Self {
        let modules = tools().join("telemetry/node_modules/statsd");
        assert!(modules.is_dir(), "no statsd in {}: run `make tools`", modules.display());
        let config = scratch();
        let (port, management) = (free_port(), free_port());
        let backend = repository().join("tests/harness/telemetry/statsd.js");
        let text = format!(
            "{{ address: '127.0.0.1', port: {port}, mgmt_address: '127.0.0.1', mgmt_port: {management}, \
             flushInterval: 250, backends: [{:?}] }}",
            backend.display().to_string()
        );
        std::fs::write(config.path().join("config.js"), text).expect("a file");
        let mut command = Command::new(node());
        command.arg(modules.join("stats.js")).arg(config.path().join("config.js")).current_dir(&modules);
        let (child, stdin, log) = begin(command);
        let daemon = Self { port, log, child, _stdin: stdin, _config: config };
        eventually("the first round of StatsD", async || daemon.rounds().first().cloned()).await;
        daemon
    }

    /// What it has added up, round by round.
    pub(crate) fn rounds(&self) -> Vec<Value> {
        let lines = self.log.lines();
        lines.iter().map(|line| line.value().clone()).filter(|told| told["counters"].is_object()).collect()
    }

    /// The sum of a counter over all rounds.
    pub(crate) fn sum(&self, counter: &str) -> f64 {
        self.rounds().iter().filter_map(|round| round["counters"][counter].as_f64()).sum()
    }

    /// What it could not read.
    pub(crate) fn bad_lines(&self) -> f64 {
        self.sum("statsd.bad_lines_seen")
    }
}

impl Drop for StatsdDaemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A receiver of packets that only looks at them.
pub(crate) enum Packets {
    /// By UDP.
    Udp(UdpSocket),
    /// By a Unix datagram socket.
    Unix(UnixDatagram),
}

impl Packets {
    /// On a free port of 127.0.0.1, and the port.
    pub(crate) fn udp() -> (Self, u16) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        let port = socket.local_addr().expect("it is bound").port();
        (Self::Udp(socket), port)
    }

    /// At a path.
    pub(crate) fn unix(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        Self::Unix(socket)
    }

    /// Packets as they come, until one holds a line that satisfies; every line of them is checked. Gives all lines.
    pub(crate) async fn until(
        self,
        is_wanted: impl Fn(&str) -> bool + Send + 'static,
    ) -> (Self, Vec<String>, usize) {
        let reading = tokio::task::spawn_blocking(move || {
            let (mut lines, mut largest) = (Vec::new(), 0);
            loop {
                let mut packet = vec![0; 65_536];
                let length = match &self {
                    Self::Udp(socket) => socket.recv(&mut packet),
                    Self::Unix(socket) => socket.recv(&mut packet),
                }
                .expect("a packet in time");
                largest = largest.max(length);
                let text = std::str::from_utf8(&packet[..length]).expect("text");
                let told: Vec<String> = text.split('\n').map(str::to_owned).collect();
                for line in &told {
                    checked(line);
                }
                let found = told.iter().any(|line| is_wanted(line));
                lines.extend(told);
                if found {
                    return (self, lines, largest);
                }
            }
        });
        reading.await.expect("packets")
    }
}

/// `name:value|kind` and, behind it, `|#tag,tag`: as the documentation of DogStatsD has it, to the letter.
#[track_caller]
fn checked(line: &str) {
    let (name, rest) = line.split_once(':').unwrap_or_else(|| panic!("no value in {line:?}"));
    let mut parts = rest.split('|');
    let (value, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    assert!(is_name(name) && name.starts_with(|c: char| c.is_ascii_alphabetic()), "{line:?}");
    assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line:?}");
    assert!(matches!(kind, "c" | "g"), "{line:?}");
    if let Some(tags) = parts.next() {
        let tags = tags.strip_prefix('#').unwrap_or_else(|| panic!("no tags in {line:?}"));
        for tag in tags.split(',') {
            let is_tag = tag.split_once(':').is_some_and(|(key, value)| is_name(key) && !value.is_empty());
            assert!(is_tag && tag.len() <= 200 && !tag.contains(char::is_whitespace), "{tag:?} in {line:?}");
        }
    }
    assert_eq!(parts.next(), None, "{line:?}");
}

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    probe.local_addr().expect("it is bound").port()
}

fn begin(mut command: Command) -> (Child, ChildStdin, Log) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().expect("a receiver of telemetry: run `make tools`");
    let stdin = child.stdin.take().expect("stdin is piped");
    let log = Log::default();
    log.follow(child.stdout.take().expect("stdout is piped"));
    (child, stdin, log)
}

async fn first(log: &Log, what: &str) -> Value {
    let line = || log.lines().first().map(Line::value).cloned();
    eventually_within(Duration::from_secs(60), what, async || line()).await
}

/// Where `make tools` installs.
fn tools() -> PathBuf {
    shared_cache().with_file_name("tools")
}
