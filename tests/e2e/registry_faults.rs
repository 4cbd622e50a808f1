//! An index that is wrong in parts, wrong as a whole, suddenly empty, or away.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::harness::{
    Fault, HttpsServer, Index, Package, Par, ParBuilder, eventually_within, par, put_index, scratch,
};

/// In production, with an index that is looked at every second.
fn polling(index: &str) -> ParBuilder {
    par().production().env("REGISTRY_URL", index).env("REGISTRY_POLL_INTERVAL", "1")
}

/// In production, with an index that is looked at only when somebody asks.
fn waiting(index: &str) -> ParBuilder {
    par().production().env("REGISTRY_URL", index).env("REGISTRY_POLL_INTERVAL", "1h")
}

async fn says(par: &Par, agent: &str, word: &str) {
    assert_eq!(par.http.invoke(agent, &json!({})).await.ok(), json!(word));
}

/// `POST /runtime/reload`: what it tells about each package.
async fn reload(par: &Par, body: &Value) -> Value {
    par.operator().post("/runtime/reload", body).await.ok()
}

fn outcome<'a>(told: &'a Value, package: &str) -> &'a Value {
    let packages = told["packages"].as_array().expect("packages");
    packages
        .iter()
        .find(|one| one["package"] == package)
        .unwrap_or_else(|| panic!("{package} is not told about in {told}"))
}

/// Entries of `failed` in `GET /runtime/packages` that mention these words.
async fn failed(par: &Par, words: &str) -> Vec<Value> {
    let told = par.operator().get("/runtime/packages").await.ok();
    let all = told["failed"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|failure| failure.to_string().contains(words)).collect()
}

#[tokio::test]
async fn when_more_than_half_of_all_names_disappear_nothing_is_unmounted_without_force() {
    let folder = scratch();
    let packages = ["a", "b", "c"].map(|name| Package::saying(name, "1.0.0", name));
    let url = Index::of(&packages).in_folder(folder.path());
    let par = waiting(&url).allow("index_held").start().await;
    for left in [Index::of(&packages[..1]), Index::default()] {
        left.in_folder(folder.path());
        let told = reload(&par, &json!({})).await;
        let held = |one: &Value| {
            one["outcome"] == "held" && one["detail"].as_str().is_some_and(|why| !why.is_empty())
        };
        assert!(told["packages"].as_array().expect("packages").iter().any(held), "{told}");
        for name in ["a", "b", "c"] {
            says(&par, name, name).await;
        }
    }
    Index::of(&packages[..1]).in_folder(folder.path());
    let told = reload(&par, &json!({"force": true})).await;
    for name in ["b", "c"] {
        assert_eq!(outcome(&told, name)["outcome"], "unmounted", "{told}");
        par.http.invoke(name, &json!({})).await.problem(404, "agent_not_found");
    }
    says(&par, "a", "a").await;
}

#[tokio::test]
async fn bad_entries_are_named_with_a_reason_and_the_good_ones_serve() {
    let folder = scratch();
    let package = |name: &str| Package::saying(name, "1.0.0", name);
    let digest = package("good").sha256();
    let far = |name: &str, url: &str| json!({"name": name, "version": "1.0.0", "url": url, "sha256": digest});
    let url = Index::of([&package("good"), &package("also-good")])
        .with(&package("bad-digest"), json!({"sha256": "zz"}))
        .with(&package("no-digest"), json!({"sha256": null}))
        .with(&package("other-bytes"), json!({"sha256": "0".repeat(64)}))
        .with(&package("other-name"), json!({"name": "claimed-name"}))
        .with(&package("other-version"), json!({"version": "9.9.9"}))
        .with(&package("twice"), json!({}))
        .with(&package("twice"), json!({"sha256": "1".repeat(64)}))
        .with(&package("unknown-fields"), json!({"colour": "blue", "nested": {"deep": [1, 2, 3]}}))
        .raw(far("local-file", "file:///etc/passwd"))
        .raw(far("metadata", "http://169.254.169.254/latest/meta-data"))
        .raw(far("metadata-6", "http://[fd00:ec2::254]/latest/meta-data"))
        .raw(far("clear-text", "http://example.org/x.apkg"))
        .raw(far("outside", "../outside.apkg"))
        .raw(far("encoded", "%2e%2e/outside.apkg"))
        .raw(json!("no object"))
        .raw(json!({"name": "Bad Name!", "version": "1.0.0", "url": "x.apkg", "sha256": digest}))
        .in_folder(folder.path());
    let par = waiting(&url).allow("*").start().await;
    for name in ["good", "also-good", "unknown-fields"] {
        says(&par, name, name).await;
    }
    for name in [
        "bad-digest",
        "no-digest",
        "other-bytes",
        "claimed-name",
        "other-version",
        "twice",
        "local-file",
        "metadata",
        "metadata-6",
        "clear-text",
        "outside",
        "encoded",
        "Bad Name!",
    ] {
        let failures = failed(&par, name).await;
        assert!(!failures.is_empty(), "{name} is not told about");
        let detail = failures[0]["detail"].as_str().unwrap_or_default();
        assert!(detail.len() > 10, "{failures:?}");
    }
    let mounted = par.operator().get("/runtime/packages").await.ok();
    assert_eq!(mounted["packages"].as_array().map(Vec::len), Some(3), "{mounted}");
}

#[tokio::test]
async fn an_index_that_cannot_be_read_changes_nothing_and_is_reported() {
    let folder = scratch();
    let kept = Package::saying("kept", "1.0.0", "still here");
    let url = Index::of([&kept]).in_folder(folder.path());
    let par = waiting(&url).allow("package_failed").allow("registry_down").start().await;
    let deep = format!("{{\"version\":1,\"packages\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let mut huge = b"{\"version\":1,\"packages\":[]}".to_vec();
    huge.resize(100 << 20, b' ');
    for (what, bytes) in [
        ("not JSON", b"<html>".to_vec()),
        ("nothing at all", vec![]),
        ("another version", b"{\"version\":2,\"packages\":[]}".to_vec()),
        ("no version", b"{\"packages\":[]}".to_vec()),
        ("no list", b"{\"version\":1,\"packages\":{}}".to_vec()),
        ("nested too deep", deep.into_bytes()),
        ("100 MB", huge),
    ] {
        put_index(folder.path(), &bytes);
        let told = reload(&par, &json!({"force": true})).await;
        assert_ne!(told["status"], "success", "{what}: {told}");
        let failure = par.failure("index.json").await.unwrap_or_else(|| panic!("{what} is not told about"));
        assert!(failure["detail"].as_str().is_some_and(|text| text.len() > 10), "{what}: {failure}");
        says(&par, "kept", "still here").await;
    }
    fs::remove_file(folder.path().join("index.json")).expect("the index");
    reload(&par, &json!({"force": true})).await;
    says(&par, "kept", "still here").await;
    Index::of([&kept, &Package::saying("comes", "1.0.0", "new")]).in_folder(folder.path());
    reload(&par, &json!({})).await;
    says(&par, "comes", "new").await;
    assert!(par.failure("index.json").await.is_none(), "what is cured is no failure any more");
}

#[tokio::test]
async fn a_registry_that_is_down_does_not_stop_a_restart_and_it_says_so() {
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    let package = Package::saying("stored", "1.0.0", "from the store");
    let url = Index::of([&package]).on_web(&web);
    let par = waiting(&url)
        .env("SSL_CERT_FILE", web.authorities())
        .env("DOWNLOAD_TIMEOUT_SECONDS", "2")
        .allow("*")
        .start()
        .await;
    says(&par, "stored", "from the store").await;
    let stopped = par.stop().await;
    drop(web);
    let par = stopped.start().await;
    says(&par, "stored", "from the store").await;
    assert_eq!(par.http.get("/health").await.status, 200);
    let failure = par.failure("index.json").await.expect("the registry is reported");
    assert_eq!(failure["step"], "fetch", "{failure}");
    assert!(par.lines().iter().any(|line| line.is_alarm() && line.mentions("index.json")), "the log says so");
}

#[tokio::test]
async fn what_served_before_a_restart_serves_after_it_if_the_new_version_is_bad() {
    let folder = scratch();
    let url = Index::of([&Package::saying("blue", "1.0.0", "still here")]).in_folder(folder.path());
    let par = waiting(&url).allow("package_failed").start().await;
    says(&par, "blue", "still here").await;
    let stopped = par.stop().await;
    let bad = Package::with_main("blue", "1.1.0", "raise RuntimeError('not today')\n");
    Index::of([&bad]).in_folder(folder.path());
    let par = stopped.start().await;
    says(&par, "blue", "still here").await;
    assert!(par.failure("blue-1.1.0.apkg").await.is_some(), "the new one is reported");
    // And again: the bad one was never what served.
    let par = par.restart().await;
    says(&par, "blue", "still here").await;
    Index::of([&Package::saying("blue", "1.2.0", "cured")]).in_folder(folder.path());
    let par = par.restart().await;
    says(&par, "blue", "cured").await;
}

#[tokio::test]
async fn a_registry_that_is_down_at_the_first_start_leaves_a_runtime_that_is_ready() {
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    web.script.always("index.json", Fault::Status(503, None));
    let package = Package::saying("later", "1.0.0", "here now");
    let url = Index::of([&package]).on_web(&web);
    let par = polling(&url)
        .env("SSL_CERT_FILE", web.authorities())
        .env("DOWNLOAD_TIMEOUT_SECONDS", "5")
        .agent("echo")
        .allow("*")
        .start()
        .await;
    assert_eq!(par.http.get("/health").await.status, 200);
    assert!(par.failure("index.json").await.is_some(), "the registry is reported");
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
    // One after the other, farther and farther apart.
    let asked = eventually_within(Duration::from_secs(40), "four polls", async || {
        let asked = web.script.asked("index.json");
        (asked.len() >= 4).then_some(asked)
    })
    .await;
    let pause = |at: usize| asked[at + 1].at - asked[at].at;
    assert!(
        pause(2) > pause(0) * 2,
        "polls of a failing registry get rarer: {:?}",
        [pause(0), pause(1), pause(2)]
    );
    web.script.heal();
    par.operator().post_empty("/runtime/reload").await.ok();
    says(&par, "later", "here now").await;
}
