//! What is left of generations that are gone, and of bursts that are over: nothing.

use std::{fs, time::Duration};

use serde_json::json;

use crate::harness::{Index, Package, Par, eventually_within, par, process::Process, scratch};

/// Longer than the bake window, the drain and two looks for processes that ended.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections of the test itself come and go.
const SLACK: usize = 4;

fn descriptors(process: Process) -> usize {
    fs::read_dir(format!("/proc/{}/fd", process.pid)).expect("it runs").count()
}

/// Descriptors of the runtime, its processes, and directories of packages.
fn held(par: &Par) -> (usize, usize, usize) {
    let entries = |name: &str| fs::read_dir(par.data_dir().join(name)).expect("it is there").count();
    let directories = entries("tmp") + entries("uploads");
    (descriptors(par.process()), par.process().descendants().len(), directories)
}

/// Rolls out versions, each called this often, and expects that nothing is left of them.
async fn nothing_is_left(calls: usize) {
    let folder = scratch();
    let package = |minor: usize| Package::saying("turns", &format!("1.{minor}.0"), "x");
    let url = Index::of([&package(0)]).in_folder(folder.path());
    let par = par()
        .production()
        .env("REGISTRY_URL", url)
        .env("REGISTRY_POLL_INTERVAL", "1h")
        .setting("rollout.parked", 0)
        .setting("rollout.bake_window", "1s")
        .start()
        .await;
    let roll = async |minor: usize| {
        Index::of([&package(minor)]).in_folder(folder.path());
        par.operator().post_empty("/runtime/reload").await.ok();
        for _ in 0..calls {
            assert_eq!(par.http.invoke("turns", &json!({})).await.ok(), json!("x"));
        }
    };
    for minor in 1..4 {
        roll(minor).await;
    }
    // Those that have served go a moment after the switch; template and worker of one stay.
    eventually_within(PATIENCE, "one generation is left", async || {
        (par.process().descendants().len() <= 2).then_some(())
    })
    .await;
    let before = held(&par);
    for minor in 4..14 {
        roll(minor).await;
    }
    eventually_within(PATIENCE, "descriptors, processes and directories are as many as before", async || {
        let now = held(&par);
        (now.0 <= before.0 + SLACK && now.1 <= before.1 && now.2 <= before.2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn generations_that_were_called_leave_no_descriptor_no_process_and_no_file() {
    nothing_is_left(3).await;
}

#[tokio::test]
async fn generations_that_nobody_called_leave_no_descriptor_no_process_and_no_file() {
    nothing_is_left(0).await;
}

/// On other machines the C library's allocator decides.
#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn the_memory_of_a_burst_goes_back_to_the_machine() {
    use tokio::task::JoinSet;

    use super::limits::resident_bytes;

    let par = par().agent("echo").start().await;
    par.http.invoke("echo", &json!({})).await.ok();
    let before = resident_bytes(par.process().pid);
    let large = json!("x".repeat(200_000));
    let mut calls = JoinSet::new();
    for _ in 0..400 {
        let (http, large) = (par.http.clone(), large.clone());
        calls.spawn(async move { assert_eq!(http.invoke("echo", &large).await.ok(), large) });
    }
    calls.join_all().await;
    let taken = resident_bytes(par.process().pid).saturating_sub(before);
    assert!(taken > 20 << 20, "a burst takes memory: {taken} bytes");
    // Nobody calls any more.
    eventually_within(PATIENCE, "most of it is given back", async || {
        (resident_bytes(par.process().pid) < before + taken / 2).then_some(())
    })
    .await;
}
