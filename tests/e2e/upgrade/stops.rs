//! What ends an upgrade before it is one: a signal to stop, and `kill -9` at every step.

use std::path::Path;

use serde_json::json;
use tokio::task::JoinHandle;

use super::{copy, runs, starts};
use crate::harness::{
    Answer, Answered as _, Client, Output, Par, eventually, par, par_command, process, scratch,
};

/// A call that takes so long and may be cut.
async fn running(par: &Par, seconds: f64) -> JoinHandle<Option<Answer>> {
    let client = Client::new(par.port);
    let call = tokio::spawn(async move {
        let request = client.request(reqwest::Method::POST, "/agents/sleep/invoke");
        request.json(&json!({"seconds": seconds})).try_answer().await.ok()
    });
    par.wait_for_line("the call runs", |line| line.mentions(&format!("sleep began {seconds:?}"))).await;
    call
}

/// Asks for it and does not wait.
fn asked(par: &Par, binary: &Path) -> JoinHandle<Output> {
    let mut command = par_command();
    command.args(["upgrade", "--binary"]).arg(binary).env("PAR_DATA_DIR", par.data_dir());
    tokio::spawn(Output::of(command))
}

/// When the process is killed.
#[derive(Debug, Clone, Copy)]
enum When {
    /// The binary starts beside it.
    Rehearsal,
    /// Calls run, and others are taken.
    Waiting,
    /// Nothing is accepted any more.
    Draining,
    /// It is the other binary, which does not serve yet.
    Starting,
}

#[tokio::test]
async fn kill_9_at_any_step_loses_nothing_that_was_answered_and_leaves_nobody() {
    let folder = scratch();
    let next = copy(folder.path(), "par-next");
    for when in [When::Rehearsal, When::Waiting, When::Draining, When::Starting] {
        let mut par = par().production().agent("echo").agent("slow").allow("*").start().await;
        for number in 0..5 {
            assert_eq!(par.http.invoke("echo", &json!(number)).await.ok(), json!(number));
        }
        let call = match when {
            When::Waiting => Some(running(&par, 20.0).await),
            When::Rehearsal | When::Draining | When::Starting => None,
        };
        let asking = asked(&par, &next);
        eventually("it has come so far", async || {
            let told = |event: &str| par.lines().iter().any(|line| line.event() == event);
            match when {
                When::Rehearsal => par
                    .process()
                    .descendants()
                    .iter()
                    .any(|child| child.command().contains("rehearse-upgrade")),
                When::Waiting => told("upgrading"),
                When::Draining => told("stopping"),
                When::Starting => runs(&par) == next,
            }
            .then_some(())
        })
        .await;
        par.kill();
        par.exit().await;
        assert_ne!(asking.await.expect("a task").code, 0, "{when:?}");
        if let Some(call) = call {
            assert!(call.await.expect("a task").is_none(), "{when:?}: it was cut");
        }
        eventually("nobody is left", async || process::using(par.data_dir()).is_empty().then_some(())).await;
        let par = par.anew().start().await;
        eventually("what was answered is recorded, each once", async || {
            let usage = par.operator().get("/runtime/usage?by=agent").await.ok();
            let rows = usage["rows"].as_array()?;
            rows.iter().any(|row| row["agent"] == "echo/echo" && row["requests"] == 5).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_stop_that_is_asked_for_while_calls_are_taken_is_a_stop() {
    let folder = scratch();
    let next = copy(folder.path(), "par-next");
    let mut par = par().production().agent("slow").start().await;
    let call = running(&par, 3.5).await;
    let asking = asked(&par, &next);
    par.wait_for_line("it was chosen", |line| line.event() == "upgrading").await;
    par.term();
    assert_eq!(par.exit().await.code(), Some(0));
    assert_eq!(call.await.expect("a task").expect("it was finished").ok(), json!({"slept": 3.5}));
    assert_eq!(starts(&par), 1);
    assert_ne!(asking.await.expect("a task").code, 0);
}

#[tokio::test]
async fn a_stop_that_is_asked_for_when_nothing_is_accepted_any_more_calls_it_off() {
    let folder = scratch();
    let next = copy(folder.path(), "par-next");
    let par = par().production().agent("slow").env("GRACEFUL_SHUTDOWN_TIMEOUT_SEC", "3");
    let mut par = par.allow("*").start().await;
    // The first one has its time and does not end; the second began later and has all of its own.
    let endless = running(&par, 60.0).await;
    let asking = asked(&par, &next);
    par.wait_for_line("it was chosen", |line| line.event() == "upgrading").await;
    let call = running(&par, 3.5).await;
    par.wait_for_line("the end has begun", |line| line.event() == "stopping").await;
    par.term();
    assert_eq!(par.exit().await.code(), Some(0));
    assert_eq!(call.await.expect("a task").expect("it was finished").ok(), json!({"slept": 3.5}));
    assert!(endless.await.expect("a task").is_none_or(|answer| answer.status == 502), "it was cut");
    assert!(par.lines().iter().any(|line| line.event() == "upgrade_called_off"));
    assert_eq!(starts(&par), 1);
    assert_ne!(asking.await.expect("a task").code, 0);
    assert!(!par.data_dir().join("par.sock").exists());
}
