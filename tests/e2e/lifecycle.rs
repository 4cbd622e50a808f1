//! How a runtime ends: said first, then in order, and never later than needed.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::{
    Answer, Client, Fault, HttpsServer, Package, Par, eventually, par, process::Process, scratch,
};

/// A call that runs for this long; returns when it runs.
async fn running(par: &Par, seconds: f64) -> JoinHandle<Option<Answer>> {
    let client = Client::new(par.port);
    let call = tokio::spawn(async move {
        let request = client.request(reqwest::Method::POST, "/agents/sleep/invoke");
        crate::harness::Answered::try_answer(request.json(&json!({"seconds": seconds}))).await.ok()
    });
    par.wait_for_line("the call runs", |line| {
        line.event() == "agent_output" && line.mentions(&format!("sleep began {seconds:?}"))
    })
    .await;
    call
}

async fn stops_answering_health(par: &Par) {
    eventually("health says no", async || (par.http.get("/health").await.status == 503).then_some(())).await;
}

#[tokio::test]
async fn health_says_no_first_and_calls_are_accepted_during_the_delay() {
    for way in ["SIGTERM", "SIGINT", "operator"] {
        let mut par =
            par().production().agent("slow").agent("echo").env("SHUTDOWN_DELAY_SEC", "2").start().await;
        let call = running(&par, 1.0).await;
        let begun = Instant::now();
        match way {
            "SIGTERM" => par.term(),
            "SIGINT" => par.process().signal(Signal::INT),
            _ => assert_eq!(par.operator().post_empty("/runtime/shutdown").await.status / 100, 2),
        }
        stops_answering_health(&par).await;
        assert!(begun.elapsed() < Duration::from_millis(1500), "{way}: {:?}", begun.elapsed());
        assert_eq!(par.http.get("/runtime/live").await.status, 200, "{way}");
        let late = Client::new(par.port).invoke("echo", &json!("still here")).await;
        assert_eq!(late.ok(), json!("still here"), "{way}: a new connection during the delay");
        let answer = call.await.expect("the task").expect("an answer");
        assert_eq!(answer.ok(), json!({"slept": 1.0}), "{way}");
        assert_eq!(par.exit().await.code(), Some(0), "{way}");
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(8), "{way}: {took:?}");
    }
}

/// Its import starts somebody who leaves for a session of his own, and goes on for ever.
const LEAVER: &str = r#"
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("left", flush=True)
        time.sleep(600)
    os._exit(0)
time.sleep(600)
def run(input):
    return None
"#;

#[tokio::test]
async fn what_a_start_that_was_given_up_has_left_ends_with_the_runtime() {
    let folder = scratch();
    let leaver = Package::new("leaver", "1.0.0", "entrypoint: main:run").file("main.py", LEAVER);
    let path = leaver.apkg(folder.path());
    let mut par = par().agent("echo").allow("package_failed").start().await;
    let operator = par.operator();
    let loading = tokio::spawn(async move {
        let asked = operator.request(reqwest::Method::POST, "/runtime/packages/load");
        crate::harness::Answered::try_answer(asked.json(&json!({"path": path}))).await.ok();
    });
    par.wait_for_line("somebody has left", |line| line.event() == "agent_output" && line.mentions("left"))
        .await;
    // Tools of the runtime's own end by themselves.
    let of_packages = |child: Process| child.command().contains("__main__.py");
    let mut children = par.process().descendants();
    children.retain(|child| of_packages(*child));
    par.term();
    par.exit().await;
    let alive: Vec<_> = children.into_iter().filter(|child| child.alive()).map(Process::command).collect();
    assert_eq!(alive, [""; 0]);
    loading.await.expect("the task");
}

#[tokio::test]
async fn what_runs_is_finished_and_then_it_ends_at_once() {
    let mut par = par().production().agent("slow").env("GRACEFUL_SHUTDOWN_TIMEOUT_SEC", "60").start().await;
    let children = par.process().descendants();
    let call = running(&par, 3.0).await;
    let begun = Instant::now();
    par.term();
    let answer = call.await.expect("the task").expect("an answer");
    assert_eq!(answer.ok(), json!({"slept": 3.0}));
    assert_eq!(par.exit().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(8), "the grace is not waited for: {:?}", begun.elapsed());
    eventually("no process is left", async || children.iter().all(|one| !one.alive()).then_some(())).await;
    assert!(
        tokio::net::TcpStream::connect(("127.0.0.1", par.port)).await.is_err(),
        "nobody accepts any more"
    );
}

#[tokio::test]
async fn what_does_not_finish_is_cut_when_the_grace_is_over() {
    let mut par = par()
        .production()
        .agent("slow")
        .env("GRACEFUL_SHUTDOWN_TIMEOUT_SEC", "1")
        .env("REQUEST_TIMEOUT_SECONDS", "120")
        .allow("*")
        .start()
        .await;
    let call = running(&par, 100.0).await;
    let begun = Instant::now();
    par.term();
    assert_eq!(par.exit().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let answer = call.await.expect("the task");
    assert!(answer.is_none_or(|answer| answer.status >= 500), "it was cut");
}

#[tokio::test]
async fn a_second_signal_ends_everything_at_once() {
    let mut par = par()
        .production()
        .agent("slow")
        .env("SHUTDOWN_DELAY_SEC", "60")
        .env("REQUEST_TIMEOUT_SECONDS", "120")
        .allow("*")
        .start()
        .await;
    let children = par.process().descendants();
    let call = running(&par, 100.0).await;
    par.term();
    stops_answering_health(&par).await;
    let begun = Instant::now();
    par.term();
    par.exit().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    eventually("no process is left", async || {
        children.iter().all(|one: &Process| !one.alive()).then_some(())
    })
    .await;
    drop(call);
}

#[tokio::test]
async fn keep_alive_clients_are_told_to_leave_and_lose_no_call() {
    let mut par = par().production().agent("echo").env("SHUTDOWN_DELAY_SEC", "1").start().await;
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let client = Client::new(par.port);
            tokio::spawn(async move {
                let mut answered = 0;
                loop {
                    let request = client.request(reqwest::Method::POST, "/agents/echo/invoke");
                    let answer = request.json(&json!(1)).send().await.expect("no call is lost");
                    assert_eq!(answer.status(), 200);
                    answered += 1;
                    // Who is told so does not come back: while the process leaves, others are there.
                    let last = answer.headers().get("connection").is_some_and(|value| value == "close");
                    answer.bytes().await.expect("the whole answer");
                    if last {
                        return answered;
                    }
                }
            })
        })
        .collect();
    eventually("calls flow", async || {
        let text = par.metrics().get("/metrics").await.text();
        text.contains("par_requests_total").then_some(())
    })
    .await;
    par.term();
    assert_eq!(par.exit().await.code(), Some(0));
    for caller in callers {
        assert!(caller.await.expect("no call was lost") > 0);
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_rollout() {
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    let endless =
        Package::with_main("endless", "1.0.0", "import time\ntime.sleep(600)\n").apkg(scratch.path());
    let url = web.gives("/stalled.apkg", Package::saying("stalled", "1.0.0", "x").bytes());
    web.script.always("stalled", Fault::Stall(10));
    let mut par = par()
        .production()
        .agent("echo")
        .env("SSL_CERT_FILE", web.authorities())
        .setting("packages.load_roots", json!([scratch.path()]))
        .allow("*")
        .start()
        .await;
    let operator = par.operator();
    let loads = [json!({"path": endless}), json!({"url": url})].map(|body| {
        let operator = operator.clone();
        tokio::spawn(async move {
            let request = operator.request(reqwest::Method::POST, "/runtime/packages/load");
            crate::harness::Answered::try_answer(request.json(&body)).await.ok()
        })
    });
    eventually("both have begun", async || {
        let importing = par.lines().iter().any(|line| line.event() == "install" && line.mentions("endless"));
        (importing && !web.script.asked("stalled").is_empty()).then_some(())
    })
    .await;
    let begun = Instant::now();
    par.term();
    assert_eq!(par.exit().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    for load in loads {
        assert!(load.await.expect("the task").is_none_or(|answer| answer.status >= 400));
    }
}
