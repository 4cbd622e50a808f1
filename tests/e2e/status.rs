//! What the runtime tells about itself: health, agents, packages, its own description.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Answered, Client, Package, eventually, par, scratch};

#[tokio::test]
async fn health_live_and_info_tell_how_it_is() {
    let par = par().agent("echo").start().await;
    for path in ["/health", "/runtime/health"] {
        let health = par.http.get(path).await.ok();
        assert_eq!(health["ok"], true);
        assert_eq!(health["status"], "healthy");
        assert!(health["surfaces"].is_object() && !health["timestamp"].is_null(), "{health}");
    }
    assert_eq!(par.http.get("/runtime/live").await.status, 200);
    let info = par.http.get("/runtime/info").await.ok();
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["mode"], "host");
    let counts = info.to_string();
    assert!(counts.contains('1') && info.as_object().is_some_and(|info| info.len() >= 4), "{info}");
}

#[tokio::test]
async fn health_is_503_until_ready_and_again_while_stopping() {
    let scratch = scratch();
    let slow = Package::with_main(
        "slow-import",
        "1.0.0",
        "import time\ntime.sleep(3)\ndef run(input):\n    return 1\n",
    );
    let path = slow.directory(scratch.path());
    let mut par = par().source(path).agent("slow").env("SHUTDOWN_DELAY_SEC", "2").launch();
    let early = eventually("it answers before it is ready", async || {
        par.http.request(Method::GET, "/health").try_answer().await.ok()
    })
    .await;
    assert_eq!(early.status, 503, "{}", early.text());
    assert_eq!(par.http.get("/runtime/live").await.status, 200, "alive all the while");
    eventually("ready", async || (par.http.get("/health").await.status == 200).then_some(())).await;
    par.term();
    eventually("503 first", async || (par.http.get("/health").await.status == 503).then_some(())).await;
    assert_eq!(par.http.invoke("sleep", &json!({"seconds": 0})).await.status, 200, "and still serving");
    assert_eq!(par.exit().await.code(), Some(0));
}

#[tokio::test]
async fn agents_are_listed_with_all_that_a_caller_needs() {
    let par = par().agent("private").agent("pandas-stats").start().await;
    for path in ["/agents", "/runtime/agents"] {
        let listed = par.http.get(path).await.ok();
        let agents = listed["agents"].as_array().expect("a list").clone();
        let ids: Vec<&str> = agents.iter().filter_map(|agent| agent["id"].as_str()).collect();
        assert!(ids.contains(&"private@1.0.0/open"), "{ids:?}");
        assert!(ids.contains(&"pandas-stats@1.0.0/describe"), "{ids:?}");
    }
    let one = par.http.get("/agents/describe").await.ok();
    assert_eq!(one["id"], "pandas-stats@1.0.0/describe");
    assert_eq!(one["package_id"], "pandas-stats@1.0.0");
    assert_eq!(one["version"], "1.0.0");
    assert_eq!(one["status"], "ready");
    assert_eq!(one["private"], false);
    assert_eq!(one["input_schema"]["required"], json!(["values"]));
    for key in ["name", "description", "role_required", "output_schema", "surfaces"] {
        assert!(one.as_object().is_some_and(|agent| agent.contains_key(key)), "{key} in {one}");
    }
    for id in ["pandas-stats@1.0.0/describe", "pandas-stats%401.0.0%2Fdescribe", "pandas-stats/describe"] {
        assert_eq!(
            par.http.get(&format!("/agents/{id}")).await.ok()["id"],
            "pandas-stats@1.0.0/describe",
            "{id}"
        );
    }
    par.http.get("/agents/nobody").await.problem(404, "agent_not_found");
    assert_eq!(par.http.get("/agents/describe/health").await.status, 200);
    par.http.get("/agents/nobody/health").await.problem(404, "agent_not_found");
}

#[tokio::test]
async fn callers_see_only_agents_that_they_may_call() {
    let par = par().production().agent("private").start().await;
    let ids = async |client: &Client| {
        let listed = client.get("/agents").await.ok();
        let agents = listed["agents"].as_array().expect("a list").clone();
        agents.iter().filter_map(|agent| Some(agent["id"].as_str()?.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(ids(&par.http).await, ["private@1.0.0/open"]);
    par.http.get("/agents/secret").await.problem(404, "agent_not_found");
    let operator = par.operator();
    let all = ids(&operator).await;
    for id in ["private@1.0.0/open", "private@1.0.0/secret", "private@1.0.0/guarded"] {
        assert!(all.contains(&id.to_owned()), "{id} in {all:?}");
    }
}

#[tokio::test]
async fn packages_are_listed_with_state_workers_and_digest() {
    let scratch = scratch();
    let package = Package::with_main("told", "1.0.0", "def run(input):\n    return 1\n");
    let par = par().source(package.apkg(scratch.path())).start().await;
    par.http.invoke("told", &json!({})).await.ok();
    let told = par.package("told@1.0.0").await.expect("it is mounted");
    assert_eq!(told["state"], "active");
    assert!(told["digest"].as_str().is_some_and(|digest| digest.contains(&package.sha256())), "{told}");
    assert_eq!(told["agents"], json!(["told@1.0.0/default"]));
    assert_eq!(told["surfaces"], json!([]));
    assert!(told["pss_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{told}");
    assert!(told["workers"].as_array().is_some_and(|workers| workers.len() == 1), "{told}");
    assert_eq!(told["fork"]["method"], "fork");
    assert!(told["sandbox"].is_string() || told["sandbox"].is_object(), "{told}");
}

#[tokio::test]
async fn the_openapi_document_describes_every_route() {
    let par = par().start().await;
    let document = par.http.get("/runtime/openapi.json").await.ok();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{document}");
    let paths = document["paths"].as_object().expect("paths");
    for (path, method) in [
        ("/agents", "get"),
        ("/agents/{id}", "get"),
        ("/agents/{id}/invoke", "post"),
        ("/runtime/agents/{id}/invoke", "post"),
        ("/runtime/agents", "get"),
        ("/runtime/agents/{id}/enable", "post"),
        ("/health", "get"),
        ("/runtime/health", "get"),
        ("/runtime/live", "get"),
        ("/runtime/info", "get"),
        ("/runtime/packages", "get"),
        ("/runtime/packages/load", "post"),
        ("/runtime/packages/upload", "post"),
        ("/runtime/logs", "get"),
        ("/runtime/shutdown", "post"),
        ("/runtime/openapi.json", "get"),
    ] {
        assert!(paths.get(path).is_some_and(|item| item.get(method).is_some()), "{method} {path}");
    }
    assert!(
        paths
            .keys()
            .any(|path| path.starts_with("/runtime/packages/{") && paths[path].get("delete").is_some())
    );
}
