//! Who may do what without identity, and what agents cannot reach.

use std::os::unix::fs::PermissionsExt;

use reqwest::{Method, header::ORIGIN};
use serde_json::{Value, json};

use crate::harness::{Answered, Package, Par, par, scratch};

/// Every way to change something.
pub(super) const OPERATORS: &[(&str, &str)] = &[
    ("POST", "/runtime/packages/load"),
    ("POST", "/runtime/packages/upload"),
    ("DELETE", "/runtime/packages/echo@1.0.0"),
    ("POST", "/runtime/packages/echo/rollback"),
    ("PUT", "/runtime/packages/echo/traffic"),
    ("POST", "/runtime/reload"),
    ("POST", "/runtime/agents/echo/enable"),
    ("POST", "/runtime/shutdown"),
];

/// Every way to look behind the scenes.
pub(super) const VIEWERS: &[(&str, &str)] = &[
    ("GET", "/runtime/packages"),
    ("GET", "/runtime/rollouts"),
    ("GET", "/runtime/webhooks/deliveries"),
    ("GET", "/runtime/logs"),
    ("GET", "/metrics"),
];

fn request(par: &Par, (method, path): (&str, &str)) -> reqwest::RequestBuilder {
    let method = method.parse::<Method>().expect("a method");
    let request = par.http.request(method.clone(), path);
    if method == Method::POST {
        request.json(&json!({"path": "/nowhere", "enabled": false}))
    } else {
        request
    }
}

async fn unharmed(par: &Par) {
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn without_the_operator_token_nothing_is_changed_and_nothing_is_seen() {
    let par = par().production().agent("echo").start().await;
    for route in OPERATORS.iter().chain(VIEWERS) {
        request(&par, *route).answer().await.problem(401, "unauthenticated");
        let wrong = request(&par, *route).bearer_auth("0".repeat(par.operator_token().len()));
        wrong.answer().await.problem(401, "unauthenticated");
        let basic = request(&par, *route).basic_auth("operator", Some(par.operator_token()));
        assert!(matches!(basic.answer().await.status, 401 | 403), "{route:?}");
    }
    unharmed(&par).await;
    for route in VIEWERS {
        let viewer = request(&par, *route).bearer_auth(par.operator_token());
        assert_eq!(viewer.answer().await.status, 200, "{route:?}");
    }
}

#[tokio::test]
async fn the_operator_token_is_for_its_owner_only_and_can_be_given() {
    let made = par().production().agent("echo").start().await;
    let rights =
        std::fs::metadata(made.data_dir().join("operator.token")).expect("the token").permissions().mode();
    assert_eq!(rights & 0o777, 0o600);
    let token = made.operator_token();
    assert!(token.len() >= 32, "long enough not to be guessed");
    let made = made.restart().await;
    assert_eq!(made.http.with_bearer(&made.operator_token()).get("/runtime/packages").await.status, 200);

    let given = par().production().env("PAR_OPERATOR_TOKEN", "a-token-that-was-given").start().await;
    let operator = given.http.with_bearer("a-token-that-was-given");
    assert_eq!(operator.get("/runtime/packages").await.status, 200);
}

#[tokio::test]
async fn a_web_page_cannot_operate_a_developers_runtime() {
    let par = par().agent("echo").start().await;
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("forwarded", "for=192.0.2.1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "evil.example"),
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example"),
    ] {
        for route in OPERATORS {
            let answer = request(&par, *route).header(name, value).answer().await;
            assert!(matches!(answer.status, 401 | 403 | 421), "{name}: {value} {route:?}: {}", answer.text());
        }
    }
    let text = par.http.request(Method::POST, "/runtime/shutdown").header(ORIGIN, "http://localhost:3000");
    assert!(matches!(text.header("content-type", "text/plain").body("").answer().await.status, 401 | 403));
    unharmed(&par).await;
    assert_eq!(
        par.http.get("/runtime/packages").await.status,
        200,
        "the developer's own shell needs no token"
    );
}

/// The edge keeps connections to the management side. One that ended because nobody read a refused body would take the
/// next request with it, and what changes something is not sent twice.
#[tokio::test]
async fn refusals_with_bodies_cost_the_requests_behind_them_nothing() {
    let par = par().production().agent("echo").start().await;
    let operator = par.http.with_bearer(&par.operator_token());
    let everybody = (0..8).map(|turn: usize| {
        let (stranger, operator) = (par.http.clone(), operator.clone());
        tokio::spawn(async move {
            for round in 0..40 {
                let body = "x".repeat([10, 6_000, 40_000, 200_000][(turn + round) % 4]);
                let refused = stranger.request(Method::POST, "/runtime/packages/load").body(body);
                refused.answer().await.problem(401, "unauthenticated");
                let changed = operator
                    .request(Method::PUT, "/runtime/packages/echo/traffic")
                    .json(&json!({"1.0.0": 100}));
                let answer = changed.answer().await;
                assert_eq!(answer.status, 200, "turn {turn}, round {round}: {}", answer.text());
            }
        })
    });
    for one in everybody.collect::<Vec<_>>() {
        one.await.expect("every answer");
    }
}

#[tokio::test]
async fn a_developers_runtime_listens_on_loopback_only() {
    let par = par().agent("echo").start().await;
    for port in [par.port, par.metrics_port] {
        let hex = format!(":{port:04X}");
        let tables =
            ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
        let listening: Vec<&str> = tables
            .iter()
            .flat_map(|table| table.lines())
            .filter_map(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                (fields.get(3) == Some(&"0A")).then(|| fields.get(1).copied())?
            })
            .filter(|address| address.ends_with(&hex))
            .collect();
        assert_eq!(listening, [format!("0100007F{hex}")], "port {port}");
    }
}

#[tokio::test]
async fn serving_beyond_loopback_without_identity_is_warned_about() {
    let par = par().production().env("HOST", "0.0.0.0").agent("echo").allow("*").start().await;
    par.wait_for_line("the warning", |line| line.is_alarm() && line.mentions("identity")).await;
}

/// An agent that tries to reach what is not its own, and tells what happened.
const SPY: &str = r#"
import glob, os, socket, urllib.request

def attempt(action):
    try:
        return "reached: " + str(action())[:200]
    except BaseException as error:
        return "refused: " + type(error).__name__ + " " + str(error)[:200]

def read(path):
    with open(path) as file:
        return file.read()

def talk(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(3)
        connection.connect(path)
        claim = b"X-PAR-Role: operator\r\n"
        connection.sendall(b"GET /runtime/packages HTTP/1.1\r\nHost: localhost\r\n" + claim + b"Connection: close\r\n\r\n")
        answer = connection.recv(4096)
        if b" 200 " not in answer[:16]:
            raise PermissionError(answer[:60])
        return answer

def sockets(directory):
    found = []
    for root, _, names in os.walk(directory):
        found += [os.path.join(root, name) for name in names if name.endswith(".sock")]
    return found

def spy(input):
    data, parent = input["data"], os.getppid()
    told = {
        "the token": attempt(lambda: read(data + "/operator.token")),
        "the local socket": attempt(lambda: talk(data + "/par.sock")),
        "the runtime's memory": attempt(lambda: read(f"/proc/{input['par']}/environ")),
        "the runtime's files": attempt(lambda: os.open(f"/proc/{input['par']}/fd/1", os.O_WRONLY)),
        "the runtime's address space": attempt(lambda: read(f"/proc/{input['par']}/maps")),
        "the runtime's root": attempt(lambda: read(f"/proc/{input['par']}/root{data}/operator.token")),
    }
    for path in input["sockets"] + sockets(data):
        told["socket " + path] = attempt(lambda: talk(path))
    return told
"#;

#[tokio::test]
async fn an_agent_reaches_neither_the_sockets_nor_the_token() {
    let scratch = scratch();
    let package = Package::new("spy", "1.0.0", "entrypoint: main:spy").file("main.py", SPY);
    let par = par()
        .production()
        .source(package.apkg(scratch.path()))
        .agent("echo")
        .allow("inner_socket_refused")
        .start()
        .await;
    // Every socket that the runtime listens on, wherever it lies.
    let table = std::fs::read_to_string("/proc/net/unix").expect("the table of sockets");
    let paths = table.lines().filter_map(|line| line.split_whitespace().nth(7));
    let data = par.data_dir().to_string_lossy().into_owned();
    let ours: Vec<&str> = paths.filter(|path| path.contains(&data)).collect();
    assert!(!ours.is_empty(), "at least par.sock: {table}");
    let input = json!({"data": data, "par": par.process().pid, "sockets": ours});
    let told = par.http.invoke("spy", &input).await.ok();
    for (what, outcome) in told.as_object().expect("an object") {
        let outcome = outcome.as_str().expect("a text");
        assert!(outcome.starts_with("refused"), "{what}: {outcome}");
    }
    assert!(!told.to_string().contains(&par.operator_token()));
    unharmed(&par).await;
}

#[tokio::test]
async fn a_child_of_an_agent_is_no_operator_either() {
    let scratch = scratch();
    let code = format!(
        "import subprocess, sys\n\
         def run(input):\n    program = {:?}\n    done = subprocess.run([program, 'packages'], env={{'PAR_DATA_DIR': input['data']}}, capture_output=True, text=True, start_new_session=True)\n    return [done.returncode, done.stdout, done.stderr]\n",
        env!("CARGO_BIN_EXE_par")
    );
    let package = Package::with_main("parent", "1.0.0", &code);
    let par =
        par().production().source(package.apkg(scratch.path())).allow("inner_socket_refused").start().await;
    let answer = par.http.invoke("parent", &json!({"data": par.data_dir()})).await;
    if answer.status == 200 {
        let told: Value = answer.json();
        assert_ne!(told[0], 0, "{told}");
        assert!(!told[1].as_str().unwrap_or_default().contains("parent@1.0.0"), "{told}");
    } else {
        answer.problem(500, "agent_error");
    }
    assert_eq!(par.cli(&["packages"]).await.code, 0, "the operator's own shell is served");
}

#[tokio::test]
async fn tracebacks_are_for_operators_only() {
    let par = par().production().agent("faulty").start().await;
    let anyone = par.http.invoke("raises", &json!({})).await.problem(500, "agent_error");
    assert_eq!(
        anyone["error"]["message"], "the handler's own message",
        "exposed as long as there is no identity"
    );
    assert!(!anyone.to_string().contains("faulty.py"), "{anyone}");
    let operator = par.operator().invoke("raises", &json!({})).await.problem(500, "agent_error");
    assert!(operator.to_string().contains("faulty.py"), "{operator}");

    let silent =
        crate::harness::par().production().agent("faulty").setting("expose_errors", false).start().await;
    let told = silent.http.invoke("raises", &json!({})).await.problem(500, "agent_error");
    assert_eq!(told["error"]["type"], "ValueError");
    assert!(!told.to_string().contains("own message"), "{told}");
}

#[tokio::test]
async fn one_agent_cannot_harm_another() {
    let scratch = scratch();
    let code = "import os, signal\ndef run(input):\n    told = []\n    for pid in input['pids']:\n        try:\n            os.kill(pid, signal.SIGKILL)\n            told.append('killed')\n        except OSError as error:\n            told.append(type(error).__name__)\n    return told\n";
    let package = Package::with_main("killer", "1.0.0", code);
    let par = par().production().source(package.apkg(scratch.path())).agent("echo").allow("*").start().await;
    let victim = par.package("echo@1.0.0").await.expect("it is mounted");
    let pids = [victim["workers"][0]["pid"].clone(), json!(par.process().pid)];
    let told = par.http.invoke("killer", &json!({"pids": pids})).await.ok();
    assert_eq!(
        told.as_array().expect("a list").iter().filter(|outcome| *outcome == "killed").count(),
        0,
        "{told}"
    );
    unharmed(&par).await;
}
