//! `par upgrade`: the process becomes another binary. Whoever connects waits and is not refused, what runs is finished, and a
//! binary that would not serve changes nothing.

mod load;
mod refused;
mod stops;
mod watched;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::harness::{
    Answered as _, Client, Package, Par, eventually, par, par_command, process::Process, scratch,
};

/// How often the runtime has said that it is ready.
fn starts(par: &Par) -> usize {
    par.lines().iter().filter(|line| line.event() == "ready").count()
}

/// Waits until it has said so once more than `before`. Doors open a moment earlier.
async fn started_again(par: &Par, before: usize) {
    eventually("it says that it is ready", async || (starts(par) > before).then_some(())).await;
    assert_eq!(starts(par), before + 1);
}

/// The file that the process runs.
fn runs(par: &Par) -> PathBuf {
    fs::read_link(format!("/proc/{}/exe", par.process().pid)).expect("it runs")
}

/// How many descriptors the process has.
fn descriptors(par: &Par) -> usize {
    fs::read_dir(format!("/proc/{}/fd", par.process().pid)).expect("it runs").count()
}

/// Another file with the same binary.
fn copy(folder: &Path, name: &str) -> PathBuf {
    let place = folder.join(name);
    fs::copy(par_command().get_program(), &place).expect("a copy");
    place
}

async fn upgraded(par: &Par, binary: &Path) {
    let done = par.cli(&["upgrade", "--binary", &binary.to_string_lossy()]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains("serves instead of"), "{done:?}");
}

/// Keeps a number for each session.
const COUNTS: &str = "
def run(input, context):
    state = context.session.state
    state['n'] = state.get('n', 0) + 1
    return state['n']
";

#[tokio::test]
async fn twice_in_a_row_sessions_are_told_once_nothing_is_left_behind_and_the_end_is_that_of_any_runtime() {
    let folder = scratch();
    let package = Package::new("counts", "1.0.0", "entrypoint: main:run\nsession: {mode: sticky}")
        .file("main.py", COUNTS);
    let mut par = par().production().source(package.apkg(folder.path())).start().await;
    let ask = async |id: &str| {
        let call =
            par.http.request(reqwest::Method::POST, "/agents/counts/invoke").header("x-par-session", id);
        call.json(&json!({})).answer().await
    };
    assert_eq!((ask("a").await.ok(), ask("a").await.ok()), (json!(1), json!(2)));
    let mut open = vec![];
    for name in ["one", "two", "three"] {
        upgraded(&par, &copy(folder.path(), name)).await;
        assert_eq!(runs(&par), folder.path().join(name));
        ask("a").await.problem_naming(410, "session_lost", &["shutdown"]);
        assert_eq!(ask("a").await.ok(), json!(1), "{name}: told once, then it begins anew");
        open.push(descriptors(&par));
        eventually("nobody waits to be buried", async || {
            par.process().descendants().into_iter().all(Process::alive).then_some(())
        })
        .await;
    }
    assert!(open[2] <= open[0] + 2, "descriptors stay behind: {open:?}");
    let socket = par.data_dir().join("par.sock");
    assert!(socket.exists());
    par.term();
    assert_eq!(par.exit().await.code(), Some(0));
    assert!(!socket.exists(), "what the first one has made the last one takes away");
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", par.port)).await.is_err());
    let left = fs::read_dir(par.data_dir()).expect("it").flatten().map(|entry| entry.file_name());
    let tried: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with(".try-")).collect();
    assert!(tried.is_empty(), "{tried:?}");
}

/// gRPC, REST and files.
#[tokio::test]
async fn one_agent_in_its_container_keeps_its_ports_too() {
    let folder = scratch();
    let par = par().single("one", crate::harness::agent("surfaces").to_string_lossy()).start().await;
    let health = async || par.http.get("/health").await.status;
    assert_eq!(health().await, 200);
    let ports = [par.port, par.grpc_port, par.ui_port];
    let knocking = tokio::spawn(async move {
        let mut knocks = 0;
        loop {
            for port in ports {
                let knock = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
                knock.unwrap_or_else(|error| panic!("{port}: {error}"));
                knocks += 1;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            if knocks > 1_000_000 {
                return;
            }
        }
    });
    upgraded(&par, &copy(folder.path(), "par-next")).await;
    assert!(!knocking.is_finished(), "nobody was refused");
    knocking.abort();
    started_again(&par, 1).await;
    assert_eq!(health().await, 200);
    let page = Client::new(par.ui_port).get("/").await;
    assert_eq!(page.status, 200);
}

#[tokio::test]
async fn the_local_socket_and_the_same_binary_with_another_configuration_are_no_exceptions() {
    let folder = scratch();
    let settings = folder.path().join("par.yaml");
    fs::write(&settings, "log: {level: info}\n").expect("a file");
    let par = par().production().agent("echo").env("PAR_CONFIG", settings.to_string_lossy()).start().await;
    let local = Client::local(&par.data_dir().join("par.sock"));
    assert_eq!(local.invoke("echo", &json!(1)).await.ok(), json!(1));
    // With what cannot change while it runs.
    fs::write(&settings, "limits: {tenant_daily_calls: 1}\nrollout: {parked: 1}\n").expect("a file");
    let done = par.cli(&["upgrade", "--json"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains("\"seconds\""), "{done:?}");
    assert_eq!(
        Client::local(&par.data_dir().join("par.sock")).invoke("echo", &json!(2)).await.ok(),
        json!(2)
    );
    assert_eq!(par.http.invoke("echo", &json!(1)).await.status, 200);
    eventually("the quota of the day is what it is now", async || {
        (par.http.invoke("echo", &json!(1)).await.status == 429).then_some(())
    })
    .await;
}
