//! Loaders of somebody else: what `FRAMES.md` says is enough to write one.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};

use super::call;
use crate::harness::{Output, Package, ParBuilder, par, par_command, scratch};

/// The loader in `loader.py`, which knows nothing but `FRAMES.md`.
fn loader() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/loaders/loader.py"))
}

/// An interpreter itself, no shim before it, and where its library is.
fn python() -> (String, String) {
    let question =
        "import sys; print(getattr(sys, '_base_executable', sys.executable)); print(sys.base_prefix)";
    let asked = Command::new("python3").args(["-I", "-c", question]).output().expect("python3");
    let told = String::from_utf8(asked.stdout).expect("text");
    let (executable, prefix) = told.trim().split_once('\n').expect("two lines");
    (executable.to_owned(), prefix.to_owned())
}

fn command(more: &[&str]) -> Value {
    let loader = loader().canonicalize().expect("the loader").display().to_string();
    let (python, _) = python();
    let words: Vec<&str> = [python.as_str(), "-I", &loader].into_iter().chain(more.iter().copied()).collect();
    json!({"text": {"command": words}})
}

fn with_texts(more: &[&str]) -> ParBuilder {
    par().setting("loaders", command(more)).setting("sandbox_read", json!([python().1]))
}

fn texts() -> Package {
    let manifest = "runtime: text\nexports:\n  - {id: poem, handler: 'poems/one.txt:poem'}";
    Package::new("texts", "1.0.0", manifest).file("poems/one.txt", "roses are red")
}

#[tokio::test]
async fn a_loader_that_knows_the_frames_alone_serves_packages() {
    let folder = scratch();
    let par = with_texts(&[]).source(texts().apkg(folder.path())).allow("worker_died").start().await;
    let read = json!({"poem": "roses are red", "input": {"n": 1}});
    assert_eq!(call(&par, "poem", json!({"n": 1})).await, read);
    let package = par.package("texts@1.0.0").await.expect("it is mounted");
    assert_eq!((&package["runtime"], &package["fork"]["reason"]), (&json!("text"), &json!("loader text")));
    let crashed = par.http.invoke("poem", &json!("exit")).await;
    crashed.problem_naming(502, "worker_crashed", &["status 5"]);
    assert_eq!(call(&par, "poem", json!({"n": 1})).await, read);
}

#[tokio::test]
async fn inspect_shows_the_loader_and_the_handlers_as_it_understands_them() {
    let folder = scratch();
    let file = folder.path().join("par.yaml");
    std::fs::write(&file, json!({"loaders": command(&[])}).to_string()).expect("a file");
    let mut inspect = par_command();
    inspect.arg("inspect").arg(texts().directory(folder.path())).env("PAR_CONFIG", file);
    let shown = Output::of(inspect).await;
    for wanted in ["runtime       text", "loader.py", "poems/one.txt:poem"] {
        assert!(shown.stdout.contains(wanted), "{wanted} in {}{}", shown.stdout, shown.stderr);
    }
}

#[tokio::test]
async fn a_loader_that_says_nothing_or_garbage_is_refused_with_the_reason() {
    let folder = scratch();
    let path = texts().directory(folder.path());
    for (more, reason) in [("--garbage", "first frame"), ("--silent", "within 2s")] {
        let par =
            with_texts(&[more]).setting("pool.import_timeout", "2s").allow("package_failed").start().await;
        let answer = par.operator().post("/runtime/packages/load", &json!({"path": path})).await;
        answer.problem_naming(422, "package_invalid", &[reason]);
    }
}

#[tokio::test]
async fn surfaces_and_handlers_that_no_loader_can_serve_are_faults_of_the_manifest() {
    let folder = scratch();
    let par = with_texts(&[]).allow("package_failed").start().await;
    let manifest = "runtime: text\nrest: {entry: 'web:mount'}\nexports:\n  - {id: out, handler: '../x:y'}";
    let path = Package::new("wrong", "1.0.0", manifest).directory(folder.path());
    let answer = par.operator().post("/runtime/packages/load", &json!({"path": path})).await;
    answer.problem_naming(422, "package_invalid", &["surfaces rest and a2a", "../x:y"]);
}

#[tokio::test]
async fn a_loader_that_is_no_program_ends_the_start_with_every_fault() {
    let folder = scratch();
    let file = folder.path().join("par.yaml");
    let text = "loaders: {a: {command: [/no/such/program]}, b: deno, python3: node}";
    std::fs::write(&file, text).expect("a file");
    let mut check = par_command();
    check.arg("check").arg("-c").arg(file);
    let checked = Output::of(check).await;
    assert_eq!(checked.code, 64);
    for fault in ["loaders.a.command", "loaders.b", "loaders.python3"] {
        assert!(checked.stderr.contains(fault), "{fault} in {}", checked.stderr);
    }
}
