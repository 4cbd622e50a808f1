//! Packages that are mounted by their first call.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Answered, Fault, HttpsServer, Index, Package, ParBuilder, eventually, par, scratch};

/// In production, with an index that is looked at only when somebody asks.
fn waiting(index: &str) -> ParBuilder {
    par().production().env("REGISTRY_URL", index).env("REGISTRY_POLL_INTERVAL", "1h")
}

#[tokio::test]
async fn a_lazy_entry_is_listed_at_once_and_mounted_by_its_first_call() {
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    let (lazy, eager) = (Package::saying("lazy", "1.0.0", "at last"), Package::saying("eager", "1.0.0", "x"));
    let url = Index::of([&eager]).with(&lazy, json!({"lazy": true})).on_web(&web);
    let par = waiting(&url).env("SSL_CERT_FILE", web.authorities()).start().await;
    assert_eq!(web.script.asked("lazy-1.0.0.apkg").len(), 0, "nothing was fetched");
    let listed = par.operator().get("/runtime/packages").await.text();
    assert!(listed.contains("lazy@1.0.0"), "{listed}");
    let calls = (0..4).map(|_| {
        let http = par.http.clone();
        tokio::spawn(async move { http.invoke("lazy", &json!({})).await.ok() })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.expect("the task"), json!("at last"));
    }
    assert_eq!(web.script.asked("lazy-1.0.0.apkg").len(), 1, "the first calls share one fetch");
}

#[tokio::test]
async fn the_deadline_of_the_call_that_wakes_a_lazy_package_counts() {
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    let lazy = Package::saying("lazy", "1.0.0", "at last");
    let url = Index::default().with(&lazy, json!({"lazy": true})).on_web(&web);
    web.script.then("lazy-1.0.0.apkg", [Fault::Stall(10)]);
    let par = waiting(&url)
        .env("SSL_CERT_FILE", web.authorities())
        .setting("packages.download_idle_timeout", "2s")
        .allow("package_failed")
        .start()
        .await;
    let impatient = par.http.request(Method::POST, "/agents/lazy/invoke");
    let answer = impatient.header("x-par-timeout-ms", "500").json(&json!({})).answer().await;
    answer.problem(504, "deadline_exceeded");
    eventually("it is mounted in the end", async || {
        let answer = par.http.invoke("lazy", &json!({})).await;
        (answer.status == 200 && answer.json() == "at last").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_lazy_source_of_the_configuration_is_mounted_by_its_first_call() {
    let scratch = scratch();
    let path = Package::saying("dormant", "1.0.0", "awake").apkg(scratch.path());
    let par = par().production().setting("packages.lazy", json!([path])).agent("echo").start().await;
    assert!(par.package("echo@1.0.0").await.is_some());
    assert_eq!(par.http.invoke("dormant", &json!({})).await.ok(), json!("awake"));
}
