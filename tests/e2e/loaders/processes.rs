//! Workers of a loader: how many there are, what they reach, how they end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{call, script, serving, with_node, worker_pids};
use crate::harness::{Par, eventually, eventually_within, process, scratch};

/// `count` calls at once; all are answered with 200. Returns their results.
async fn at_once(par: &Par, count: usize, agent: &'static str, input: Value) -> Vec<Value> {
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let (http, input) = (par.http.clone(), input.clone());
        calls.spawn(async move { http.invoke(agent, &input).await.ok() });
    }
    calls.join_all().await
}

#[tokio::test]
async fn async_handlers_share_one_worker() {
    let folder = scratch();
    let par = serving(folder.path()).start().await;
    let began = Instant::now();
    let pids = at_once(&par, 50, "wait", json!({"ms": 500})).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
}

#[tokio::test]
async fn calls_that_wait_for_plain_functions_grow_the_pool_and_idle_workers_are_reaped() {
    let folder = scratch();
    let par = serving(folder.path()).setting("pool.idle_ttl", "1s").start().await;
    assert_eq!(worker_pids(&par).await.len(), 1, "one warm worker");
    let pids = at_once(&par, 8, "block", json!({"ms": 1500})).await;
    assert!(pids.iter().any(|pid| *pid != pids[0]), "they waited for each other: {pids:?}");
    eventually("idle workers are reaped", async || (worker_pids(&par).await.len() == 1).then_some(())).await;
    assert_eq!(call(&par, "fine", json!(1)).await, json!(1));
}

#[tokio::test]
async fn calls_behind_a_long_one_are_given_back_and_served_elsewhere() {
    let folder = scratch();
    let par = serving(folder.path()).start().await;
    // Short calls open the window, so that several are sent to one worker.
    for _ in 0..5 {
        at_once(&par, 40, "fine", json!(1)).await;
    }
    let long = {
        let http = par.http.clone();
        tokio::spawn(async move { http.invoke("spin", &json!({"ms": 4000})).await.ok() })
    };
    let began = Instant::now();
    let answers = at_once(&par, 40, "fine", json!(1)).await;
    assert_eq!(answers.len(), 40);
    assert!(began.elapsed() < Duration::from_secs(3), "they waited behind it: {:?}", began.elapsed());
    long.await.expect("it is served as well");
}

#[tokio::test]
async fn workers_of_a_loader_reach_neither_the_runtime_nor_what_starts_them() {
    let folder = scratch();
    let par = serving(folder.path()).agent("echo").start().await;
    let token = par.data_dir().join("operator.token");
    assert_eq!(call(&par, "reads", json!({"path": token})).await, "EACCES");
    assert_eq!(call(&par, "kills", json!({})).await, "EPERM");
    assert_eq!(call(&par, "runs", json!({})).await, "ran\n");
    let sandbox = async |id: &str| par.package(id).await.expect("it is mounted")["sandbox"].clone();
    assert_eq!(sandbox("script@1.0.0").await, sandbox("echo@1.0.0").await, "as much as of Python");
}

#[tokio::test]
async fn a_package_that_may_start_no_programs_starts_none_in_javascript_either() {
    let folder = scratch();
    let source = script("permissions: {subprocess: false}").directory(folder.path());
    let par = with_node().source(source).start().await;
    assert_eq!(call(&par, "runs", json!({})).await, "EPERM");
    assert_eq!(call(&par, "wait", json!({"ms": 1})).await, call(&par, "wait", json!({"ms": 1})).await);
}

#[tokio::test]
async fn nothing_of_a_loader_is_left_after_kill_9() {
    let folder = scratch();
    let mut par = serving(folder.path()).start().await;
    call(&par, "leaves", json!({})).await;
    let busy = {
        let http = par.http.clone();
        tokio::spawn(async move {
            http.request(reqwest::Method::POST, "/agents/spin/invoke")
                .json(&json!({"ms": 60_000}))
                .send()
                .await
        })
    };
    eventually("a worker is busy", async || {
        let package = par.package("script@1.0.0").await?;
        package["workers"].as_array()?.iter().any(|worker| worker["outstanding"] == 1).then_some(())
    })
    .await;
    let started = par.process().descendants();
    assert!(started.len() >= 3, "what starts workers, a worker and a program: {started:?}");
    par.kill();
    par.exit().await;
    eventually_within(Duration::from_secs(5), "every descendant is gone", async || {
        let gone = started.iter().all(|process| !process.alive());
        (gone && process::using(par.data_dir()).is_empty()).then_some(())
    })
    .await;
    assert!(busy.await.expect("the task").is_err(), "its connection broke");
}

#[tokio::test]
async fn nothing_of_a_loader_is_left_after_a_graceful_stop_and_running_calls_are_finished() {
    let folder = scratch();
    let mut par = serving(folder.path()).start().await;
    let running = {
        let http = par.http.clone();
        tokio::spawn(async move { http.invoke("block", &json!({"ms": 1500})).await })
    };
    eventually("a worker is busy", async || {
        let package = par.package("script@1.0.0").await?;
        package["workers"].as_array()?.iter().any(|worker| worker["outstanding"] == 1).then_some(())
    })
    .await;
    let started = par.process().descendants();
    par.term();
    running.await.expect("the task").ok();
    assert_eq!(par.exit().await.code(), Some(0));
    eventually("every descendant is gone", async || {
        started.iter().all(|process| !process.alive()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_starts_workers_is_replaced_when_it_dies() {
    let folder = scratch();
    let par = serving(folder.path()).allow("template_exited").allow("worker_died").start().await;
    let before = call(&par, "where", json!({})).await;
    let nursery = u32::try_from(before["parent"].as_u64().expect("a pid")).expect("a pid");
    process::Process::running(nursery).expect("it runs").signal(rustix::process::Signal::KILL);
    assert_eq!(call(&par, "fine", json!(1)).await, json!(1), "its worker goes on");
    let worker = u32::try_from(before["pid"].as_u64().expect("a pid")).expect("a pid");
    process::Process::running(worker).expect("it runs").signal(rustix::process::Signal::KILL);
    eventually("another one starts another worker", async || {
        let answer = par.http.invoke("where", &json!({})).await;
        (answer.status == 200 && answer.json()["parent"] != before["parent"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_package_that_insists_on_fork_is_refused_by_a_loader() {
    let folder = scratch();
    let path = script("workers: {start: fork}").directory(folder.path());
    let par = with_node().agent("echo").allow("package_failed").start().await;
    let answer = par.operator().post("/runtime/packages/load", &json!({"path": path})).await;
    answer.problem_naming(422, "package_invalid", &["workers.start: fork", "loader node20"]);
}
