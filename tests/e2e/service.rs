//! A service of the operating system: started with sockets that listen already, and its manager hears how it does.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{
    Client, ParBuilder, eventually, free_ports, not_checked, par, par_command, repository, scratch,
};

/// Listens where the words say (`name=port`, `name=/path`, or `name:datagram=port`), and becomes what follows them with
/// these sockets as a service manager gives them.
const GIVES: &str = r#"
import os, socket, sys
words, command = sys.argv[1].split(","), sys.argv[2:]
sockets, names = [], []
for word in words:
    name, place = word.split("=")
    name, _, kind = name.partition(":")
    kind = socket.SOCK_DGRAM if kind else socket.SOCK_STREAM
    if place.startswith("/"):
        made = socket.socket(socket.AF_UNIX, kind)
        made.bind(place)
    else:
        made = socket.socket(socket.AF_INET, kind)
        made.bind(("127.0.0.1", int(place)))
    if kind == socket.SOCK_STREAM:
        made.listen(16)
    sockets.append(os.dup2(made.fileno(), 100 + len(sockets)))
    names.append(name)
for number, made in enumerate(sockets):
    os.dup2(made, 3 + number, inheritable=True)
    os.close(made)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(sockets)), LISTEN_FDNAMES=":".join(names))
os.execvp(command[0], command)
"#;

fn given(builder: ParBuilder, words: &str) -> ParBuilder {
    builder.through(&["python3", "-c", GIVES, words])
}

/// What a service manager hears.
struct Manager {
    socket: UnixDatagram,
    place: PathBuf,
}

impl Manager {
    fn new(folder: &Path) -> Self {
        let place = folder.join("notify");
        let socket = UnixDatagram::bind(&place).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        Self { socket, place }
    }

    fn hears(&self) -> Option<String> {
        let mut text = [0; 256];
        let length = self.socket.recv(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text[..length]).into_owned())
    }

    async fn next(&self, what: &str) -> String {
        eventually(what, async || self.hears()).await
    }
}

#[tokio::test]
async fn the_service_manager_hears_ready_reloading_and_stopping() {
    let folder = scratch();
    let manager = Manager::new(folder.path());
    let par = par().production().agent("slow").env("NOTIFY_SOCKET", manager.place.to_string_lossy());
    let mut par = par.start().await;
    assert_eq!(manager.next("it is ready").await, "READY=1");
    par.process().signal(Signal::HUP);
    let told = manager.next("it reads again").await;
    let micros = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(str::parse::<u64>);
    assert!(matches!(micros, Some(Ok(1..))), "{told:?}");
    assert_eq!(manager.next("that is over").await, "READY=1");
    // The end is told when it begins, not when it is over.
    let client = Client::new(par.port);
    let call = tokio::spawn(async move { client.invoke("sleep", &json!({"seconds": 1.0})).await });
    par.wait_for_line("the call runs", |line| line.mentions("sleep began")).await;
    par.term();
    assert_eq!(manager.next("it stops").await, "STOPPING=1");
    assert!(!call.is_finished(), "the call still runs");
    call.await.expect("the task").ok();
    assert_eq!(par.exit().await.code(), Some(0));
    assert_eq!(manager.hears(), None);
}

#[tokio::test]
async fn signs_of_life_come_as_long_as_requests_are_answered() {
    let folder = scratch();
    let manager = Manager::new(folder.path());
    let par = par()
        .production()
        .agent("echo")
        .env("NOTIFY_SOCKET", manager.place.to_string_lossy())
        .env("WATCHDOG_USEC", "400000")
        .start()
        .await;
    assert_eq!(manager.next("it is ready").await, "READY=1");
    for _ in 0..4 {
        assert_eq!(manager.next("it lives").await, "WATCHDOG=1");
    }
    // Nobody can connect any more: a runtime that nobody reaches is as good as dead, whatever its timers do.
    par.allow("watchdog_silent");
    fs::remove_file(par.data_dir().join("par.sock")).expect("the local socket");
    par.wait_for_line("it notices", |line| line.event() == "watchdog_silent").await;
    while manager.hears().is_some() {}
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(manager.hears(), None, "and says nothing any more");
}

#[tokio::test]
async fn sockets_that_were_given_are_answered_and_nothing_else_is_bound() {
    let folder = scratch();
    let [http, metrics, a2a, configured] = free_ports();
    let local = folder.path().join("given.sock");
    let words = format!("metrics={metrics},http={http},local={},a2a={a2a}", local.display());
    let par = given(par().production().agent("echo"), &words).start().await;
    assert_eq!(Client::new(http).invoke("echo", &json!(1)).await.ok(), json!(1));
    assert_eq!(Client::new(metrics).get("/metrics").await.status, 200);
    assert_eq!(Client::local(&local).invoke("echo", &json!(2)).await.ok(), json!(2));
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", a2a)).await.is_ok());
    for port in [par.port, par.metrics_port, par.grpc_port, configured] {
        assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err(), "{port}");
    }
    let ready = par.wait_for_line("it says where", |line| line.event() == "ready").await;
    assert!(ready.mentions(&format!("127.0.0.1:{http}")), "{}", ready.text());
    // Whoever has made the socket's file takes it away.
    drop(par.stop().await);
    assert!(local.exists());
}

#[tokio::test]
async fn an_upgrade_is_a_reload_to_the_service_manager_and_keeps_its_sockets() {
    let folder = scratch();
    let manager = Manager::new(folder.path());
    let [http, metrics, ..] = free_ports();
    let par = par().production().agent("echo").env("NOTIFY_SOCKET", manager.place.to_string_lossy());
    let par = given(par, &format!("http={http},metrics={metrics}")).start().await;
    assert_eq!(manager.next("it is ready").await, "READY=1");
    let done = par.cli(&["upgrade"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    let told = manager.next("it is on its way").await;
    assert!(told.starts_with("RELOADING=1"), "{told}");
    assert_eq!(manager.next("it is ready again").await, "READY=1");
    assert!(par.process().alive(), "the service manager knows the process by its number");
    assert_eq!(Client::new(http).invoke("echo", &json!(1)).await.ok(), json!(1));
    assert_eq!(Client::new(metrics).get("/metrics").await.status, 200);
}

#[tokio::test]
async fn a_connection_that_came_before_the_start_is_answered() {
    let [http, metrics, ..] = free_ports();
    let folder = scratch();
    // The real program, which starts the service with the first connection.
    let Ok(found) = Command::new("systemd-socket-activate").arg("--version").output() else {
        not_checked("sockets of a service manager: there is no systemd-socket-activate (Debian: systemd)");
        return;
    };
    assert!(found.status.success());
    let (http_at, metrics_at) = (format!("127.0.0.1:{http}"), format!("127.0.0.1:{metrics}"));
    let mut words =
        vec!["systemd-socket-activate", "-l", &http_at, "-l", &metrics_at, "--fdname=http:metrics"];
    for name in ["A2A_PORT", "PAR_DATA_DIR", "HOST", "LOG_FORMAT", "XDG_CACHE_HOME"] {
        words.extend(["-E", name]);
    }
    let par = par().production().agent("echo").env("XDG_CACHE_HOME", folder.path().to_string_lossy());
    let par = par.through(&words).launch();
    eventually("somebody listens", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", metrics)).await.ok()
    })
    .await;
    let first = Client::new(http).get("/runtime/live").await;
    assert_eq!(first.status, 200, "it waited for its answer, and was not refused");
    eventually("its agents are there", async || {
        (Client::new(http).get("/health").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(Client::new(http).invoke("echo", &json!(1)).await.ok(), json!(1));
    assert!(par.lines().iter().any(|line| line.event() == "sockets_given" && line.mentions("metrics")));
}

#[tokio::test]
async fn sockets_of_no_use_end_the_start_with_the_reason() {
    let folder = scratch();
    let [one, other, ..] = free_ports();
    for (words, reason) in [
        (format!("http={one},htp={other}"), "htp"),
        (format!("http={one},http={other}"), "two sockets named"),
        (format!("http={}", folder.path().join("x").display()), "listens for TCP"),
        (format!("metrics:datagram={one}"), "listens for TCP"),
    ] {
        let mut par = given(par().production().allow("start_failed"), &words).launch();
        assert_eq!(par.exit().await.code(), Some(70), "{words}");
        let told = par.wait_for_line("why", |line| line.event() == "start_failed").await;
        assert!(told.mentions(reason), "{}", told.text());
        fs::remove_file(folder.path().join("x")).ok();
    }
}

#[test]
fn the_units_are_valid_and_leave_little_open() {
    let Ok(found) = Command::new("systemd-analyze").arg("--version").output() else {
        not_checked("units of systemd: there is no systemd-analyze (Debian: systemd)");
        return;
    };
    assert!(found.status.success());
    let folder = scratch();
    let units = repository().join("conf/systemd");
    let program = par_command().get_program().to_string_lossy().into_owned();
    let (service, socket) = (folder.path().join("par.service"), folder.path().join("par.socket"));
    let text = fs::read_to_string(units.join("par.service")).expect("the unit");
    fs::write(&service, text.replace("/usr/bin/par", &program)).expect("a file");
    fs::copy(units.join("par.socket"), &socket).expect("the unit");
    let verified = Command::new("systemd-analyze").arg("verify").args([&service, &socket]).output();
    let verified = verified.expect("it runs");
    let told = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !told.contains("par."), "{told}");
    // 0 leaves nothing open, 10 everything. What is left is the network and /proc, which PAR needs.
    let judged = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=25", "--no-pager"])
        .arg(&service)
        .output()
        .expect("it runs");
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}
