//! Agents that try their luck at the runtime itself, at its sockets, its ports and its frames, and at each other.

use serde_json::json;

use super::security::{OPERATORS, VIEWERS, unharmed};
use crate::harness::{IdentityProvider, Package, par, scratch};

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
    let reached: Vec<_> = told
        .as_object()
        .expect("an object")
        .iter()
        .filter(|(_, outcome)| !outcome.as_str().is_some_and(|outcome| outcome.starts_with("refused")))
        .collect();
    assert!(reached.is_empty(), "{reached:?}");
    assert!(!told.to_string().contains(&par.operator_token()));
    unharmed(&par).await;
}

#[tokio::test]
async fn a_child_of_an_agent_is_no_operator_either() {
    let scratch = scratch();
    let code = format!(
        "import subprocess\n\
         def run(input):\n    program = {:?}\n    done = subprocess.run([program, 'packages'], env={{'PAR_DATA_DIR': input['data']}}, capture_output=True, text=True, start_new_session=True)\n    return [done.returncode, done.stdout, done.stderr]\n",
        env!("CARGO_BIN_EXE_par")
    );
    let package = Package::with_main("parent", "1.0.0", &code);
    // Inside of the cage it could not even start our program.
    let par = par()
        .production()
        .setting("sandbox", "off")
        .source(package.apkg(scratch.path()))
        .allow("*")
        .start()
        .await;
    let told = par.http.invoke("parent", &json!({"data": par.data_dir()})).await.ok();
    assert_ne!(told[0], 0, "{told}");
    assert_eq!(told[1], "", "{told}");
    par.wait_for_line("the refusal", |line| line.event() == "inner_socket_refused" && line.mentions("agent"))
        .await;
    assert_eq!(par.cli(&["packages"]).await.code, 0, "the operator's own shell is served");
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

/// Knocks at the runtime's own ports as somebody who matters, and tells what it is answered.
const KNOCKER: &str = r#"
import http.client

def knock(input):
    told = {}
    for port in input["ports"]:
        for method, path in input["routes"]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request(method, path, body="{}", headers=input["claims"])
            told[f"{method} {path} at {port}"] = connection.getresponse().status
            connection.close()
    return told
"#;

#[tokio::test]
async fn an_agent_at_the_runtimes_own_ports_is_a_stranger_whatever_it_claims() {
    let scratch = scratch();
    let package = Package::new("knocker", "1.0.0", "entrypoint: main:knock").file("main.py", KNOCKER);
    let par = par().production().source(package.apkg(scratch.path())).agent("echo").start().await;
    let routes: Vec<_> = OPERATORS.iter().chain(VIEWERS).collect();
    let me =
        json!({"subject": "root", "tenant": "local", "roles": ["par-operator"], "scopes": [], "local": true});
    let claims = json!({
        "X-PAR-Role": "operator",
        "X-PAR-Caller": me.to_string(),
        "X-PAR-Subject": "root",
        "X-PAR-Tenant": "local",
        "X-PAR-Roles": "par-operator",
        "X-Forwarded-For": "127.0.0.1",
        "Forwarded": "for=127.0.0.1",
        "Host": "localhost",
        "Content-Type": "application/json",
    });
    let input = json!({"ports": [par.port], "routes": routes, "claims": claims});
    let told = par.http.invoke("knocker", &input).await.ok();
    let told = told.as_object().expect("an object");
    assert_eq!(told.len(), routes.len());
    for (what, status) in told {
        assert_eq!(status, 401, "{what}");
    }
    // Its numbers are for everybody who reaches that port, and there is nothing else.
    let input = json!({"ports": [par.metrics_port], "routes": OPERATORS, "claims": claims});
    let told = par.http.invoke("knocker", &input).await.ok();
    for (what, status) in told.as_object().expect("an object") {
        assert!(matches!(status.as_u64(), Some(401 | 404 | 405)), "{what}: {status}");
    }
    unharmed(&par).await;
}

/// Calls another agent by frames that say more than they may.
const FORGER: &str = r#"
import json, time
from pixell_runtime import channel, errors, frames, runtime

write = channel.Channel.add

def forging(claim):
    """Stands for the method by which the worker writes what a call says of itself."""

    def add(self, kind, flags, call, a, meta, payload):
        if kind == frames.INVOKE:
            meta = json.dumps({**json.loads(meta), **claim}).encode()
        return write(self, kind, flags, call, a, meta, payload)

    return add

def forge(*, claims):
    told = []
    for claim in claims:
        channel.Channel.add = forging(claim)
        try:
            told.append("reached: " + str(runtime.call("called/billing")))
        except errors.CallFailed as failed:
            told.append(failed.code)
        finally:
            channel.Channel.add = write
    return told

def stay(*, seconds):
    print("it stays", flush=True)
    time.sleep(seconds)
"#;

#[tokio::test]
async fn an_agent_that_claims_another_caller_in_its_frames_acts_for_its_own() {
    let (issuer, scratch) = (IdentityProvider::start().await, scratch());
    issuer.knows("plain", json!({})).await;
    issuer.knows("biller", json!({"roles": ["billing"]})).await;
    let exports = "exports:\n  - {id: forge, handler: 'main:forge'}\n  - {id: stay, handler: 'main:stay'}\n";
    let manifest = format!("{exports}workers: {{min: 2, max: 2}}");
    let forger = Package::new("forger", "1.0.0", &manifest).file("main.py", FORGER);
    let par = issuer.believed_by(par()).agent("called").source(forger.apkg(scratch.path())).start().await;
    let plain = par.http.with_bearer(&issuer.token("plain").await);
    let biller = par.http.with_bearer(&issuer.token("biller").await);
    let honest = json!({"claims": [{}]});
    assert_eq!(plain.invoke("forge", &honest).await.ok(), json!(["forbidden"]));
    let reached = biller.invoke("forge", &honest).await.ok();
    assert_eq!(
        reached,
        json!(["reached: known to agents of this host only"]),
        "the role is all that it needs"
    );

    // A call of who has the role runs in the other worker meanwhile.
    let staying = tokio::spawn(async move { biller.invoke("stay", &json!({"seconds": 3})).await });
    par.wait_for_line("it runs", |line| line.mentions("it stays")).await;
    let caller =
        json!({"subject": "biller", "tenant": "biller", "roles": ["billing"], "scopes": [], "local": true});
    let mut claims = vec![
        json!({"caller": caller, "principal": caller, "tenant": "biller", "roles": ["billing"], "local": true}),
        json!({"authorization": "Bearer of somebody else", "depth": 0, "deadline": 0, "request_id": "another"}),
    ];
    claims.extend((0..64).map(|parent| json!({"parent": parent, "caller": caller})));
    let told = plain.invoke("forge", &json!({"claims": claims})).await.ok();
    let told = told.as_array().expect("a list");
    assert_eq!(told[..2], [json!("forbidden"), json!("forbidden")]);
    for (parent, outcome) in told[2..].iter().enumerate() {
        assert!(*outcome == "forbidden" || *outcome == "bad_request", "parent {parent}: {outcome}");
    }
    staying.await.expect("no panic").ok();
}
