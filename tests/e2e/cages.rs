//! What a package may take as a whole: processes and memory, its children's included.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::harness::{Group, Package, Par, ParBuilder, eventually, par, scratch};

/// An agent that takes what it can get. Each attempt has an end of its own, so that a missing limit harms
/// nobody.
const GREEDY: &str = r#"
import os, threading, time

def nap():
    time.sleep(60)
    os._exit(0)

def forks(input):
    "Children of children in sessions of their own, whose parents are gone."
    for _ in range(input["count"]):
        if input["hidden"]:
            child = os.fork()
            if child == 0:
                os.setsid()
                if os.fork() == 0:
                    nap()
                os._exit(0)
            os.waitpid(child, 0)
        elif os.fork() == 0:
            nap()
    return "forked"

def allocate():
    blocks = []
    for _ in range(64):
        blocks.append(b"\xff" * (16 << 20))
        time.sleep(0.05)
    time.sleep(20)

def child(input):
    pid = os.fork()
    if pid == 0:
        allocate()
        os._exit(0)
    os.waitpid(pid, 0)
    return "allocated"

def later(input):
    threading.Thread(target=allocate, daemon=True).start()
    return os.getpid()

def quick(input):
    return len([bytearray(b"\xff" * (64 << 20)) for _ in range(64)])

def fine(input):
    return os.getpid()
"#;

const MANIFEST: &str = "workers: {max: 1, memory_mb: 200}\nexports:\n  - {id: forks, handler: main:forks}\n  \
                        - {id: child, handler: main:child}\n  - {id: later, handler: main:later}\n  \
                        - {id: quick, handler: main:quick}\n  - {id: fine, handler: main:fine}\n";

fn serving(folder: &Path) -> ParBuilder {
    let package = Package::new("greedy", "1.0.0", MANIFEST).file("main.py", GREEDY);
    par()
        .production()
        .source(package.apkg(folder))
        .agent("echo")
        .setting("sandbox_processes", 200)
        .allow("worker_died")
        .allow("package_ended")
}

async fn greedy(folder: &Path) -> Par {
    serving(folder).start().await
}

#[tokio::test]
async fn a_fork_bomb_ends_with_all_that_it_started_and_its_neighbours_answer_meanwhile() {
    let folder = scratch();
    let par = greedy(folder.path()).await;
    par.http.invoke("fine", &json!({})).await.ok();
    let before = par.process().descendants().len();
    for hidden in [false, true] {
        let http = par.http.clone();
        let bomb =
            tokio::spawn(
                async move { http.invoke("forks", &json!({"count": 10_000, "hidden": hidden})).await },
            );
        let mut slowest = Duration::ZERO;
        while !bomb.is_finished() {
            let began = Instant::now();
            assert_eq!(par.http.invoke("echo", &json!({"n": 1})).await.ok(), json!({"n": 1}));
            slowest = slowest.max(began.elapsed());
        }
        let answer = bomb.await.expect("it is answered");
        answer.problem_naming(502, "worker_crashed", &["200", "processes"]);
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
        eventually("nothing is left of it", async || {
            par.http.invoke("fine", &json!({})).await.ok();
            (par.process().descendants().len() <= before).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_child_allocates_is_its_workers_memory() {
    let folder = scratch();
    let par = greedy(folder.path()).await;
    par.http.invoke("child", &json!({})).await.problem_naming(502, "worker_crashed", &["memory", "200"]);
    par.http.invoke("fine", &json!({})).await.ok();
}

#[tokio::test]
async fn a_worker_that_grows_after_its_call_is_replaced() {
    let folder = scratch();
    let par = greedy(folder.path()).await;
    let grown = par.http.invoke("later", &json!({})).await.ok();
    par.wait_for_line("its end", |line| line.event() == "worker_died" && line.mentions("200 MB")).await;
    eventually("another takes its place", async || {
        let answer = par.http.invoke("fine", &json!({})).await;
        (answer.status == 200 && answer.ok() != grown).then_some(())
    })
    .await;
}

#[tokio::test]
async fn where_a_group_was_delegated_the_kernel_bounds_each_package_in_one_of_its_own() {
    let Some(group) = Group::delegated() else { return };
    let folder = scratch();
    // What else this kernel can do is not asked here.
    let mut par = group.holding(serving(folder.path())).allow("sandbox_weak").start().await;
    let package = par.package("greedy@1.0.0").await.expect("it is mounted");
    let layers = package["sandbox"]["layers"].as_array().expect("a list").clone();
    assert!(layers.contains(&json!("cgroup")) && layers.contains(&json!("watched")), "{layers:?}");
    let read = |part: &Path, file: &str| fs::read_to_string(part.join(file)).unwrap_or_default();
    let holding = |pid: u64| {
        let holds = |part: &Path| read(part, "cgroup.procs").lines().any(|line| line == pid.to_string());
        group.parts().into_iter().find(|part| holds(part))
    };
    let worker = par.http.invoke("fine", &json!({})).await.ok().as_u64().expect("a number");
    let part = holding(worker).expect("the worker is in a group");
    let runtime = holding(par.process().pid.into()).expect("so is the runtime");
    assert_ne!(part, runtime);
    // What is counted, and ordinary threads of a template, this worker and two more processes.
    assert_eq!(read(&part, "pids.max").trim(), (200 + 3 * 64).to_string());
    assert_eq!(read(&part, "memory.max").trim(), ((6 * 200_u64) << 20).to_string());
    assert_eq!(read(&runtime, "memory.max").trim(), "max", "the runtime itself is not bounded");

    par.http.invoke("forks", &json!({"count": 20, "hidden": true})).await.ok();
    assert!(
        read(&part, "pids.current").trim().parse().is_ok_and(|count: u32| count > 20),
        "who hides is in it"
    );
    let answer = par.http.invoke("quick", &json!({})).await;
    answer.problem_naming(502, "worker_crashed", &["memory", "200"]);
    par.http.invoke("fine", &json!({})).await.ok();

    par.term();
    assert_eq!(par.exit().await.code(), Some(0));
    assert_eq!(group.parts(), [runtime], "groups of packages end with them");
}
