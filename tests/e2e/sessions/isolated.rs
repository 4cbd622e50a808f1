//! Isolated sessions: a worker of its own each, and of nobody else.

use serde_json::{Value, json};

use super::{count, counting, one, over, serving};
use crate::harness::{eventually, process::Process};

fn process(answer: &Value) -> Process {
    let pid = answer["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    Process::running(pid.expect("a pid")).expect("it lives")
}

#[tokio::test]
async fn an_isolated_session_shares_neither_worker_nor_module_with_anybody() {
    let par = serving(&counting("1.0.0", "{mode: isolated}", "")).await;
    let mut seen = vec![];
    for id in ["a", "b", "c"] {
        let first = count(&par.http, id).await;
        assert_eq!((&first["n"], &first["calls"]), (&json!(1), &json!(1)), "nobody was here before");
        let second = count(&par.http, id).await;
        assert_eq!((&second["pid"], &second["n"], &second["calls"]), (&first["pid"], &json!(2), &json!(2)));
        seen.push(first["pid"].clone());
    }
    seen.push(par.http.invoke("count", &json!({})).await.ok()["pid"].clone());
    seen.sort_by_key(Value::as_u64);
    seen.dedup();
    assert_eq!(seen.len(), 4, "each its own, and those without a session another");
    let told = one(&par, "a").await.expect("it is listed");
    assert_eq!(told["mode"], "isolated");
    let package = par.package("kept@1.0.0").await.expect("mounted");
    let states: Vec<_> = package["workers"].as_array().expect("workers").iter().collect();
    assert_eq!(states.iter().filter(|worker| worker["state"] == "isolated").count(), 3, "{package}");
}

#[tokio::test]
async fn a_worker_of_its_own_ends_with_its_session() {
    let par = serving(&counting("1.0.0", "{mode: isolated, idle_ttl: 1s}", "")).await;
    let expires = process(&count(&par.http, "expires").await);
    over(&par, "expires").await;
    eventually("its process is gone", async || (!expires.alive()).then_some(())).await;
    let killed = process(&count(&par.http, "killed").await);
    par.operator().delete("/runtime/sessions/killed").await.ok();
    eventually("its process is gone", async || (!killed.alive()).then_some(())).await;
}

#[tokio::test]
async fn what_an_isolated_session_starts_with_is_what_the_package_imported() {
    let par = serving(&counting("1.0.0", "{mode: isolated}", "")).await;
    // Work in one worker is seen by no fork that comes later.
    for _ in 0..3 {
        count(&par.http, "busy").await;
    }
    assert_eq!(count(&par.http, "fresh").await["calls"], 1);
}
