//! Processes: how they begin, how many there are, how they end, and that none is left behind.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    Answered, Package, Par, agent, eventually, eventually_within, par,
    process::{self, Process},
    scratch,
};

async fn worker_pids(par: &Par, package: &str) -> HashSet<u64> {
    let package = par.package(package).await.expect("it is mounted");
    let workers = package["workers"].as_array().expect("a list");
    workers.iter().filter_map(|worker| worker["pid"].as_u64()).collect()
}

/// `count` calls at once; all must be answered with 200.
async fn at_once(par: &Par, count: usize, name: &'static str, input: Value) -> Duration {
    let began = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let (http, input) = (par.http.clone(), input.clone());
        calls.spawn(async move { http.invoke(name, &input).await.ok() });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("each is served");
    }
    began.elapsed()
}

fn slow_with(name: &str, manifest: &str) -> Package {
    Package::new(name, "1.0.0", &format!("entrypoint: slow:sleep\n{manifest}"))
        .file("slow.py", std::fs::read(agent("slow").join("slow.py")).expect("the slow agent"))
}

#[tokio::test]
async fn code_is_imported_once_and_workers_are_forked_from_it() {
    let scratch = scratch();
    let code = "import os, random, time\nIMPORTED_IN = os.getpid()\nprint('imported')\n\
                def run(input):\n    time.sleep(0.3)\n    return [IMPORTED_IN, os.getpid(), random.random()]\n";
    let package = Package::with_main("once", "1.0.0", code);
    let par = par().source(package.directory(scratch.path())).start().await;
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        let http = par.http.clone();
        calls.spawn(async move { http.invoke("once", &json!({})).await.ok() });
    }
    let told: Vec<Value> = calls.join_all().await;
    let distinct = |index: usize| told.iter().map(|row| row[index].to_string()).collect::<HashSet<_>>().len();
    assert_eq!(distinct(0), 1, "one import: {told:?}");
    assert!(distinct(1) > 1, "several workers: {told:?}");
    assert_eq!(distinct(2), told.len(), "every child draws its own random numbers: {told:?}");
    let imports =
        par.lines().into_iter().filter(|line| line.event() == "agent_output" && line.mentions("imported"));
    assert_eq!(imports.count(), 1);
    assert_eq!(par.package("once@1.0.0").await.expect("it is mounted")["fork"]["method"], "fork");
}

#[tokio::test]
async fn a_thread_at_import_makes_workers_import_for_themselves_and_says_why() {
    let par = par().agent("threads-at-import").start().await;
    let told = par.http.invoke("threads-at-import", &json!({})).await.ok();
    assert_eq!(told["ticking"], true, "the thread lives in the worker");
    let package = par.package("threads-at-import@1.0.0").await.expect("it is mounted");
    assert_eq!(package["fork"]["method"], "spawn");
    assert!(
        package["fork"]["reason"].as_str().is_some_and(|why| why.to_lowercase().contains("thread")),
        "{package}"
    );
    par.wait_for_line("the reason in the log", |line| {
        line.mentions("spawn") && line.mentions("threads-at-import")
    })
    .await;
}

#[tokio::test]
async fn a_grpc_channel_at_import_makes_workers_import_for_themselves() {
    let par = par().agent("grpc-at-import").start().await;
    assert_eq!(par.http.invoke("grpc-at-import", &json!({})).await.status, 200);
    let package = par.package("grpc-at-import@1.0.0").await.expect("it is mounted");
    assert_eq!(package["fork"]["method"], "spawn");
    assert!(package["fork"]["reason"].as_str().is_some_and(|why| !why.is_empty()), "{package}");
}

#[tokio::test]
async fn waiting_calls_grow_the_pool_and_idle_workers_are_reaped() {
    let par = par().agent("slow").setting("pool.idle_ttl", "1s").start().await;
    assert_eq!(worker_pids(&par, "slow@1.0.0").await.len(), 1, "one warm worker");
    let took = at_once(&par, 24, "sleep", json!({"seconds": 1.0})).await;
    assert!(took < Duration::from_secs(8), "24 calls of a second took {took:?}: they waited for each other");
    eventually("idle workers are reaped", async || {
        (worker_pids(&par, "slow@1.0.0").await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(par.http.invoke("sleep", &json!({"seconds": 0})).await.status, 200);
}

#[tokio::test]
async fn a_pool_never_grows_beyond_its_maximum() {
    let scratch = scratch();
    let package = slow_with("narrow", "workers: {min: 2, max: 3}");
    let par = par().source(package.directory(scratch.path())).start().await;
    assert_eq!(worker_pids(&par, "narrow@1.0.0").await.len(), 2, "the minimum is there from the start");
    let http = par.http.clone();
    let watch = async {
        let mut most = 0;
        for _ in 0..12 {
            most = most.max(worker_pids(&par, "narrow@1.0.0").await.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        most
    };
    let mut calls = JoinSet::new();
    for _ in 0..9 {
        let http = http.clone();
        calls.spawn(async move { http.invoke("narrow", &json!({"seconds": 0.3})).await.status });
    }
    assert_eq!(watch.await, 3);
    assert!(calls.join_all().await.iter().all(|status| *status == 200));
}

#[tokio::test]
async fn calls_that_need_the_cpu_do_not_grow_the_pool_without_end() {
    let par = par().agent("slow").start().await;
    at_once(&par, 60, "spin", json!({"ms": 60})).await;
    let cores = std::thread::available_parallelism().expect("cores").get();
    let workers = worker_pids(&par, "slow@1.0.0").await.len();
    assert!(workers <= 2 * cores, "{workers} workers on {cores} cores");
}

#[tokio::test]
async fn short_computing_calls_do_not_grow_the_pool_without_end_either() {
    let par = par().agent("slow").start().await;
    for _ in 0..20 {
        at_once(&par, 200, "spin", json!({"ms": 0.3})).await;
    }
    let cores = std::thread::available_parallelism().expect("cores").get();
    let workers = worker_pids(&par, "slow@1.0.0").await.len();
    assert!(workers <= 2 * cores, "{workers} workers on {cores} cores");
}

#[tokio::test]
async fn workers_that_long_calls_hold_are_replaced_for_the_short_ones_of_the_same_handler() {
    let scratch = scratch();
    let code = "import time\ndef run(*, seconds=0):\n    if seconds:\n        time.sleep(seconds)\n    return seconds\n";
    let package = Package::with_main("mixed", "1.0.0", code);
    let par = par().source(package.directory(scratch.path())).start().await;
    for _ in 0..300 {
        assert_eq!(par.http.invoke("mixed", &json!({})).await.status, 200, "most of its calls are short");
    }
    let cores = std::thread::available_parallelism().expect("cores").get();
    let long = at_once(&par, 6 * cores, "mixed", json!({"seconds": 3}));
    let short = async {
        eventually("the pool has grown", async || {
            (worker_pids(&par, "mixed@1.0.0").await.len() > 2 * cores).then_some(())
        })
        .await;
        let began = Instant::now();
        assert_eq!(par.http.invoke("mixed", &json!({})).await.status, 200);
        began.elapsed()
    };
    let (long, short) = tokio::join!(long, short);
    assert!(short < Duration::from_secs(2), "a short call waited {short:?} for workers that were held");
    assert!(
        long < Duration::from_secs(5),
        "calls of three seconds took {long:?}: they waited for each other"
    );
}

#[tokio::test]
async fn coroutines_share_one_worker() {
    let par = par().agent("slow").start().await;
    let took = at_once(&par, 50, "asleep", json!({"seconds": 0.5})).await;
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(worker_pids(&par, "slow@1.0.0").await.len(), 1);
}

#[tokio::test]
async fn a_package_that_dies_again_and_again_is_a_crash_loop_and_the_others_do_not_notice() {
    let scratch = scratch();
    let code = "import os\ndef run(input):\n    os._exit(9)\n";
    let par = par()
        .source(Package::with_main("dying", "1.0.0", code).directory(scratch.path()))
        .agent("echo")
        .allow("worker_died")
        .allow("crash_loop")
        .start()
        .await;
    let looped = eventually("it is held back", async || {
        let answer = par.http.invoke("dying", &json!({})).await;
        assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
        (answer.status == 503).then_some(answer)
    })
    .await;
    looped.problem(503, "crash_loop");
    assert!(looped.header("retry-after").parse::<u64>().is_ok(), "{:?}", looped.headers);
    let agents = par.http.get("/agents").await.ok();
    let dying = agents["agents"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|agent| agent["package_id"] == "dying@1.0.0");
    assert_eq!(dying.expect("it is listed")["status"], "crash_loop");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_coroutine() {
    let par = par().agent("slow").start().await;
    let request = par.http.request(Method::POST, "/agents/asleep/invoke").json(&json!({"seconds": 25.25}));
    let call = tokio::spawn(request.try_answer());
    par.wait_for_line("it began", |line| line.mentions("asleep began 25.25")).await;
    call.abort();
    par.wait_for_line("it was cancelled", |line| line.mentions("asleep was cancelled 25.25")).await;
    eventually("the slot is back", async || {
        let package = par.package("slow@1.0.0").await?;
        package["workers"].as_array()?.iter().all(|worker| worker["outstanding"] == 0).then_some(())
    })
    .await;
    par.wait_for_line("the access line", |line| line.mentions("client_closed")).await;
}

#[tokio::test]
async fn a_deadline_cancels_a_coroutine_and_keeps_its_worker() {
    let par = par().agent("slow").start().await;
    let before = worker_pids(&par, "slow@1.0.0").await;
    let request = par.http.request(Method::POST, "/agents/asleep/invoke").header("x-par-timeout-ms", "300");
    request.json(&json!({"seconds": 20})).answer().await.problem(504, "deadline_exceeded");
    par.wait_for_line("it was cancelled", |line| line.mentions("asleep was cancelled")).await;
    assert_eq!(worker_pids(&par, "slow@1.0.0").await, before);
}

#[tokio::test]
async fn nothing_is_left_after_kill_9() {
    let scratch = scratch();
    let code = "import subprocess\ndef run(input):\n    return subprocess.Popen(['sleep', '300']).pid\n";
    let parent = Package::with_main("parent", "1.0.0", code).directory(scratch.path());
    let mut par = par().source(parent).agent("echo").agent("slow").agent("threads-at-import").start().await;
    let program = par.http.invoke("parent", &json!({})).await.ok();
    at_once(&par, 6, "sleep", json!({"seconds": 0.2})).await;
    let busy = {
        let http = par.http.clone();
        tokio::spawn(async move {
            http.request(Method::POST, "/agents/sleep/invoke")
                .json(&json!({"seconds": 60}))
                .try_answer()
                .await
        })
    };
    eventually("a worker is busy", async || {
        let package = par.package("slow@1.0.0").await?;
        package["workers"].as_array()?.iter().any(|worker| worker["outstanding"] == 1).then_some(())
    })
    .await;
    let started = par.process().descendants();
    assert!(started.len() >= 9, "four templates, their workers and a program: {started:?}");
    assert!(started.iter().any(|process| u64::from(process.pid) == program), "{program} in {started:?}");
    par.kill();
    par.exit().await;
    eventually_within(Duration::from_secs(5), "every descendant is gone", async || {
        let left: Vec<&Process> = started.iter().filter(|process| process.alive()).collect();
        (left.is_empty() && process::using(par.data_dir()).is_empty()).then_some(())
    })
    .await;
    assert!(busy.await.expect("the task").is_err(), "its connection broke");
}

#[tokio::test]
async fn nothing_is_left_after_a_graceful_stop_and_running_calls_are_finished() {
    let mut par = par().agent("slow").start().await;
    let call = {
        let http = par.http.clone();
        tokio::spawn(async move { http.invoke("sleep", &json!({"seconds": 1.5})).await })
    };
    eventually("a worker is busy", async || {
        let package = par.package("slow@1.0.0").await?;
        package["workers"].as_array()?.iter().any(|worker| worker["outstanding"] == 1).then_some(())
    })
    .await;
    let started = par.process().descendants();
    par.term();
    assert_eq!(call.await.expect("the task").ok(), json!({"slept": 1.5}));
    assert_eq!(par.exit().await.code(), Some(0));
    eventually("every descendant is gone", async || {
        started.iter().all(|process| !process.alive()).then_some(())
    })
    .await;
    assert!(process::using(par.data_dir()).is_empty());
}

#[tokio::test]
async fn a_template_that_dies_is_replaced_and_its_workers_go_on() {
    let par = par().agent("echo").allow("template_exited").start().await;
    let workers = worker_pids(&par, "echo@1.0.0").await;
    let templates: Vec<Process> = par
        .process()
        .descendants()
        .into_iter()
        .filter(|process| !workers.contains(&u64::from(process.pid)) && process.command().contains("python"))
        .collect();
    assert!(!templates.is_empty(), "a template is there");
    for template in templates {
        template.signal(rustix::process::Signal::KILL);
    }
    for _ in 0..20 {
        assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
    }
    for pid in &workers {
        let worker = Process::running(u32::try_from(*pid).expect("a pid"));
        worker.inspect(|worker| worker.signal(rustix::process::Signal::KILL));
    }
    par.allow("worker_died");
    eventually("a new template forks a new worker", async || {
        (par.http.invoke("echo", &json!(2)).await.status == 200).then_some(())
    })
    .await;
}
