//! Clocks of the day that are set, wrongly and rightly, while calls come.

use serde_json::json;

use super::{call, host, once};
use crate::harness::{Answered, DayClock, Par, scratch};

/// Calls with these names.
async fn called(par: &Par, names: &[&str]) {
    for name in names {
        call(&par.http, name, "plain/echo", &json!({})).answer().await.ok();
    }
}

/// How often it was told by how much the clock is wrong.
fn told(par: &Par, fits: impl Fn(i64) -> bool) -> usize {
    let lines = par.lines();
    let jumps = lines.iter().filter(|line| line.event() == "clock_jumped");
    jumps.filter(|line| line["details"]["seconds"].as_i64().is_some_and(&fits)).count()
}

#[tokio::test]
async fn a_clock_that_jumps_loses_nothing_and_counts_nothing_twice() {
    let folder = scratch();
    let clock = DayClock::ahead(0);
    let par = clock.of(host(folder.path())).allow("clock_jumped").start().await;
    called(&par, &["a1", "a2", "a3"]).await;
    once(&par, "a3").await;
    clock.shift(3 * 86_400);
    par.wait_for_line("it is told", |line| line.event() == "clock_jumped").await;
    called(&par, &["b1", "b2"]).await;
    // Put right, and then set back by two hours.
    clock.shift(-3 * 86_400);
    called(&par, &["c1"]).await;
    once(&par, "c1").await;
    clock.shift(-2 * 3600);
    par.wait_for_line("it is told", |line| {
        line.event() == "clock_jumped"
            && line["details"]["seconds"].as_i64().is_some_and(|seconds| seconds < -3600)
    })
    .await;
    called(&par, &["d1", "d2", "d3", "d4"]).await;
    for name in ["a1", "a2", "a3", "b1", "b2", "c1", "d1", "d2", "d3", "d4"] {
        assert_eq!(once(&par, name).await["outcome"], "ok", "{name}");
    }
    let all = par.operator().get("/runtime/usage").await.ok();
    assert_eq!(all["rows"][0]["requests"], 10, "{all}");
    assert_eq!((told(&par, |by| by > 86_400), told(&par, |by| by < 0)), (1, 1), "once each");
    // The same of a new process, whose clock is still behind, and of one whose clock is right again.
    let par = par.restart().await;
    called(&par, &["e1"]).await;
    clock.shift(2 * 3600);
    let par = par.restart().await;
    called(&par, &["f1"]).await;
    let all = par.operator().get("/runtime/usage").await.ok();
    assert_eq!(all["rows"][0]["requests"], 12, "{all}");
}
