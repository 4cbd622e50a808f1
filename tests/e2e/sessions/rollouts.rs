//! Sessions stay on the version in which they began, as long as that may finish.

use std::path::Path;

use serde_json::json;

use super::{call, count, counting, listed, lost, over};
use crate::harness::{Par, ParBuilder, eventually, par, process::Process, scratch};

/// With a folder from which versions are loaded.
fn loading(folder: &Path) -> ParBuilder {
    par().source(counting("1.0.0", "{mode: sticky}", "").apkg(folder))
}

async fn load(par: &Par, folder: &Path, version: &str, session: &str) {
    let path = counting(version, session, "").apkg(folder);
    par.operator().post("/runtime/packages/load", &json!({"path": path})).await.ok();
}

#[tokio::test]
async fn a_session_stays_on_its_version_and_new_ones_begin_on_the_new_one() {
    let folder = scratch();
    let par = loading(folder.path()).allow("rolled_back").start().await;
    count(&par.http, "old").await;
    load(&par, folder.path(), "2.0.0", "{mode: isolated}").await;
    let old = call(&par.http, "old", &json!({})).await;
    assert_eq!((old.ok()["n"].clone(), old.header("x-par-version")), (json!(2), "1.0.0"));
    let new = call(&par.http, "new", &json!({})).await;
    assert_eq!((new.ok()["n"].clone(), new.header("x-par-version")), (json!(1), "2.0.0"));
    // Back again: each goes on where it lives.
    par.operator().post_empty("/runtime/packages/kept/rollback").await.ok();
    assert_eq!(count(&par.http, "old").await["n"], 3);
    let new = call(&par.http, "new", &json!({})).await;
    assert_eq!((new.ok()["n"].clone(), new.header("x-par-version")), (json!(2), "2.0.0"));
    assert_eq!(call(&par.http, "third", &json!({})).await.header("x-par-version"), "1.0.0");
}

#[tokio::test]
async fn sessions_of_a_replaced_version_end_when_its_time_to_finish_is_over() {
    let folder = scratch();
    let par = loading(folder.path()).setting("rollout.drain_timeout", "2s").start().await;
    count(&par.http, "old").await;
    load(&par, folder.path(), "2.0.0", "{mode: sticky}").await;
    assert_eq!(count(&par.http, "old").await["n"], 2, "not at once");
    over(&par, "old").await;
    lost(&par.http, "old", "rollout").await;
    assert_eq!(call(&par.http, "old", &json!({})).await.header("x-par-version"), "2.0.0");
    assert!(par.package("kept@1.0.0").await.is_some(), "the version itself stays parked");
}

#[tokio::test]
async fn a_version_that_is_not_parked_lives_until_its_sessions_have_ended() {
    let folder = scratch();
    let builder = par().source(counting("1.0.0", "{mode: isolated}", "").apkg(folder.path()));
    let par =
        builder.setting("rollout.rollback_ttl", "0").setting("rollout.drain_timeout", "60s").start().await;
    let first = count(&par.http, "old").await;
    let pid = u32::try_from(first["pid"].as_u64().expect("a pid")).expect("a pid");
    let process = Process::running(pid).expect("it lives");
    load(&par, folder.path(), "2.0.0", "{mode: sticky}").await;
    eventually("it is in no table", async || par.package("kept@1.0.0").await.is_none().then_some(())).await;
    let old = call(&par.http, "old", &json!({})).await;
    assert_eq!((old.ok()["n"].clone(), old.header("x-par-version")), (json!(2), "1.0.0"));
    par.operator().delete("/runtime/sessions/old").await.ok();
    eventually("its process is gone", async || (!process.alive()).then_some(())).await;
    lost(&par.http, "old", "evicted").await;
}

#[tokio::test]
async fn a_package_that_is_taken_away_takes_its_sessions_with_it() {
    let folder = scratch();
    let par = loading(folder.path()).start().await;
    count(&par.http, "s").await;
    par.operator().delete("/runtime/packages/kept@1.0.0").await.ok();
    eventually("no session is left", async || listed(&par).await.is_empty().then_some(())).await;
    load(&par, folder.path(), "1.0.0", "{mode: sticky}").await;
    lost(&par.http, "s", "rollout").await;
}
