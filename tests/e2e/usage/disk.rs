//! What becomes of usage when the disk is full, or has lost something.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::json;

use super::{call, host};
use crate::harness::{Par, ParBuilder, eventually_within, scratch};

/// On a disk that holds a few thousand records.
fn cramped(folder: &std::path::Path, on_full: &str) -> ParBuilder {
    // The test makes room by taking a segment away, which may not have been added yet.
    let events =
        ["usage_disk_full", "ledger_failed", "usage_not_synced", "usage_not_read", "usage_unreadable"];
    let par = events.into_iter().fold(host(folder), ParBuilder::allow);
    let usage = par.data.path().join("usage");
    fs::create_dir_all(&usage).expect("a directory");
    par.disk(&usage, 2).setting("metering.segment_bytes", "256KiB").setting("metering.on_full", on_full)
}

/// The folder as `par` sees it: the disk is its own.
fn inside(par: &Par) -> PathBuf {
    let usage = par.data_dir().join("usage");
    let usage = usage.strip_prefix("/").expect("an absolute path");
    PathBuf::from(format!("/proc/{}/root", par.process().pid)).join(usage)
}

/// Calls until the disk is full and all that was left is used, or a call is refused. How many were answered.
async fn fill(par: &Par) -> (u64, Option<crate::harness::Answer>) {
    let mut answered = 0;
    let id = "x".repeat(120);
    loop {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let client = par.http.clone();
            let id = id.clone();
            calls.spawn(async move {
                crate::harness::Answered::answer(call(&client, &id, "plain/echo", &json!({}))).await
            });
        }
        let mut refused = None;
        while let Some(answer) = calls.join_next().await {
            let answer = answer.expect("a caller that did not panic");
            if answer.status == 200 { answered += 1 } else { refused = Some(answer) }
        }
        let lost = par.metrics().get("/metrics").await.text();
        let is_lost =
            lost.lines().any(|line| line.starts_with("par_usage_lost_total ") && !line.ends_with(" 0"));
        if refused.is_some() || is_lost {
            return (answered, refused);
        }
        assert!(answered < 50_000, "the disk is never full");
    }
}

#[tokio::test]
async fn with_a_full_disk_calls_go_on_unrecorded_and_loudly() {
    let folder = scratch();
    let par = cramped(folder.path(), "serve").start().await;
    let (_, refused) = fill(&par).await;
    assert!(refused.is_none(), "{refused:?}");
    par.wait_for_line("it is said", |line| line.event() == "usage_disk_full").await;
    par.http.invoke("plain/echo", &json!({})).await.ok();
}

#[tokio::test]
async fn with_a_full_disk_calls_are_refused_if_asked_and_every_answer_is_recorded() {
    let folder = scratch();
    let par = cramped(folder.path(), "refuse").start().await;
    let (answered, refused) = fill(&par).await;
    let problem = refused.expect("a refusal").problem(503, "metering_unavailable");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("disk")), "{problem}");
    let rows = par.operator().get("/runtime/usage?by=outcome").await.ok();
    let row = rows["rows"].as_array().expect("rows").iter().find(|row| row["outcome"] == "ok").cloned();
    assert_eq!(row.expect("a row")["requests"], answered, "{rows}");
    // Somebody makes room.
    fs::remove_file(inside(&par).join("00000000000000000001.usage")).expect("a segment");
    par.wait_for_line("it goes on", |line| line.event() == "usage_disk_recovered").await;
    par.http.invoke("plain/echo", &json!({})).await.ok();
}

#[tokio::test]
async fn a_damaged_tail_is_cut_and_told_and_the_rest_counts() {
    let folder = scratch();
    let par = host(folder.path()).start().await;
    for id in ["one", "two", "three"] {
        crate::harness::Answered::answer(call(&par.http, id, "plain/echo", &json!({}))).await.ok();
    }
    let mut par = par;
    // Before anything is added.
    par.kill();
    par.exit().await;
    let usage = par.data_dir().join("usage");
    let again = par.anew().allow("usage_damaged");
    drop(par);
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        fs::remove_file(usage.join(name)).ok();
    }
    let segment = usage.join("00000000000000000001.usage");
    let mut bytes = fs::read(&segment).expect("a segment");
    let last = bytes.iter().rposition(|byte| *byte != 0).expect("records");
    bytes[last] ^= 1;
    bytes.truncate(last + 4);
    fs::write(&segment, bytes).expect("a segment");
    let par = again.start().await;
    par.wait_for_line("it is told", |line| line.event() == "usage_damaged").await;
    let rows = par.operator().get("/runtime/usage").await.ok();
    assert_eq!(rows["rows"][0]["requests"], 2, "{rows}");
    par.operator().get("/runtime/usage/three").await.problem(404, "not_found");
    par.http.invoke("plain/echo", &json!({})).await.ok();
    let rows = par.operator().get("/runtime/usage").await.ok();
    assert_eq!(rows["rows"][0]["requests"], 3, "{rows}");
}

#[tokio::test]
async fn a_damaged_ledger_is_set_aside_loudly_and_built_again() {
    let folder = scratch();
    let par = host(folder.path()).start().await;
    for _ in 0..20 {
        par.http.invoke("plain/echo", &json!({})).await.ok();
    }
    let again = par.stop().await.allow("ledger_damaged");
    let usage = again.data.path().join("usage");
    let name = fs::read_to_string(usage.join("ledger.id")).expect("its name");
    fs::remove_file(usage.join("ledger.db-wal")).ok();
    fs::write(usage.join("ledger.db"), vec![7; 20_000]).expect("the ledger");
    let par = again.start().await;
    par.wait_for_line("it is told", |line| {
        line.event() == "ledger_damaged" && line.mentions("ledger-damaged-")
    })
    .await;
    let sums = eventually_within(Duration::from_secs(30), "it is built again", async || {
        let answer = par.operator().get("/runtime/usage").await;
        (answer.status == 200).then(|| answer.ok())
    })
    .await;
    assert_eq!(sums["rows"][0]["requests"], 20, "{sums}");
    assert_eq!(fs::read_to_string(usage.join("ledger.id")).expect("its name"), name);
    let aside = fs::read_dir(&usage).expect("a folder").filter(|file| {
        file.as_ref().is_ok_and(|file| file.file_name().to_string_lossy().starts_with("ledger-damaged-"))
    });
    assert!(aside.count() >= 1);
}
