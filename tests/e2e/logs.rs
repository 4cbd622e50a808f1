//! Lines of the log: levels that change while it runs, fewer lines under load, a reader that stalls, ids of calls.

use std::{
    io::Read as _,
    process::{Child, Stdio},
};

use reqwest::Method;
use serde_json::json;

use crate::harness::{Answered, Client, Package, Par, eventually, free_ports, par, par_command, scratch};

async fn call(par: &Par, agent: &str, id: &str) -> u16 {
    let path = format!("/agents/{agent}/invoke");
    par.http.request(Method::POST, &path).header("x-request-id", id).json(&json!({})).answer().await.status
}

async fn level(par: &Par, change: &serde_json::Value) -> crate::harness::Answer {
    par.operator().request(Method::PUT, "/runtime/logs/level").json(change).answer().await
}

#[tokio::test]
async fn an_operator_changes_levels_while_it_runs_and_they_fall_back() {
    let par = par().production().agent("echo").agent("faulty").start().await;
    let shown = par.operator().get("/runtime/logs/level").await.ok();
    assert_eq!((&shown["level"], &shown["targets"]), (&json!("info"), &json!({})), "{shown}");
    // Who calls is told again and again; from now on only what fails.
    let shown = level(&par, &json!({"target": "access", "level": "warn", "for_seconds": 3})).await.ok();
    assert_eq!(shown["targets"]["access"]["level"], "warn", "{shown}");
    assert_eq!(call(&par, "echo", "unseen-1").await, 200);
    eventually("it has fallen back", async || {
        let shown = par.operator().get("/runtime/logs/level").await.ok();
        (shown["targets"] == json!({})).then_some(())
    })
    .await;
    assert_eq!(call(&par, "echo", "seen-1").await, 200);
    par.wait_for_line("the next call has its line", |line| line["request_id"] == "seen-1").await;
    assert!(par.lines().iter().all(|line| line["request_id"] != "unseen-1"));
    par.wait_for_line("the change is told", |line| line.event() == "log_level" && line.mentions("access"))
        .await;
    // What agents print can be switched off, and everything set back.
    level(&par, &json!({"target": "agent_output", "level": "off"})).await.ok();
    assert_eq!(call(&par, "prints", "silent-1").await, 200);
    par.operator().delete("/runtime/logs/level").await.ok();
    assert_eq!(call(&par, "prints", "loud-1").await, 200);
    par.wait_for_line("what it prints", |line| {
        line.event() == "agent_output" && line["request_id"] == "loud-1"
    })
    .await;
    assert!(
        par.lines().iter().all(|line| line.event() != "agent_output" || line["request_id"] != "silent-1")
    );
}

#[tokio::test]
async fn levels_that_cannot_be_are_refused_and_only_operators_change_them() {
    let par = par().production().start().await;
    for change in [
        json!({"level": "loud"}),
        json!({"target": "access"}),
        json!({"level": "debug", "target": "hyper"}),
        json!({"level": "debug", "target": "no such thing"}),
        json!({"level": "debug", "for_seconds": 0}),
        json!({"level": "debug", "odd": 1}),
    ] {
        level(&par, &change).await.problem(400, "bad_request");
    }
    let stranger = par.http.request(Method::PUT, "/runtime/logs/level").json(&json!({"level": "off"}));
    assert_eq!(stranger.answer().await.status, 401);
    assert_eq!(par.operator().get("/runtime/logs/level").await.ok()["level"], "info");
}

#[tokio::test]
async fn lines_of_a_handler_carry_the_ids_of_its_call() {
    let par = par().agent("faulty").start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = par.http.request(Method::POST, "/agents/prints/invoke").header("x-request-id", "ids-1");
    let request = request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    assert_eq!(request.json(&json!({})).answer().await.status, 200);
    let line = par
        .wait_for_line("a line", |line| line.event() == "agent_output" && line["request_id"] == "ids-1")
        .await;
    assert_eq!((&line["agent_id"], &line["trace_id"]), (&json!("faulty@1.0.0/prints"), &json!(trace)));
}

#[tokio::test]
async fn under_load_one_line_stands_for_many_and_failures_keep_theirs() {
    let par = par()
        .agent("echo")
        .agent("faulty")
        .setting("log.sample_after", 5)
        .setting("log.sample_one_in", 10)
        .start()
        .await;
    let calls = 400;
    futures_util::future::join_all((0..calls).map(async |number| {
        assert_eq!(call(&par, "echo", &format!("sampled-{number}")).await, 200);
        if number % 40 == 0 {
            assert_eq!(call(&par, "raises", &format!("failed-{number}")).await, 500);
        }
    }))
    .await;
    let left_out = eventually("all are counted, and every failure has its line", async || {
        let metrics = par.metrics().get("/metrics").await.text();
        let line = metrics.lines().find(|line| line.starts_with("par_log_sampled_total "))?;
        let left_out: usize = line.rsplit(' ').next()?.parse().ok()?;
        let lines = par.lines();
        let written =
            lines.iter().filter(|line| line.event() == "access" && line.mentions("sampled-")).count();
        let failed = lines.iter().filter(|line| line.event() == "access" && line.mentions("failed-")).count();
        (left_out + written == calls && failed == calls / 40).then_some(left_out)
    })
    .await;
    assert!(left_out > calls / 2, "{left_out} of {calls} were left out");
    assert!(par.lines().iter().any(|line| line["details"]["one_in"] == 10));
}

/// A `par` whose standard output nobody reads.
struct Stalled(Child);

impl Drop for Stalled {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn a_reader_that_stalls_costs_lines_and_no_calls() {
    let scratch = scratch();
    let code =
        "def run(input):\n    for _ in range(1000):\n        print('x' * 12000)\n    return 'printed'\n";
    let package = Package::with_main("talker", "1.0.0", code).apkg(scratch.path());
    let [port, metrics_port, grpc_port, _] = free_ports();
    let child = par_command()
        .args(["serve", "--dev"])
        .arg(package)
        .env("PORT", port.to_string())
        .env("METRICS_PORT", metrics_port.to_string())
        .env("A2A_PORT", grpc_port.to_string())
        .env("PAR_DATA_DIR", scratch.path().join("data"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("par");
    let mut par = Stalled(child);
    let (http, metrics) = (Client::new(port), Client::new(metrics_port));
    let dropped = async || {
        let text = metrics.request(Method::GET, "/metrics").send().await.ok()?.text().await.ok()?;
        text.lines().find_map(|line| line.strip_prefix("par_log_dropped_total ")?.parse::<u64>().ok())
    };
    eventually("it serves", async || {
        let answer = http.request(Method::GET, "/health").send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
    let lost = eventually("lines are dropped, and counted", async || {
        assert_eq!(http.invoke("talker", &json!({})).await.ok(), "printed");
        dropped().await.filter(|lost| *lost > 0)
    })
    .await;
    // Whoever asks for lines does not wait for standard output: the newest are there.
    let called =
        http.request(Method::POST, "/agents/talker/invoke").header("x-request-id", "while-it-stalls");
    assert_eq!(called.json(&json!({})).answer().await.status, 200);
    eventually("its line is remembered", async || {
        let lines = http.get("/runtime/logs?request_id=while-it-stalls").await.text();
        lines.contains("\"event\":\"access\"").then_some(())
    })
    .await;
    assert!(lost > 0);
    // As soon as somebody reads, lines come again, each of them whole.
    let mut pipe = par.0.stdout.take().expect("a pipe");
    let read = std::thread::spawn(move || {
        let mut all = Vec::new();
        pipe.read_to_end(&mut all).expect("the pipe is read");
        String::from_utf8_lossy(&all).lines().filter(|line| line.contains("xxx")).count()
    });
    assert_eq!(http.invoke("talker", &json!({})).await.ok(), "printed");
    par.0.kill().expect("it runs");
    par.0.wait().expect("it ends");
    assert!(read.join().expect("no panic") > 100);
}
