//! Handlers that fail in every way: each costs its own call, says why, and the package is warm again at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{Answer, Client, Par, ParBuilder, eventually, par};

fn faulty() -> ParBuilder {
    par().agent("faulty").agent("echo")
}

/// Callers of the healthy neighbour in the same package, who must not notice anything.
struct Bystanders {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: JoinSet<()>,
}

impl Bystanders {
    fn of(http: &Client) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut callers = JoinSet::new();
        for caller in 0..4 {
            let (http, stop, answered) = (http.clone(), Arc::clone(&stop), Arc::clone(&answered));
            callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let input = json!({"caller": caller, "call": answered.fetch_add(1, Ordering::Relaxed)});
                    assert_eq!(http.invoke("fine", &input).await.ok(), input);
                    assert_eq!(http.invoke("echo", &input).await.ok(), input);
                }
            });
        }
        Self { stop, answered, callers }
    }

    /// Waits for so many more answers.
    async fn answer_more(&self, count: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + count;
        eventually("the bystanders are served", async || {
            (self.answered.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    async fn were_content(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(caller) = self.callers.join_next().await {
            caller.expect("a bystander got a wrong answer");
        }
    }
}

/// Makes the agent fail while bystanders call. They must not notice, and the next call is served at once.
async fn fail(par: &Par, agent: &str) -> Answer {
    let bystanders = Bystanders::of(&par.http);
    bystanders.answer_more(20).await;
    let answer = par.http.invoke(agent, &json!({})).await;
    bystanders.answer_more(20).await;
    bystanders.were_content().await;

    let began = Instant::now();
    assert_eq!(par.http.invoke("fine", &json!(1)).await.ok(), json!(1));
    assert!(began.elapsed() < Duration::from_secs(1), "warm again only after {:?}", began.elapsed());
    answer
}

/// The worker processes of the package.
async fn workers(par: &Par) -> Vec<u64> {
    let package = par.package("faulty@1.0.0").await.expect("it is mounted");
    let workers = package["workers"].as_array().expect("a list");
    workers.iter().filter_map(|worker| worker["pid"].as_u64()).collect()
}

#[tokio::test]
async fn a_handler_that_raises_is_a_500_with_type_and_message() {
    let par = faulty().start().await;
    let before = workers(&par).await;
    let problem = fail(&par, "raises").await.problem(500, "agent_error");
    assert_eq!(problem["error"]["type"], "ValueError");
    assert_eq!(problem["error"]["message"], "the handler's own message");
    let problem = par.http.invoke("araises", &json!({})).await.problem(500, "agent_error");
    assert_eq!(problem["error"]["message"], "the coroutine's own message");
    let after = workers(&par).await;
    assert!(
        before.iter().all(|pid| after.contains(pid)),
        "an exception costs no worker: {before:?} {after:?}"
    );
}

#[tokio::test]
async fn results_that_json_cannot_hold_are_a_500_that_names_the_place() {
    let par = faulty().start().await;
    fail(&par, "unserialisable").await.problem_naming(500, "agent_error", &["object", "outer", "inner"]);
    fail(&par, "nan").await.problem_naming(500, "agent_error", &["nan", "outer"]);
}

#[tokio::test]
async fn a_handler_that_exits_costs_only_its_own_call() {
    let par = faulty().allow("worker_died").start().await;
    fail(&par, "exits").await.problem_naming(502, "worker_crashed", &["exit", "3"]);
    fail(&par, "os-exits").await.problem_naming(502, "worker_crashed", &["exit", "7"]);
}

#[tokio::test]
async fn a_crashed_worker_costs_only_its_own_call() {
    let par = faulty().allow("worker_died").start().await;
    fail(&par, "segfaults").await.problem_naming(502, "worker_crashed", &["sigsegv"]);
}

#[tokio::test]
async fn a_worker_over_its_memory_costs_only_its_own_call_and_the_limit_is_named() {
    let par = faulty().allow("worker_died").start().await;
    fail(&par, "allocates").await.problem_naming(502, "worker_crashed", &["memory", "200"]);
}

#[tokio::test]
async fn a_handler_that_never_returns_is_a_504_and_its_stack_is_in_the_log() {
    let par = faulty().allow("worker_died").allow("worker_stuck").start().await;
    let began = Instant::now();
    let answer = fail(&par, "hangs").await;
    answer.problem_naming(504, "deadline_exceeded", &["deadline"]);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    par.wait_for_line("the stack of the hanging handler", |line| {
        line.mentions("faulty.py") && line.mentions("in hangs")
    })
    .await;
}

#[tokio::test]
async fn garbage_on_the_runtimes_descriptors_costs_only_its_own_call() {
    let par = faulty().allow("worker_died").start().await;
    fail(&par, "garbage").await.problem_naming(502, "worker_crashed", &["garbage"]);
}

#[tokio::test]
async fn prints_are_log_lines_and_never_part_of_the_answer() {
    let par = faulty().start().await;
    assert_eq!(fail(&par, "prints").await.ok(), json!("printed"));
    for words in ["a line on stdout", "a line on stderr"] {
        par.wait_for_line(words, |line| line.event() == "agent_output" && line.mentions(words)).await;
    }
}

#[tokio::test]
async fn a_leak_is_stopped_at_the_limit_and_the_package_goes_on() {
    let par = faulty().allow("worker_died").start().await;
    let mut crashed = 0;
    for _ in 0..60 {
        let answer = par.http.invoke("leaks", &json!({"mb": 16})).await;
        if answer.status == 502 {
            answer.problem_naming(502, "worker_crashed", &["memory"]);
            crashed += 1;
        } else {
            assert!(answer.ok().as_u64().is_some_and(|blocks| blocks * 16 < 4 * 200), "{}", answer.text());
        }
    }
    let package = par.package("faulty@1.0.0").await.expect("it is mounted");
    assert!(crashed <= 10, "a leak is cheap: the worker is replaced, not the package: {crashed} {package}");
    assert_eq!(par.http.invoke("fine", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn a_kill_from_outside_is_a_502_and_the_rest_is_served() {
    let par = faulty().agent("slow").allow("worker_died").start().await;
    let call = {
        let http = par.http.clone();
        tokio::spawn(async move { http.invoke("sleep", &json!({"seconds": 20.25})).await })
    };
    // A call that has not begun would be sent elsewhere.
    par.wait_for_line("it began", |line| line.mentions("sleep began 20.25")).await;
    let worker = eventually("a worker is busy", async || {
        let package = par.package("slow@1.0.0").await?;
        let busy = package["workers"].as_array()?.iter().find(|worker| worker["outstanding"] == 1)?.clone();
        u32::try_from(busy["pid"].as_u64()?).ok()
    })
    .await;
    crate::harness::process::Process::running(worker).expect("it runs").signal(rustix::process::Signal::KILL);
    call.await.expect("an answer").problem_naming(502, "worker_crashed", &["sigkill"]);
    assert_eq!(par.http.invoke("sleep", &json!({"seconds": 0})).await.status, 200);
}

/// What code may do to its own process without meaning harm to others.
const UNRULY: &str = "
import io, os, sys, threading, time

def run(*, do):
    if do == 'forks':
        if os.fork() == 0:
            return 'a child'
        os.wait()
    elif do == 'closes':
        os.closerange(0, 4096)
    elif do == 'replaces':
        sys.stdout = sys.stderr = io.StringIO()
        print('unheard')
    elif do == 'threads':
        threading.Thread(target=time.sleep, args=(60,)).start()
    return do
";

#[tokio::test]
async fn what_a_handler_does_to_its_process_costs_no_other_call() {
    let folder = crate::harness::scratch();
    let package = crate::harness::Package::with_main("unruly", "1.0.0", UNRULY).directory(folder.path());
    let par = par().source(package).allow("worker_died").start().await;
    for harm in ["forks", "closes", "replaces", "threads"] {
        // Also the worker that has nothing left to write to: its answer was finished, and is found.
        assert_eq!(par.http.invoke("unruly", &json!({"do": harm})).await.ok(), harm);
        for _ in 0..10 {
            assert_eq!(par.http.invoke("unruly", &json!({"do": "nothing"})).await.ok(), "nothing", "{harm}");
        }
    }
}
