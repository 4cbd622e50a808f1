//! What is still there after a restart, a crash of the runtime, or both.

use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::harness::{Package, Par, par, scratch};

fn saying(name: &str, word: &str) -> Package {
    Package::with_main(name, "1.0.0", &format!("def run(input):\n    return '{word}'\n"))
}

async fn load(par: &Par, package: &Package, directory: &std::path::Path) {
    par.operator().post("/runtime/packages/load", &json!({"path": package.apkg(directory)})).await.ok();
}

#[tokio::test]
async fn loaded_packages_are_there_after_a_restart_even_without_their_file() {
    let scratch = scratch();
    let par = par().agent("echo").start().await;
    load(&par, &saying("kept", "still here"), scratch.path()).await;
    drop(scratch);
    let par = par.restart().await;
    assert_eq!(par.http.invoke("kept", &json!({})).await.ok(), json!("still here"));
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn loaded_packages_survive_kill_9() {
    let scratch = scratch();
    let mut par = par().start().await;
    load(&par, &saying("kept", "still here"), scratch.path()).await;
    let builder = par.anew().without_sources();
    par.kill();
    par.exit().await;
    drop(par);
    let par = builder.start().await;
    assert_eq!(par.http.invoke("kept", &json!({})).await.ok(), json!("still here"));
}

#[tokio::test]
async fn deleted_packages_do_not_come_back() {
    let scratch = scratch();
    let par = par().start().await;
    load(&par, &saying("gone", "x"), scratch.path()).await;
    let deleted = par.operator().delete("/runtime/packages/gone@1.0.0").await;
    assert!((200..300).contains(&deleted.status), "{}", deleted.text());
    let par = par.restart().await;
    par.http.invoke("gone", &json!({})).await.problem(404, "agent_not_found");
}

#[tokio::test]
async fn disabled_agents_stay_disabled() {
    let scratch = scratch();
    let par = par().agent("echo").start().await;
    load(&par, &saying("kept", "x"), scratch.path()).await;
    for id in ["echo", "kept"] {
        par.operator().post(&format!("/runtime/agents/{id}/enable"), &json!({"enabled": false})).await.ok();
    }
    let par = par.restart().await;
    for id in ["echo", "kept"] {
        par.http.invoke(id, &json!({})).await.problem(503, "agent_disabled");
    }
    assert_eq!(par.http.invoke("aecho", &json!(1)).await.ok(), json!(1));
    par.operator().post("/runtime/agents/echo/enable", &json!({"enabled": true})).await.ok();
    let par = par.restart().await;
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1), "and enabled ones enabled");
}

#[tokio::test]
async fn an_agent_that_was_loaded_first_keeps_its_id_over_a_restart() {
    let scratch = scratch();
    let shared = |name: &str| {
        Package::new(name, "1.0.0", "exports: [{id: shared, handler: 'main:run'}]")
            .file("main.py", format!("def run(input):\n    return '{name}'\n"))
    };
    let par = par().allow("agent_conflict").start().await;
    load(&par, &shared("zulu"), scratch.path()).await;
    load(&par, &shared("alpha"), scratch.path()).await;
    assert_eq!(par.http.invoke("shared", &json!({})).await.ok(), json!("zulu"));
    let par = par.restart().await;
    assert_eq!(par.http.invoke("shared", &json!({})).await.ok(), json!("zulu"), "owned is owned");
}

#[tokio::test]
async fn a_second_start_installs_nothing_again() {
    let par = par().own_environments().agent("pandas-stats").start().await;
    let installed = |par: &Par| {
        let environments = walkdir::WalkDir::new(par.data_dir().join("environments")).into_iter();
        let files = environments.filter_map(Result::ok).filter(|entry| entry.file_type().is_file());
        let changed =
            |entry: &walkdir::DirEntry| Some((entry.path().to_owned(), entry.metadata().ok()?.ctime()));
        files
            .filter(|entry| entry.file_name() == "METADATA")
            .filter_map(|entry| changed(&entry))
            .collect::<Vec<_>>()
    };
    let before = installed(&par);
    assert!(before.iter().any(|(path, _)| path.to_string_lossy().contains("pandas-")), "{before:?}");
    let par = par.restart().await;
    assert_eq!(par.http.invoke("ranks", &json!({"values": [2, 1]})).await.ok(), json!([2.0, 1.0]));
    assert_eq!(installed(&par), before, "what was installed is used as it is");
}

#[tokio::test]
async fn two_runtimes_do_not_share_a_data_directory() {
    let par = par().agent("echo").start().await;
    let mut second = par.anew().without_sources().allow("*").launch();
    let status = second.exit().await;
    assert!(!status.success(), "{status}");
    let told = second.everything_said();
    assert!(told.contains(&*par.data_dir().to_string_lossy()), "the directory is named: {told}");
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1), "the first goes on");
    // Dropping the second ends all processes that use the directory, the first one's too; so it goes last.
    std::mem::drop((par, second));
}
