//! Nobody pays for somebody else's haste: turns in the queue, shares of what may run or wait, and answers beside a flood.
//! Identity is off here, so every address of loopback is a tenant of its own.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::limits::{asleep, tenant};
use crate::harness::{Answered, Client, Package, Par, ParBuilder, eventually, par, scratch};

/// One worker that sleeps for one call at a time.
fn narrow(folder: &Path) -> ParBuilder {
    let package = Package::new("narrow", "1.0.0", "entrypoint: main:run\nworkers: {max: 1}").file(
        "main.py",
        "import time\n\ndef run(*, seconds=0.0):\n    time.sleep(seconds)\n    return seconds\n",
    );
    par().source(package.directory(folder))
}

async fn waiting(par: &Par, calls: u64) {
    eventually("calls wait", async || {
        (par.package("narrow@1.0.0").await?["queue_depth"].as_u64()? >= calls).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_backlog_of_one_tenant_holds_another_up_by_one_turn() {
    let folder = scratch();
    let par = narrow(folder.path()).start().await;
    let (greedy, modest) = (tenant(&par, 2), tenant(&par, 3));
    let backlog: Vec<_> = (0..12).map(|_| asleep(&greedy, "narrow", 0.25)).collect();
    waiting(&par, 11).await;
    let before = backlog.iter().filter(|call| call.is_finished()).count();
    let answer = modest.invoke("narrow", &json!({"seconds": 0})).await;
    let served = backlog.iter().filter(|call| call.is_finished()).count() - before;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // The one that runs, the one whose turn it is, and one for a machine that is slow to notice.
    assert!(served <= 3, "{served} calls of the backlog went first");
    for call in backlog {
        assert_eq!(
            call.await.expect("an answer").status,
            200,
            "whoever has a backlog is served all the same"
        );
    }
}

#[tokio::test]
async fn whoever_has_taken_everything_makes_room_for_a_newcomer() {
    let folder = scratch();
    let par = narrow(folder.path()).env("MAX_CONCURRENT_INVOCATIONS", "4").start().await;
    let (greedy, modest) = (tenant(&par, 2), tenant(&par, 3));
    let mut all = JoinSet::new();
    for _ in 0..4 {
        let greedy = greedy.clone();
        all.spawn(async move { greedy.invoke("narrow", &json!({"seconds": 0.5})).await });
    }
    waiting(&par, 3).await;
    greedy.invoke("narrow", &json!({"seconds": 0})).await.problem(503, "queue_full");
    let newcomer = modest.invoke("narrow", &json!({"seconds": 0})).await;
    assert_eq!(newcomer.status, 200, "{}", newcomer.text());
    let answers = all.join_all().await;
    let displaced: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert_eq!(displaced.len(), 1, "one place was needed");
    displaced[0].problem(503, "queue_full");
    assert!(displaced[0].header("retry-after").parse::<u64>().is_ok_and(|wait| wait >= 1));
    assert_eq!(greedy.invoke("narrow", &json!({"seconds": 0})).await.status, 200, "room again");
}

/// The time that 99 of 100 calls stay under, of one caller who takes his time.
async fn p99(client: &Client) -> Duration {
    let mut times = vec![];
    let mut pause = tokio::time::interval(Duration::from_millis(5));
    for _ in 0..300 {
        pause.tick().await;
        let begin = Instant::now();
        assert_eq!(client.invoke("echo", &json!({})).await.status, 200);
        times.push(begin.elapsed());
    }
    times.sort();
    times[times.len() * 99 / 100]
}

/// A guard against regressions on any machine; the figure itself is the bench's.
#[tokio::test]
async fn a_hundred_times_its_rate_moves_nobody_elses_answers() {
    let limits = json!({"127.0.0.3": {"rate": ""}});
    let par = par()
        .agent("echo")
        .setting("limits.tenant_rate", "5/s")
        .setting("limits.tenants", limits)
        .start()
        .await;
    let (flood, modest) = (tenant(&par, 2), tenant(&par, 3));
    p99(&modest).await;
    let alone = p99(&modest).await;
    let begin = Instant::now();
    let flooding = tokio::spawn(async move {
        let mut calls = JoinSet::new();
        let mut pace = tokio::time::interval(Duration::from_millis(2));
        let mut statuses = vec![];
        while begin.elapsed() < Duration::from_millis(1_700) {
            pace.tick().await;
            let flood = flood.clone();
            calls.spawn(async move {
                flood.request(Method::POST, "/agents/echo/invoke").json(&Value::Null).answer().await.status
            });
        }
        while let Some(status) = calls.join_next().await {
            statuses.push(status.expect("an answer"));
        }
        (statuses, begin.elapsed())
    });
    let beside = p99(&modest).await;
    let (statuses, lasted) = flooding.await.expect("a flood that did not panic");
    let served = statuses.iter().filter(|status| **status == 200).count();
    let most = 5.0 * lasted.as_secs_f64() + 5.0;
    assert!(served as f64 <= most + 1.0, "{served} of {} calls in {lasted:?}", statuses.len());
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    assert!(statuses.len() > 200, "{} calls are no flood", statuses.len());
    let most = alone * 2 + Duration::from_millis(30);
    assert!(beside <= most, "p99 {alone:?} alone, {beside:?} beside the flood");
    // Killed in the middle of so many lines, it would leave half of one.
    par.stop().await;
}
