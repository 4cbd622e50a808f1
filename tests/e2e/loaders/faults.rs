//! Handlers in JavaScript that fail in every way: each costs its own call and says why.

use serde_json::json;

use super::{call, script, serving, with_node};
use crate::harness::{Par, scratch};

/// The next call is served, whatever happened.
async fn goes_on(par: &Par) {
    assert_eq!(call(par, "fine", json!(1)).await, json!(1));
}

#[tokio::test]
async fn a_handler_that_throws_or_returns_what_is_no_json_costs_no_worker() {
    let folder = scratch();
    let par = serving(folder.path()).start().await;
    let before = super::worker_pids(&par).await;
    let problem = par.http.invoke("raises", &json!({})).await.problem(500, "agent_error");
    assert_eq!(problem["error"]["type"], "TypeError");
    assert_eq!(problem["error"]["message"], "the handler's own message");
    par.http.invoke("nan", &json!({})).await.problem_naming(500, "agent_error", &["NaN", "outer"]);
    goes_on(&par).await;
    assert!(before.is_subset(&super::worker_pids(&par).await), "an exception costs no worker");
}

#[tokio::test]
async fn a_crashed_worker_of_a_loader_costs_only_its_own_call_and_the_cause_is_named() {
    let folder = scratch();
    let par = serving(folder.path()).allow("worker_died").start().await;
    for (agent, cause) in [("exits", "status 7"), ("aborts", "SIGABRT"), ("garbage", "garbage")] {
        par.http.invoke(agent, &json!({})).await.problem_naming(502, "worker_crashed", &[cause]);
        goes_on(&par).await;
    }
}

#[tokio::test]
async fn a_worker_of_a_loader_over_its_memory_is_ended_and_the_limit_is_named() {
    let folder = scratch();
    let source = script("workers: {memory_mb: 200}").directory(folder.path());
    let par = with_node().source(source).allow("worker_died").start().await;
    par.http.invoke("allocates", &json!({})).await.problem_naming(502, "worker_crashed", &["memory", "200"]);
    goes_on(&par).await;
}

#[tokio::test]
async fn a_handler_that_never_returns_is_a_504_and_the_log_says_where_it_hangs() {
    let folder = scratch();
    let par = serving(folder.path()).allow("worker_died").allow("worker_stuck").start().await;
    par.http.invoke("hangs", &json!({})).await.problem(504, "deadline_exceeded");
    goes_on(&par).await;
    par.wait_for_line("the function that hangs", |line| {
        line.mentions("at hangs") && line.mentions("main.mjs")
    })
    .await;
}
