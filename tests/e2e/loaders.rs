//! Packages of other languages: our own worker for JavaScript keeps the promises that Python's keeps, and whoever speaks
//! the frames can be a loader.

use std::{collections::HashSet, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::harness::{Package, Par, ParBuilder, par, scratch};

mod calls;
mod commands;
mod faults;
mod processes;
mod streams;

/// Handlers that do what tests ask for.
const CODE: &str = r#"
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const cell = new Int32Array(new SharedArrayBuffer(4));
export const fine = (input) => input;
export const where = () => ({ pid: process.pid, parent: process.ppid });
export const block = ({ ms }) => { Atomics.wait(cell, 0, 0, ms); return process.pid; };
export const spin = ({ ms }) => { const end = Date.now() + ms; while (Date.now() < end); return process.pid; };
export const wait = async ({ ms }) => { await sleep(ms); return process.pid; };
export function* counts({ to }) { for (let n = 0; n < to; n++) yield n; }
export async function* ticks({ to, ms = 0 }) { for (let n = 0; n < to; n++) { yield n; await sleep(ms); } }
export function* breaks() { yield 1; throw new Error("in the middle"); }
export async function* endless({ size }) {
  let made = 0;
  try { for (;;) { made += 1; yield "x".repeat(size); } } finally { console.log("closed after", made); }
}
export const hangs = () => { for (;;); };
export const exits = () => process.exit(7);
export const aborts = () => process.abort();
// Two gigabytes at most, so that a missing limit harms nobody.
export const allocates = () => {
  const kept = [];
  for (let n = 0; n < 128; n++) { kept.push(Buffer.alloc(16 << 20, 1)); Atomics.wait(cell, 0, 0, 20); }
  return kept.length;
};
export const garbage = () => { fs.writeSync(3, "garbage, and more than a header of it"); return sleep(60_000); };
export const nan = () => ({ outer: { inner: NaN } });
export const raises = () => { throw new TypeError("the handler's own message"); };
export const says = ({ word }) => { console.log("said", word); console.error("muttered", word); return word; };
export const leave = async (_, { signal }) => {
  console.log("waiting");
  try { await sleep(60_000, null, { signal }); } finally { console.log("gone because", signal.reason.name); }
};
export const reads = ({ path }) => { try { return fs.readFileSync(path).length; } catch (error) { return error.code; } };
export const kills = () => { try { return process.kill(process.ppid, 0); } catch (error) { return error.code; } };
export const runs = () => { const { error, stdout } = spawnSync("echo", ["ran"]); return error?.code ?? stdout.toString(); };
export const leaves = () => { spawnSync("sh", ["-c", "sleep 300 & echo $!"], { stdio: "ignore" }); return process.pid; };
"#;

const NAMES: [&str; 22] = [
    "fine",
    "where",
    "block",
    "spin",
    "wait",
    "hangs",
    "exits",
    "aborts",
    "allocates",
    "garbage",
    "nan",
    "raises",
    "says",
    "leave",
    "reads",
    "kills",
    "runs",
    "leaves",
    "counts",
    "ticks",
    "breaks",
    "endless",
];

/// A package in JavaScript whose exports are those of [`CODE`]; `manifest` is the rest of its manifest.
fn script(manifest: &str) -> Package {
    let export = |name: &&str| format!("  - {{id: {name}, handler: 'main:{name}', timeout: 20s}}\n");
    let exports = NAMES.iter().map(export).collect::<Vec<_>>().concat();
    let text = format!("runtime: node20\n{manifest}\nexports:\n{exports}");
    let text = text.replace("'main:hangs', timeout: 20s", "'main:hangs', timeout: 1s");
    Package::new("script", "1.0.0", &text).file("main.mjs", CODE)
}

/// `par` with our own worker for `node20`.
fn with_node() -> ParBuilder {
    par().setting("loaders", json!({"node20": "node"}))
}

fn serving(folder: &Path) -> ParBuilder {
    with_node().source(script("").directory(folder))
}

async fn worker_pids(par: &Par) -> HashSet<u64> {
    let package = par.package("script@1.0.0").await.expect("it is mounted");
    let workers = package["workers"].as_array().expect("a list");
    workers.iter().filter_map(|worker| worker["pid"].as_u64()).collect()
}

async fn call(par: &Par, agent: &str, input: Value) -> Value {
    par.http.invoke(agent, &input).await.ok()
}

#[tokio::test]
async fn a_package_in_javascript_is_served_like_any_other() {
    let par = with_node().agent("node").agent("echo").start().await;
    let greeted = par.http.invoke("js-greet", &json!({"name": "Ada"})).await;
    assert_eq!(greeted.ok()["message"], "Hello, Ada!");
    assert_eq!(greeted.ok()["requestId"], greeted.header("x-request-id"));
    assert_eq!(call(&par, "js-wait", json!({"seconds": 0.01})).await, json!({"waited": 0.01}));
    let counted = call(&par, "js-count", json!({"to": 3})).await;
    assert_eq!(counted, json!([{"number": 1}, {"number": 2}, {"number": 3}]));
    let asked = json!({"agent": "js-greet", "input": {"name": "Bob"}});
    assert_eq!(call(&par, "js-ask", asked).await["message"], "Hello, Bob!");
    par.http.invoke("js-greet", &json!({})).await.problem(422, "input_invalid");
    let problem = par.http.invoke("js-fail", &json!({"why": "because"})).await.problem(500, "agent_error");
    assert_eq!(
        (&problem["error"]["type"], &problem["error"]["message"]),
        (&json!("RangeError"), &json!("because"))
    );
    assert!(
        problem["error"]["traceback"].as_str().is_some_and(|text| text.contains("main.mjs")),
        "{problem}"
    );
    assert_eq!(call(&par, "echo", json!(1)).await, json!(1));
}

#[tokio::test]
async fn packages_tell_what_runs_them_and_why_they_are_not_forked() {
    let par = with_node().agent("node").agent("echo").start().await;
    let package = par.package("node@1.0.0").await.expect("it is mounted");
    assert_eq!(package["runtime"], "node20");
    assert_eq!(package["fork"], json!({"method": "spawn", "reason": "loader node20"}));
    assert_eq!(par.package("echo@1.0.0").await.expect("it is mounted")["runtime"], "python");
}

#[tokio::test]
async fn lines_of_a_handler_carry_its_request_id() {
    let folder = scratch();
    let par = serving(folder.path()).start().await;
    let answer = par.http.invoke("says", &json!({"word": "abracadabra"})).await;
    for (word, stream) in [("said abracadabra", "stdout"), ("muttered abracadabra", "stderr")] {
        let line =
            par.wait_for_line(word, |line| line.event() == "agent_output" && line.mentions(word)).await;
        assert!(line.mentions(answer.header("x-request-id")), "{}", line.text());
        assert!(line.mentions(stream), "{}", line.text());
    }
}

#[tokio::test]
async fn a_caller_that_leaves_is_told_to_its_handler() {
    let folder = scratch();
    let par = serving(folder.path()).start().await;
    let http = par.http.clone();
    let caller = tokio::spawn(async move { http.invoke("leave", &json!({})).await });
    par.wait_for_line("the handler waits", |line| line.mentions("waiting")).await;
    caller.abort();
    let told = par.wait_for_line("the handler is told", |line| line.mentions("gone because AbortError"));
    tokio::time::timeout(Duration::from_secs(5), told).await.expect("at once");
    assert_eq!(worker_pids(&par).await.len(), 1, "the worker lives on");
}

#[tokio::test]
async fn a_package_without_a_loader_is_refused_and_told_what_is_missing() {
    let par = par().agent("echo").allow("package_failed").start().await;
    let path = crate::harness::agent("node").display().to_string();
    let answer = par.operator().post("/runtime/packages/load", &json!({"path": path})).await;
    let problem =
        answer.problem_naming(422, "package_invalid", &["no loader is configured for node20", "loaders"]);
    assert_eq!(problem["step"], "manifest");
    let shown = par.cli(&["inspect", &path]).await;
    assert_eq!(shown.code, 65);
}
