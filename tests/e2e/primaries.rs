//! The process that serves a package's surfaces: started with it, replaced, dismissed with its generation.

use serde_json::{Value, json};

use crate::harness::{Package, Par, eventually, par, scratch};

/// An application that tells its process, can end it, and says when it is shut down.
const APPLICATION: &str = r#"
import os, sys

GREETING = "there"


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                print("shut down in order", flush=True)
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"].endswith("/exit"):
        os._exit(3)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"#;

fn application(name: &str, version: &str) -> Package {
    Package::new(name, version, "http_server: web:app").file("web.py", APPLICATION)
}

async fn primaries(par: &Par, id: &str) -> Vec<u64> {
    let package = par.package(id).await.expect("mounted");
    let pids = package["primaries"].as_array().cloned().unwrap_or_default();
    pids.iter().filter_map(Value::as_u64).collect()
}

#[tokio::test]
async fn a_package_of_surfaces_alone_has_the_one_process_that_serves_them() {
    let scratch = scratch();
    let par = par().source(application("web", "1.0.0").apkg(scratch.path())).start().await;
    let package = par.package("web@1.0.0").await.expect("mounted");
    assert_eq!(package["workers"], json!([]));
    assert_eq!(package["surfaces"], json!(["rest"]));
    let served = par.http.get("/agents/web/x").await.text();
    assert_eq!(primaries(&par, "web@1.0.0").await, [served.parse::<u64>().expect("a number")]);
}

#[tokio::test]
async fn as_many_processes_serve_as_the_manifest_says_and_take_turns() {
    let scratch = scratch();
    let package = Package::new("web", "1.0.0", "http_server: web:app\nsurfaces: {workers: 2}")
        .file("web.py", APPLICATION);
    let par = par().source(package.apkg(scratch.path())).start().await;
    let pids = primaries(&par, "web@1.0.0").await;
    assert_eq!(pids.len(), 2);
    let mut answered: Vec<u64> = Vec::new();
    for _ in 0..4 {
        answered.push(par.http.get("/agents/web/x").await.text().parse().expect("a number"));
    }
    assert!(pids.iter().all(|pid| answered.contains(pid)), "{pids:?} {answered:?}");
}

#[tokio::test]
async fn a_process_that_dies_again_and_again_is_told_of_and_still_comes_back() {
    let scratch = scratch();
    let par =
        par().source(application("web", "1.0.0").apkg(scratch.path())).allow("primary_died").start().await;
    for _ in 0..5 {
        let before = eventually("it serves", async || primaries(&par, "web@1.0.0").await.pop()).await;
        let answer = par.http.post_empty("/agents/web/exit").await;
        assert!([502, 503].contains(&answer.status), "{}", answer.status);
        eventually("another one serves", async || {
            primaries(&par, "web@1.0.0").await.pop().filter(|pid| *pid != before)
        })
        .await;
    }
    let package = par.package("web@1.0.0").await.expect("mounted");
    assert!(package["last_error"].as_str().is_some_and(|text| text.contains("surfaces")), "{package}");
    assert_eq!(par.http.get("/agents/web/x").await.status, 200);
}

#[tokio::test]
async fn an_application_is_shut_down_in_order_when_the_runtime_stops() {
    let scratch = scratch();
    let mut par = par().source(application("web", "1.0.0").apkg(scratch.path())).start().await;
    let pids = primaries(&par, "web@1.0.0").await;
    par.term();
    let said = |line: &crate::harness::Line| line.mentions("shut down in order");
    par.wait_for_line("the application's word", said).await;
    let gone = async || par.exited();
    assert!(eventually("the end", gone).await.success());
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} lives on");
    }
}

#[tokio::test]
async fn an_application_that_cannot_be_made_refuses_its_package_and_says_why() {
    let scratch = scratch();
    let par = par().agent("echo").allow("package_failed").start().await;
    let attempts = [
        ("import", "import not_there", "template", "not_there"),
        ("attribute", "other = 1", "template", "app"),
        ("raises", "def app():\n    raise RuntimeError('no database')", "serve", "no database"),
        ("nothing", "def app():\n    return 1", "serve", "app"),
    ];
    for (name, code, step, cause) in attempts {
        let path = Package::new(name, "1.0.0", "rest: {entry: \"web:app\"}").file("web.py", code);
        let path = path.apkg(scratch.path());
        let answer = par.operator().post("/runtime/packages/load", &json!({"path": path})).await;
        let problem = answer.problem(422, "package_invalid");
        assert_eq!(problem["step"], step, "{name}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains(cause)), "{name}: {problem}");
    }
    assert_eq!(par.http.invoke("echo", &json!({"a": 1})).await.ok(), json!({"a": 1}));
}

#[tokio::test]
async fn a_package_is_served_with_what_it_brings_and_else_with_a_kit() {
    let scratch = scratch();
    let code = "import fastapi\n\n\ndef mount(app):\n    @app.get('/version')\n    def version():\n        \
        return {'fastapi': fastapi.__version__}\n";
    let package =
        |name: &str| Package::new(name, "1.0.0", "rest: {entry: \"web:mount\"}").file("web.py", code);
    let par = par()
        .source(package("brings").file("requirements.txt", "fastapi==0.111.0\n").apkg(scratch.path()))
        .source(package("lacks").apkg(scratch.path()))
        .start()
        .await;
    assert_eq!(par.http.get("/agents/brings/version").await.ok(), json!({"fastapi": "0.111.0"}));
    let other = par.http.get("/agents/lacks/version").await.ok();
    assert_ne!(other["fastapi"], "0.111.0");
    assert!(other["fastapi"].is_string());
}
