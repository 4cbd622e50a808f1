//! Calls in calls at their deadline: whoever waits is told, and nobody waits on.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Answered, Package, Par, eventually, par, scratch};

/// A chain of functions, each of which waits for the next one, and an orchestrator that does not take its end for one.
const CODE: &str = "
import asyncio, time
from pixell_runtime import errors, runtime

def chain(*, depth):
    if not depth:
        time.sleep(60)
    try:
        return runtime.call('chain', depth=depth - 1)
    except errors.CallFailed as error:
        print('level', depth, error.code, flush=True)
        raise

async def achain(*, depth):
    if not depth:
        await asyncio.sleep(60)
    return await runtime.acall('achain', depth=depth - 1)

async def stubborn():
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        pass
    try:
        await runtime.acall('quick')
    except BaseException as error:
        print('refused', type(error).__name__, getattr(error, 'code', None), flush=True)
        raise
    print('it was let in', flush=True)

async def detached():
    async def later():
        await asyncio.sleep(0.1)
        try:
            await runtime.acall('quick')
            print('it was let in', flush=True)
        except errors.CallFailed as error:
            print('refused', error.code, flush=True)
    asyncio.get_running_loop().create_task(later())
    return 'done'

def quick():
    return 'quick'
";

async fn host() -> (TempDir, Par) {
    let folder = scratch();
    let exports: String = ["chain", "achain", "stubborn", "detached", "quick"]
        .map(|name| format!("  - {{id: {name}, handler: 'main:{name}'}}\n"))
        .concat();
    let package = Package::new("chains", "1.0.0", &format!("exports:\n{exports}")).file("main.py", CODE);
    let par = par().source(package.directory(folder.path())).allow("agent_call").allow("access");
    let par = par.allow("worker_stuck").allow("worker_died").start().await;
    (folder, par)
}

async fn within(par: &Par, milliseconds: u32, agent: &str, input: Value) -> crate::harness::Answer {
    let request = par.http.request(Method::POST, &format!("/agents/chains/{agent}/invoke"));
    request.header("x-par-timeout-ms", milliseconds.to_string()).json(&input).answer().await
}

/// How the calls between agents have ended, as their lines say.
fn ends(par: &Par) -> BTreeMap<String, usize> {
    let mut ends = BTreeMap::new();
    for line in par.lines().iter().filter(|line| line.event() == "agent_call") {
        *ends.entry(line["code"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    ends
}

#[tokio::test]
async fn every_level_of_a_chain_of_functions_meets_the_deadline_of_the_first() {
    for agent in ["chain", "achain"] {
        let (_folder, par) = host().await;
        let began = Instant::now();
        within(&par, 800, agent, json!({"depth": 3})).await.problem(504, "deadline_exceeded");
        assert!(began.elapsed() < Duration::from_secs(3), "{agent} took {:?}", began.elapsed());
        eventually("every level has its line", async || {
            (ends(&par).values().sum::<usize>() == 3).then_some(())
        })
        .await;
        assert_eq!(ends(&par), BTreeMap::from([("deadline_exceeded".to_owned(), 3)]), "{agent}");
        if agent == "chain" {
            for level in 1..=3 {
                let words = format!("level {level} deadline_exceeded");
                par.wait_for_line(&words, |line| line.event() == "agent_output" && line.mentions(&words))
                    .await;
            }
            // Whoever waited has its worker back; only the one that slept is replaced.
            par.wait_for_line("it is replaced", |line| line.event() == "worker_died").await;
            assert_eq!(par.lines().iter().filter(|line| line.event() == "worker_died").count(), 1);
        }
        for _ in 0..20 {
            assert_eq!(within(&par, 10_000, "quick", json!({})).await.ok(), "quick");
        }
    }
}

#[tokio::test]
async fn who_goes_on_after_its_deadline_calls_nobody() {
    let (_folder, par) = host().await;
    within(&par, 300, "stubborn", json!({})).await.problem(504, "deadline_exceeded");
    let told = par.wait_for_line("its end", |line| line.event() == "agent_output").await;
    assert!(told.mentions("refused"), "{}", told.text());
    assert_eq!(within(&par, 10_000, "quick", json!({})).await.ok(), "quick");
}

#[tokio::test]
async fn a_task_that_outlives_its_call_calls_nobody() {
    let (_folder, par) = host().await;
    assert_eq!(within(&par, 10_000, "detached", json!({})).await.ok(), "done");
    let told = par.wait_for_line("its end", |line| line.event() == "agent_output").await;
    assert!(told.mentions("refused bad_request"), "{}", told.text());
}
