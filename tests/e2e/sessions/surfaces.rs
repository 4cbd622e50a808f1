//! Requests at REST surfaces of one session go to the same of several processes.

use std::{collections::BTreeSet, path::Path};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{one, over, started};
use crate::harness::{
    Answer, Answered, Client, IdentityProvider, Package, Par, par, process::Process, scratch,
};

/// Echoes what came, with the process that got it.
const APPLICATION: &str = r#"
import json, os


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    told = json.dumps({"pid": os.getpid(), "body": body.decode()}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": told})
"#;

fn serving(mode: &str) -> Package {
    version("1.0.0", &format!("mode: {mode}"))
}

fn version(version: &str, session: &str) -> Package {
    let manifest = format!("http_server: web:app\nsurfaces: {{workers: 2}}\nsession: {{{session}}}");
    Package::new("web", version, &manifest).file("web.py", APPLICATION)
}

/// A request of a session, named as clients of A2A do.
async fn ask(client: &Client, session: &str) -> Answer {
    client.post("/agents/web/", &json!({"params": {"contextId": session}})).await
}

async fn load(par: &Par, package: &Package, folder: &Path) {
    let path = package.apkg(folder);
    par.operator().post("/runtime/packages/load", &json!({"path": path})).await.ok();
}

#[tokio::test]
async fn requests_of_one_session_stay_with_one_process() {
    let folder = scratch();
    let par = par().source(serving("sticky").apkg(folder.path())).start().await;
    let by_header = async |session: &str| {
        let request =
            par.http.request(reqwest::Method::GET, "/agents/web/x").header("x-par-session", session);
        request.answer().await.ok()["pid"].clone()
    };
    let by_body = async |body: Value| {
        let answer = par.http.post("/agents/web/", &body).await.ok();
        assert_eq!(answer["body"], body.to_string(), "the body arrives as it was sent");
        answer["pid"].clone()
    };
    let mut used = BTreeSet::new();
    for n in 0..8 {
        let session = format!("s-{n}");
        let pid = by_header(&session).await;
        used.insert(pid.as_u64());
        for params in [
            json!({"sessionId": session}),
            json!({"contextId": session}),
            json!({"message": {"contextId": session, "parts": []}}),
        ] {
            let request = json!({"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": params});
            assert_eq!(by_body(request).await, pid, "{session}");
            assert_eq!(by_header(&session).await, pid, "{session}");
        }
    }
    assert_eq!(used.len(), 2, "sessions are spread over both");
}

#[tokio::test]
async fn without_sessions_processes_take_turns_whatever_a_body_says() {
    let folder = scratch();
    let par = par().source(serving("none").apkg(folder.path())).start().await;
    let mut used = BTreeSet::new();
    for _ in 0..4 {
        let body = json!({"params": {"sessionId": "s"}});
        used.insert(par.http.post("/agents/web/", &body).await.ok()["pid"].as_u64());
    }
    assert_eq!(used.len(), 2);
}

#[tokio::test]
async fn a_session_of_a_surface_stays_on_its_version_and_its_process() {
    let folder = scratch();
    let par = par().source(serving("sticky").apkg(folder.path())).start().await;
    let home = ask(&par.http, "old").await.ok()["pid"].clone();
    load(&par, &version("2.0.0", "mode: sticky"), folder.path()).await;
    let new = ask(&par.http, "new").await;
    assert_eq!(new.header("x-par-version"), "2.0.0", "what begins now begins there");
    for _ in 0..3 {
        let old = ask(&par.http, "old").await;
        assert_eq!((old.ok()["pid"].clone(), old.header("x-par-version")), (home.clone(), "1.0.0"));
    }
    let told = one(&par, "old").await.expect("it is listed");
    assert_eq!((&told["package"], &told["agent"]), (&json!("web@1.0.0"), &json!("web@1.0.0")));
    assert_eq!((&told["worker"], &told["calls"]), (&home, &json!(4)));
}

#[tokio::test]
async fn a_session_of_a_surface_ends_when_its_version_has_had_its_time() {
    let folder = scratch();
    let par = par().source(serving("sticky").apkg(folder.path())).setting("rollout.drain_timeout", "1s");
    let par = par.start().await;
    ask(&par.http, "old").await.ok();
    load(&par, &version("2.0.0", "mode: sticky"), folder.path()).await;
    over(&par, "old").await;
    ask(&par.http, "old").await.problem_naming(410, "session_lost", &["rollout"]);
    assert_eq!(
        ask(&par.http, "old").await.header("x-par-version"),
        "2.0.0",
        "told once, then the id is free"
    );
}

#[tokio::test]
async fn the_death_of_its_process_is_told_to_a_session_of_a_surface() {
    let folder = scratch();
    let par = par().source(serving("sticky").apkg(folder.path())).allow("primary_died").start().await;
    let pid = ask(&par.http, "s").await.ok()["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    let process = Process::running(pid.expect("a pid")).expect("it lives");
    process.signal(Signal::KILL);
    over(&par, "s").await;
    ask(&par.http, "s").await.problem_naming(410, "session_lost", &["crash"]);
    // Of two processes one is there all the time, and the session begins anew with it.
    let again = ask(&par.http, "s").await.ok()["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    assert_ne!(again, pid);
}

#[tokio::test]
async fn a_session_of_a_surface_that_nobody_uses_ends_in_its_time() {
    let folder = scratch();
    let package = version("1.0.0", "mode: sticky, idle_ttl: 1s");
    let par = par().source(package.apkg(folder.path())).start().await;
    ask(&par.http, "s").await.ok();
    over(&par, "s").await;
    ask(&par.http, "s").await.problem(410, "session_expired");
    ask(&par.http, "s").await.ok();
}

#[tokio::test]
async fn a_session_of_a_surface_belongs_to_who_began_it() {
    let issuer = IdentityProvider::start().await;
    for name in ["anna", "ben"] {
        issuer.knows(name, json!({"tenant": "acme"})).await;
    }
    let par = started(issuer.believed_by(par()), &serving("sticky")).await;
    let anna = par.http.with_bearer(&issuer.token("anna").await);
    let ben = par.http.with_bearer(&issuer.token("ben").await);
    ask(&anna, "s").await.ok();
    ask(&ben, "s").await.problem(404, "session_not_found");
    ask(&anna, "a b").await.problem_naming(400, "bad_request", &["session id"]);
    ask(&anna, "s").await.ok();
}
