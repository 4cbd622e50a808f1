//! `PAR_SOCKET`: everything that the main port offers, for the same user on this machine, and for no agent.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use reqwest::multipart::{Form, Part};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{
    Answered, Client, IdentityProvider, Package, Par, RawConnection, Streamed, eventually, par, scratch,
};

fn local(par: &Par) -> Client {
    Client::local(&par.data_dir().join("par.sock"))
}

fn subject() -> String {
    format!("local:{}", rustix::process::geteuid().as_raw())
}

/// Tells who calls.
const WHO: &str = "def run(input, context):\n    return context.caller\n";

#[tokio::test]
async fn calls_of_every_form_are_answered_there() {
    let par = par().production().agent("echo").agent("private").agent("slow").start().await;
    let local = local(&par);
    assert_eq!(local.invoke("echo", &json!({"message": "hi"})).await.ok(), json!({"message": "hi"}));
    let large = json!({"message": "x".repeat(3 << 20)});
    assert_eq!(local.invoke("echo", &large).await.ok(), large, "answers of any size are whole");
    let told = local.envelope("echo@1.0.0%2Fecho", &json!({"input": {"message": "hi"}})).await.ok();
    assert_eq!(told["output"]["message"], "hi");
    local.invoke("nobody", &json!({})).await.problem(404, "agent_not_found");
    local.invoke("secret", &json!({})).await.problem(404, "agent_not_found");
    let late = local.request(reqwest::Method::POST, "/agents/asleep/invoke").header("X-PAR-Timeout-Ms", "50");
    late.json(&json!({"seconds": 30})).answer().await.problem(504, "deadline_exceeded");
    let header = local.invoke("echo", &json!({"message": 1})).await;
    for name in ["x-request-id", "x-par-agent", "x-par-generation", "server-timing"] {
        assert!(!header.header(name).is_empty(), "{name}");
    }
    let line =
        par.wait_for_line("the access line", |line| line.event() == "access" && line.mentions("504")).await;
    assert_eq!(line.value()["tenant"], "local", "{}", line.text());
}

#[tokio::test]
async fn streams_come_item_by_item_there_and_end_with_their_reader() {
    let par = par().production().agent("streams").start().await;
    let local = local(&par);
    let asked = |export: &str, accept: &str, input: Value| {
        let path = format!("/agents/streams/{export}/invoke");
        Streamed::open(local.request(reqwest::Method::POST, &path).header("accept", accept).json(&input))
    };
    let lines =
        asked("count", "application/x-ndjson", json!({"to": 3})).await.of_kind("application/x-ndjson");
    assert_eq!(lines.items().await, [json!({"number": 0}), json!({"number": 1}), json!({"number": 2})]);
    let mut events = asked("endless", "text/event-stream", json!({"pause": 0.01})).await;
    for _ in 0..3 {
        assert!(events.event().await.is_some());
    }
    drop(events);
    par.wait_for_line("its generator is closed", |line| line.mentions("closed after")).await;
}

#[tokio::test]
async fn the_user_of_this_machine_needs_no_role_and_is_named_to_agents() {
    let scratch = scratch();
    let package = Package::with_main("who", "1.0.0", WHO).apkg(scratch.path());
    let par = par().production().agent("private").source(package).start().await;
    let local = local(&par);
    par.http.invoke("guarded", &json!({})).await.problem(401, "unauthenticated");
    assert_eq!(local.invoke("guarded", &json!({})).await.ok(), "guarded");
    assert_eq!(par.http.invoke("who", &json!({})).await.ok(), Value::Null);
    let caller = local.invoke("who", &json!({})).await.ok();
    assert_eq!(
        caller,
        json!({"subject": subject(), "tenant": "local", "roles": [], "scopes": [], "local": true})
    );
    // What a client says of itself is no word of ours.
    let claimed = local.request(reqwest::Method::POST, "/agents/who/invoke").header("x-par-caller", "{}");
    assert_eq!(claimed.header("x-par-role", "none").json(&json!({})).answer().await.ok(), caller);
}

#[tokio::test]
async fn management_is_there_and_uploads_and_surfaces() {
    let scratch = scratch();
    let par = par().production().agent("surfaces").start().await;
    let local = local(&par);
    let bytes = fs::read(Package::with_main("sent", "1.0.0", WHO).apkg(scratch.path())).expect("an archive");
    let form = Form::new().part("file", Part::bytes(bytes).file_name("sent.apkg"));
    let sent =
        local.request(reqwest::Method::POST, "/runtime/packages/upload").multipart(form).answer().await;
    assert_eq!(sent.ok()["package_id"], "sent@1.0.0");
    assert_eq!(local.invoke("sent", &json!({})).await.ok()["subject"], json!(subject()));
    let enable = "/runtime/agents/sent/enable";
    assert_eq!(local.post(enable, &json!({"enabled": false})).await.ok()["enabled"], false);
    local.invoke("sent", &json!({})).await.problem(503, "agent_disabled");
    par.http.post(enable, &json!({"enabled": true})).await.problem(401, "unauthenticated");
    assert_eq!(local.delete("/runtime/packages/sent@1.0.0").await.status, 200);
    local.invoke("sent", &json!({})).await.problem(404, "agent_not_found");
    assert_eq!(local.get("/agents/surfaces/api/hello").await.ok(), json!({"hello": "world"}));
    let told = local.get("/agents/surfaces/api/request").await.ok();
    let headers: Vec<[String; 2]> = serde_json::from_value(told["headers"].clone()).expect("pairs");
    let said = |name: &str| headers.iter().find(|[key, _]| key == name).map(|[_, value]| value.as_str());
    assert_eq!(said("x-par-tenant"), Some("local"), "{told}");
    assert!(local.get("/agents/surfaces/ui/").await.text().contains('<'));
    assert_eq!(local.get("/health").await.ok()["ok"], true);
}

#[tokio::test]
async fn with_identity_on_the_local_user_is_an_operator_and_a_token_still_names_its_caller() {
    let (issuer, scratch) = (IdentityProvider::start().await, scratch());
    issuer.knows("ada", json!({"roles": ["billing.read"], "tenant": "acme"})).await;
    issuer.knows("bob", json!({"roles": [], "tenant": "acme"})).await;
    let package = Package::with_main("who", "1.0.0", WHO).apkg(scratch.path());
    let par = issuer.believed_by(par()).agent("private").source(package).start().await;
    let local = local(&par);
    par.http.invoke("who", &json!({})).await.problem(401, "unauthenticated");
    assert_eq!(local.invoke("who", &json!({})).await.ok()["subject"], json!(subject()));
    assert_eq!(local.invoke("guarded", &json!({})).await.ok(), "guarded");
    assert!(local.get("/runtime/packages").await.ok()["packages"].is_array());
    let agents = local.get("/agents").await.ok().to_string();
    assert!(agents.contains("guarded") && agents.contains("secret"), "an operator sees all: {agents}");

    let ada = local.with_bearer(&issuer.token("ada").await);
    assert_eq!(ada.invoke("who", &json!({})).await.ok()["tenant"], "acme");
    assert_eq!(ada.invoke("guarded", &json!({})).await.ok(), "guarded");
    ada.get("/runtime/packages").await.problem(403, "forbidden");
    let bob = local.with_bearer(&issuer.token("bob").await);
    bob.invoke("guarded", &json!({})).await.problem(403, "forbidden");
    local.with_bearer("made.up.token").invoke("who", &json!({})).await.problem(401, "unauthenticated");
}

/// Speaks to the local socket, itself and through a child that has left it behind.
const CLIMBER: &str = r#"
import os, socket, subprocess, sys

CALL = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    try:
        connection.sendall(b"GET /runtime/packages HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
        print(len(connection.recv(100)))
    except ConnectionError:
        print(0)
"""

def run(*, path):
    command = [sys.executable, "-c", CALL, path]
    child = subprocess.run(command, capture_output=True, text=True)
    orphan = subprocess.run(["sh", "-c", '("$@") & sleep 0; wait', "sh", *command], capture_output=True, text=True, start_new_session=True)
    return [child.stdout.strip() or child.stderr[-200:], orphan.stdout.strip() or orphan.stderr[-200:]]
"#;

#[tokio::test]
async fn an_agent_that_reaches_the_socket_is_told_nothing() {
    let scratch = scratch();
    let package = Package::with_main("climber", "1.0.0", CLIMBER).apkg(scratch.path());
    // Without the cage, who has connected is all that is left to decide by.
    let par =
        par().production().setting("sandbox", "off").source(package).agent("echo").allow("*").start().await;
    let path = par.data_dir().join("par.sock");
    assert_eq!(fs::metadata(&path).expect("the socket").permissions().mode() & 0o777, 0o600);
    let told = par.http.invoke("climber", &json!({"path": path})).await.ok();
    assert_eq!(told, json!(["0", "0"]), "not a byte");
    let refused = par.wait_for_line("the refusal", |line| line.event() == "inner_socket_refused").await;
    assert!(refused.mentions("agent"), "{}", refused.text());
    assert_eq!(local(&par).invoke("echo", &json!({"message": 1})).await.ok(), json!({"message": 1}));
}

#[tokio::test]
async fn what_keeps_strangers_out_does_not_keep_the_operator_out() {
    let par = par()
        .production()
        .agent("echo")
        .setting("server.max_connections", 2)
        .setting("server.hosts", json!(["par.example"]))
        .allow("connections_refused")
        .start()
        .await;
    let mut crowd = vec![];
    for _ in 0..2 {
        let mut one = RawConnection::open(par.port).await;
        one.send("GET /health HTTP/1.1\r\nHost: par.example\r\n\r\n").await;
        assert!(one.read(Duration::from_secs(5)).await.contains("200 OK"));
        crowd.push(one);
    }
    assert!(
        par.http.request(reqwest::Method::GET, "/health").try_answer().await.is_err(),
        "outside it is full"
    );
    assert_eq!(local(&par).invoke("echo", &json!({"message": 1})).await.ok(), json!({"message": 1}));
    assert!(par.cli(&["packages"]).await.stdout.contains("echo@1.0.0"));
}

#[tokio::test]
async fn whoever_asks_while_calls_are_drained_is_answered() {
    let mut par = par().production().agent("slow").start().await;
    let local = local(&par);
    let running = tokio::spawn({
        let local = local.clone();
        async move { local.invoke("asleep", &json!({"seconds": 1.5})).await }
    });
    par.wait_for_line("the call has begun", |line| line.mentions("asleep began")).await;
    par.process().signal(Signal::TERM);
    eventually("the main port is closed", async || {
        par.http.request(reqwest::Method::GET, "/health").try_answer().await.is_err().then_some(())
    })
    .await;
    let health = local.get("/runtime/health").await;
    assert_eq!(health.status, 503, "{}", health.text());
    assert!(local.get("/runtime/packages").await.ok()["packages"].is_array());
    local.invoke("sleep", &json!({"seconds": 0})).await.problem(503, "stopping");
    assert_eq!(running.await.expect("no panic").ok()["slept"], 1.5);
    assert_eq!(par.exit().await.code(), Some(0));
    assert!(!par.data_dir().join("par.sock").exists(), "it goes with the process");
}

#[tokio::test]
async fn one_agent_in_its_container_is_called_there_too() {
    let scratch = scratch();
    let package = Package::with_main("only", "1.0.0", WHO).apkg(scratch.path());
    let par = par().single("my-agent", format!("file://{}", package.display())).start().await;
    let local = local(&par);
    assert_eq!(local.invoke("my-agent", &json!({})).await.ok()["tenant"], "local");
    assert_eq!(local.get("/agents/my-agent/health").await.status, 200);
}
