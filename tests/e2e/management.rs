//! What operators do, over HTTP and over the local socket, and what everybody may see.

use std::{fs, time::Duration};

use reqwest::{Method, multipart};
use serde_json::{Value, json};

use crate::harness::{Answered, Client, Package, agent, eventually, par, scratch};

fn saying(name: &str, version: &str, word: &str) -> Package {
    Package::with_main(name, version, &format!("def run(input):\n    return '{word}'\n"))
}

async fn upload(
    client: &Client,
    package: &Package,
    fields: &[(&'static str, String)],
) -> crate::harness::Answer {
    let file = multipart::Part::bytes(package.bytes()).file_name("package.apkg");
    let form = fields.iter().fold(multipart::Form::new().part("file", file), |form, (name, value)| {
        form.text(*name, value.clone())
    });
    client.request(Method::POST, "/runtime/packages/upload").multipart(form).answer().await
}

#[tokio::test]
async fn a_package_is_loaded_by_path_and_url_and_loaded_again_without_effect() {
    let scratch = scratch();
    let server = crate::harness::HttpsServer::start(scratch.path()).await;
    let par = par().env("SSL_CERT_FILE", server.authorities()).start().await;
    let operator = par.operator();
    let package = saying("loaded", "1.0.0", "one");
    let body = json!({"path": package.apkg(scratch.path()), "sha256": package.sha256()});
    let first = operator.post("/runtime/packages/load", &body).await.ok();
    assert_eq!(first["status"], "success");
    assert_eq!(first["package_id"], "loaded@1.0.0");
    assert_eq!(first["agents"], json!(["loaded@1.0.0/default"]));
    assert_eq!(first["created"], true);
    assert_eq!(
        operator.post("/runtime/packages/load", &body).await.ok()["created"],
        false,
        "the same bytes again"
    );

    let remote = saying("remote", "1.0.0", "far");
    let url = server.gives("/remote.apkg", remote.bytes());
    operator.post("/runtime/packages/load", &json!({"url": url, "sha256": remote.sha256()})).await.ok();
    assert_eq!(par.http.invoke("remote", &json!({})).await.ok(), json!("far"));

    par.allow("package_failed");
    let wrong = operator.post("/runtime/packages/load", &json!({"url": url, "sha256": "0".repeat(64)})).await;
    assert_eq!(wrong.problem(422, "package_invalid")["step"], "verify");
    for body in [json!({}), json!({"path": "/a", "url": "https://b"}), json!({"path": 5}), json!([])] {
        let refused = operator.post("/runtime/packages/load", &body).await;
        assert!(matches!(refused.status, 400 | 422), "{body}: {} {}", refused.status, refused.text());
    }
}

#[tokio::test]
async fn an_upload_is_loaded_and_its_digest_compared() {
    let par = par().allow("package_failed").start().await;
    let operator = par.operator();
    let package = saying("sent", "1.0.0", "by upload");
    let answer = upload(&operator, &package, &[("sha256", package.sha256())]).await.ok();
    assert_eq!((&answer["package_id"], &answer["created"]), (&json!("sent@1.0.0"), &json!(true)));
    assert_eq!(par.http.invoke("sent", &json!({})).await.ok(), json!("by upload"));
    let other = saying("other", "1.0.0", "x");
    let refused = upload(&operator, &other, &[("sha256", "0".repeat(64))]).await;
    assert_eq!(refused.problem(422, "package_invalid")["step"], "verify");
    let nothing = operator.request(Method::POST, "/runtime/packages/upload");
    let nothing = nothing.multipart(multipart::Form::new().text("name", "x")).answer().await;
    assert!(matches!(nothing.status, 400 | 422), "{}", nothing.text());
}

#[tokio::test]
async fn an_upload_over_the_limit_is_refused() {
    let par = par().env("MAX_PACKAGE_SIZE_MB", "1").allow("package_failed").start().await;
    let send = async |size: usize| {
        let bytes = [saying("large", "1.0.0", "x").bytes(), vec![0; size]].concat();
        let form = multipart::Form::new().part("file", multipart::Part::bytes(bytes).file_name("large.apkg"));
        par.operator().request(Method::POST, "/runtime/packages/upload").multipart(form).try_answer().await
    };
    send(1 << 20).await.expect("an answer").problem(413, "too_large");
    // Far over the limit the answer comes, and the connection ends, before the body was sent: some clients see only
    // the end.
    if let Ok(answer) = send(8 << 20).await {
        answer.problem(413, "too_large");
    }
    par.http.invoke("large", &json!({})).await.problem(404, "agent_not_found");
}

#[tokio::test]
async fn the_same_id_with_other_bytes_is_a_conflict_unless_forced() {
    let scratch = scratch();
    let par = par().production().allow("package_failed").start().await;
    let operator = par.operator();
    upload(&operator, &saying("twice", "1.0.0", "first"), &[]).await.ok();
    let other = saying("twice", "1.0.0", "second");
    upload(&operator, &other, &[]).await.problem(409, "conflict");
    assert_eq!(par.http.invoke("twice", &json!({})).await.ok(), json!("first"));
    upload(&operator, &other, &[("force", "true".to_owned())]).await.ok();
    assert_eq!(par.http.invoke("twice", &json!({})).await.ok(), json!("second"));

    let path = saying("outside", "1.0.0", "x").apkg(scratch.path());
    let refused = operator.post("/runtime/packages/load", &json!({"path": path})).await;
    assert!((400..500).contains(&refused.status), "a path outside the configured roots: {}", refused.text());
    par.http.invoke("outside", &json!({})).await.problem(404, "agent_not_found");
}

#[tokio::test]
async fn a_path_is_loaded_below_a_configured_root_only() {
    let scratch = scratch();
    let root = scratch.path().join("root");
    fs::create_dir(&root).expect("a directory");
    let par = par()
        .production()
        .setting("packages.load_roots", json!([root]))
        .allow("package_failed")
        .start()
        .await;
    let load = async |path: &std::path::Path| {
        par.operator().post("/runtime/packages/load", &json!({"path": path})).await
    };
    load(&saying("inside", "1.0.0", "x").apkg(&root)).await.ok();
    let outside = saying("outside", "1.0.0", "x").apkg(scratch.path());
    std::os::unix::fs::symlink(&outside, root.join("link.apkg")).expect("a link");
    for path in [outside.clone(), root.join("../outside-1.0.0.apkg"), root.join("link.apkg")] {
        let refused = load(&path).await;
        assert!((400..500).contains(&refused.status), "{}: {}", path.display(), refused.text());
    }
}

#[tokio::test]
async fn a_deleted_package_is_drained_and_gone() {
    let par = par().agent("slow").agent("echo").start().await;
    let call = {
        let http = par.http.clone();
        tokio::spawn(async move { http.invoke("sleep", &json!({"seconds": 1.5})).await })
    };
    eventually("a worker is busy", async || {
        let package = par.package("slow@1.0.0").await?;
        package["workers"].as_array()?.iter().any(|worker| worker["outstanding"] == 1).then_some(())
    })
    .await;
    let answer = par.operator().delete("/runtime/packages/slow@1.0.0").await;
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    par.http.invoke("sleep", &json!({})).await.problem(404, "agent_not_found");
    assert_eq!(call.await.expect("the task").ok(), json!({"slept": 1.5}), "the running call is finished");
    eventually("it is gone", async || par.package("slow@1.0.0").await.is_none().then_some(())).await;
    par.operator().delete("/runtime/packages/slow@1.0.0").await.problem(404, "package_not_found");
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn enabling_toggles_without_a_body_and_sets_with_one() {
    let par = par().agent("echo").agent("private").start().await;
    let operator = par.operator();
    let told = operator.post_empty("/runtime/agents/echo/enable").await.ok();
    assert_eq!(told["enabled"], false, "{told}");
    par.http.invoke("echo", &json!({})).await.problem(503, "agent_disabled");
    assert_eq!(par.http.get("/agents/echo").await.ok()["status"], "disabled");
    assert_eq!(operator.post_empty("/runtime/agents/echo@1.0.0/echo/enable").await.ok()["enabled"], true);
    for _ in 0..2 {
        let told = operator.post("/runtime/agents/echo/enable", &json!({"enabled": false})).await.ok();
        assert_eq!(told["enabled"], false);
    }
    operator.post("/runtime/agents/private%2Fsecret/enable", &json!({"enabled": false})).await.ok();
    operator.post_empty("/runtime/agents/nobody/enable").await.problem(404, "agent_not_found");
    let refused = operator.post("/runtime/agents/echo/enable", &json!({"enabled": "maybe"})).await;
    assert!(matches!(refused.status, 400 | 422), "{}", refused.text());
}

#[tokio::test]
async fn logs_are_found_by_agent_level_and_request_and_followed() {
    let par = par().agent("echo").agent("faulty").start().await;
    let ask = async |agent: &str, id: &str| {
        let request = par.http.request(Method::POST, &format!("/agents/{agent}/invoke"));
        request.header("x-request-id", id).json(&json!({})).answer().await
    };
    ask("echo", "find-me-1").await;
    ask("prints", "find-me-2").await;
    let operator = par.operator();
    eventually("the access line is found by its request", async || {
        let lines = operator.get("/runtime/logs?request_id=find-me-1").await;
        (lines.status == 200 && lines.text().contains("find-me-1")).then_some(())
    })
    .await;
    let only = operator.get("/runtime/logs?request_id=find-me-1").await.text();
    assert!(!only.contains("find-me-2"), "{only}");
    let prints = eventually("what the agent printed", async || {
        let lines = operator.get("/runtime/logs?agent=faulty@1.0.0/prints").await.text();
        lines.contains("find-me-2").then_some(lines)
    })
    .await;
    assert!(!prints.contains("find-me-1"), "{prints}");
    assert_eq!(operator.get("/runtime/logs?level=error").await.status, 200);

    let mut stream =
        operator.request(Method::GET, "/runtime/logs?follow=true").send().await.expect("a stream");
    assert_eq!(stream.status(), 200);
    ask("echo", "find-me-3").await;
    let mut seen = String::new();
    let found = async {
        while !seen.contains("find-me-3") {
            seen.push_str(&String::from_utf8_lossy(
                &stream.chunk().await.expect("a chunk").expect("it goes on"),
            ));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), found).await.expect("the line comes while following");
}

#[tokio::test]
async fn shutdown_stops_gracefully() {
    let mut par = par().agent("echo").start().await;
    let answer = par.operator().post_empty("/runtime/shutdown").await;
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    assert_eq!(par.exit().await.code(), Some(0));
}

#[tokio::test]
async fn the_command_line_manages_over_the_local_socket() {
    let scratch = scratch();
    let par = par()
        .production()
        .agent("echo")
        .setting("packages.load_roots", json!([scratch.path()]))
        .env("PAR_SOCKET", scratch.path().join("elsewhere.sock").to_string_lossy())
        .start()
        .await;
    let path = saying("by-hand", "1.0.0", "x").apkg(scratch.path());
    let run = async |args: &[&str]| {
        let output = par.cli(args).await;
        assert_eq!(output.code, 0, "{args:?}: {output:?}");
        output.stdout
    };
    assert!(run(&["packages"]).await.contains("echo@1.0.0"));
    assert!(run(&["agents"]).await.contains("echo@1.0.0/aecho"));
    run(&["load", &path.to_string_lossy()]).await;
    assert_eq!(par.http.invoke("by-hand", &json!({})).await.ok(), json!("x"));
    run(&["disable", "by-hand"]).await;
    par.http.invoke("by-hand", &json!({})).await.problem(503, "agent_disabled");
    run(&["enable", "by-hand"]).await;
    assert_eq!(par.http.invoke("by-hand", &json!({})).await.ok(), json!("x"));
    eventually("logs", async || run(&["logs"]).await.contains("by-hand").then_some(())).await;
    let unknown = par.cli(&["disable", "nobody"]).await;
    assert!(unknown.code != 0 && unknown.stdout.is_empty() && !unknown.stderr.is_empty(), "{unknown:?}");
}

#[tokio::test]
async fn the_command_line_says_when_nothing_runs() {
    let scratch = scratch();
    let mut command = crate::harness::par_command();
    command.arg("packages").env("PAR_DATA_DIR", scratch.path());
    let output = crate::harness::Output::of(command).await;
    assert!(output.code != 0 && output.stdout.is_empty(), "{output:?}");
    assert!(output.stderr.contains("par.sock"), "the socket is named: {output:?}");
}

#[tokio::test]
async fn in_dev_a_changed_directory_is_rolled_out() {
    let scratch = scratch();
    let directory = saying("edited", "1.0.0", "before").directory(scratch.path());
    let par = par().source(&directory).start().await;
    assert_eq!(par.http.invoke("edited", &json!({})).await.ok(), json!("before"));
    fs::write(directory.join("main.py"), "def run(input):\n    return 'after'\n").expect("a file");
    eventually("the change is served, and nothing else is in between", async || {
        let told: Value = par.http.invoke("edited", &json!({})).await.ok();
        (told == "after").then_some(())
    })
    .await;
    assert!(agent("echo").is_dir());
}
