//! Back to what served before: by hand, by itself, and for as long as it is wanted.

use std::{
    cell::Cell,
    collections::BTreeMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answered, Client, Index, Package, Par, ParBuilder, eventually, par, scratch};

fn version(number: &str) -> Package {
    Package::saying("turned", number, number)
}

/// In production, with an index that is looked at only when somebody asks.
fn registered(folder: &Path, packages: &[Package]) -> ParBuilder {
    let url = Index::of(packages).in_folder(folder);
    let builder = par().production().env("REGISTRY_URL", url).env("REGISTRY_POLL_INTERVAL", "1h");
    builder.allow("rolled_back")
}

async fn answer(par: &Par) -> Value {
    par.http.invoke("turned", &json!({})).await.ok()
}

async fn reload(par: &Par, body: &Value) -> Value {
    let told = par.operator().post("/runtime/reload", body).await.ok();
    let packages = told["packages"].as_array().expect("packages");
    packages.iter().find(|one| one["package"] == "turned").cloned().unwrap_or_else(|| panic!("{told}"))
}

async fn rollback(par: &Par) -> Value {
    par.operator().post_empty("/runtime/packages/turned/rollback").await.ok()
}

/// 1.0.0 and then 2.0.0, live.
async fn two_versions(folder: &Path, builder: ParBuilder) -> Par {
    let par = builder.start().await;
    Index::of([&version("2.0.0")]).in_folder(folder);
    assert_eq!(reload(&par, &json!({})).await["outcome"], "updated");
    assert_eq!(answer(&par).await, "2.0.0");
    par
}

#[tokio::test]
async fn a_rollback_makes_the_parked_generation_serve_again_without_losing_a_call() {
    let folder = scratch();
    let builder = registered(folder.path(), &[version("1.0.0")]);
    let par = builder.start().await;
    let first = par.http.invoke("turned", &json!({})).await.header("x-par-generation").to_owned();
    Index::of([&version("2.0.0")]).in_folder(folder.path());
    reload(&par, &json!({})).await;
    let callers = (0..3).map(|_| {
        let client = Client::new(par.port);
        tokio::spawn(async move {
            let mut seen = vec![];
            loop {
                let answer = client.invoke("turned", &json!({})).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                seen.push(answer.json());
                if seen.last().is_some_and(|last| last == "1.0.0") {
                    return seen;
                }
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    let told = rollback(&par).await;
    assert_eq!(told["status"], "success", "{told}");
    assert_eq!(told["package"], "turned", "{told}");
    assert!(
        told["active"].to_string().contains("1.0.0") && told["former"].to_string().contains("2.0.0"),
        "{told}"
    );
    for caller in callers {
        caller.await.expect("no call failed");
    }
    let now = par.http.invoke("turned", &json!({})).await;
    assert_eq!(
        (now.ok(), now.header("x-par-generation")),
        (json!("1.0.0"), &*first),
        "the same processes as before"
    );
    let told = par.operator().get("/runtime/rollouts").await.ok();
    let receipts = told["rollouts"].as_array().expect("rollouts");
    let receipt = receipts.iter().find(|one| one["cause"] == "rollback").unwrap_or_else(|| panic!("{told}"));
    assert!(receipt["from"].to_string().contains("2.0.0"), "{receipt}");
    assert!(receipt["steps"]["switch"].as_f64().is_some_and(|seconds| seconds < 0.1), "{receipt}");
}

#[tokio::test]
async fn a_rollback_is_pinned_until_a_newer_version_is_named() {
    let folder = scratch();
    let par = two_versions(folder.path(), registered(folder.path(), &[version("1.0.0")])).await;
    rollback(&par).await;
    assert_eq!(answer(&par).await, "1.0.0");
    assert_eq!(reload(&par, &json!({})).await["outcome"], "pinned");
    Index::of([&version("2.0.0"), &version("1.5.0")]).in_folder(folder.path());
    assert_eq!(
        reload(&par, &json!({})).await["outcome"],
        "pinned",
        "not newer than the one that was taken back"
    );
    assert_eq!(answer(&par).await, "1.0.0");

    let par = par.restart().await;
    assert_eq!(answer(&par).await, "1.0.0", "pinned over a restart");
    assert_eq!(reload(&par, &json!({})).await["outcome"], "pinned");
    Index::of([&version("2.0.1")]).in_folder(folder.path());
    assert_eq!(
        reload(&par, &json!({})).await["outcome"],
        "updated",
        "newer than the one that was taken back"
    );
    assert_eq!(answer(&par).await, "2.0.1");
}

#[tokio::test]
async fn a_rollback_is_pinned_until_a_reload_by_force() {
    let folder = scratch();
    let par = two_versions(folder.path(), registered(folder.path(), &[version("1.0.0")])).await;
    let output = par.cli(&["rollback", "turned"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("1.0.0"), "{output:?}");
    assert_eq!(answer(&par).await, "1.0.0");
    assert_eq!(reload(&par, &json!({"package": "turned", "force": true})).await["outcome"], "updated");
    assert_eq!(answer(&par).await, "2.0.0");
}

#[tokio::test]
async fn without_a_parked_generation_there_is_nothing_to_go_back_to() {
    let folder = scratch();
    let par = registered(folder.path(), &[version("1.0.0")]).start().await;
    let refused = par.operator().post_empty("/runtime/packages/turned/rollback").await;
    refused.problem(409, "conflict");
    let unknown = par.operator().post_empty("/runtime/packages/nobody/rollback").await;
    unknown.problem(404, "package_not_found");
    par.http.post_empty("/runtime/packages/turned/rollback").await.problem(401, "unauthenticated");
    assert_eq!(answer(&par).await, "1.0.0");
    let output = par.cli(&["rollback", "turned"]).await;
    assert!(output.code != 0 && output.stdout.is_empty() && !output.stderr.is_empty(), "{output:?}");
}

#[tokio::test]
async fn parked_generations_go_when_their_time_is_over_or_there_are_too_many() {
    let folder = scratch();
    let builder = registered(folder.path(), &[version("1.0.0")]).setting("rollout.parked", 1);
    let par = two_versions(folder.path(), builder).await;
    Index::of([&version("3.0.0")]).in_folder(folder.path());
    reload(&par, &json!({})).await;
    par.http.invoke("turned@1.0.0", &json!({})).await.problem(404, "agent_not_found");
    assert_eq!(par.http.invoke("turned@2.0.0", &json!({})).await.ok(), "2.0.0", "one may park");
    let told = rollback(&par).await;
    assert!(told["active"].to_string().contains("2.0.0"), "{told}");

    let folder = scratch();
    let builder = registered(folder.path(), &[version("1.0.0")]).setting("rollout.rollback_ttl", "2s");
    let par = two_versions(folder.path(), builder).await;
    let children = par.process().descendants().len();
    eventually("the parked one is gone", async || {
        let answer = par.http.invoke("turned@1.0.0", &json!({})).await;
        (answer.status == 404 && par.process().descendants().len() < children).then_some(())
    })
    .await;
    par.operator().post_empty("/runtime/packages/turned/rollback").await.problem(409, "conflict");
}

#[tokio::test]
async fn a_generation_that_goes_leaves_the_processor_to_the_newer_one_first() {
    let folder = scratch();
    let par = registered(folder.path(), &[version("1.0.0")]).setting("rollout.parked", 0).start().await;
    assert_eq!(answer(&par).await, "1.0.0");
    let mut old = par.process().descendants();
    // Tools of the runtime's own end by themselves.
    old.retain(|process| process.command().contains("__main__.py"));
    assert!(!old.is_empty());
    let end = thread::spawn(move || {
        let begin = Instant::now();
        while old.iter().all(|process| process.alive()) {
            assert!(begin.elapsed() < Duration::from_secs(20), "it never goes");
            thread::sleep(Duration::from_millis(1));
        }
        Instant::now()
    });
    Index::of([&version("2.0.0")]).in_folder(folder.path());
    // The switch comes after a call that the old one has answered was sent.
    let last = Cell::new(Instant::now());
    let calls = eventually("the new one answers", async || {
        let sent = Instant::now();
        if answer(&par).await == "2.0.0" {
            return Some(());
        }
        last.set(sent);
        None
    });
    let nothing = json!({});
    let (told, ()) = tokio::join!(reload(&par, &nothing), calls);
    assert_eq!(told["outcome"], "updated");
    let lived_on = end.join().expect("it goes").duration_since(last.get());
    assert!(lived_on >= Duration::from_millis(150), "it went {lived_on:?} after its last call");
}

fn failing(number: &str, code: &str) -> Package {
    Package::with_main("turned", number, code)
}

/// The receipt of a rollout that was taken back.
async fn taken_back(par: &Par) -> Value {
    eventually("the receipt says so", async || {
        let told = par.operator().get("/runtime/rollouts").await.ok();
        let receipts = told["rollouts"].as_array().expect("rollouts");
        receipts.iter().find(|one| one["outcome"] == "rolled_back").cloned()
    })
    .await
}

/// Calls until the former version serves again; how often the new one failed before that.
async fn calls_until_it_is_back(par: &Par) -> usize {
    let mut failed = 0;
    eventually("it went back by itself", async || {
        let answer = par.http.invoke("turned", &json!({})).await;
        failed += usize::from(answer.status >= 500);
        (answer.status == 200 && answer.json() == "1.0.0").then_some(())
    })
    .await;
    failed
}

#[tokio::test]
async fn a_version_that_answers_with_errors_is_taken_back_by_itself() {
    let folder = scratch();
    let par = registered(folder.path(), &[version("1.0.0")]).allow("*").start().await;
    for _ in 0..5 {
        answer(&par).await;
    }
    let bad = failing("2.0.0", "def run(input):\n    raise RuntimeError('not today')\n");
    Index::of([&bad]).in_folder(folder.path());
    assert_eq!(reload(&par, &json!({})).await["outcome"], "updated", "its import is fine");
    assert!(calls_until_it_is_back(&par).await >= 10, "a few errors are no trend");
    let receipt = taken_back(&par).await;
    assert!(receipt["reason"].as_str().is_some_and(|reason| reason.contains("error")), "{receipt}");
    assert_eq!(reload(&par, &json!({})).await["outcome"], "pinned");
    assert_eq!(answer(&par).await, "1.0.0");
}

#[tokio::test]
async fn a_version_that_crashes_right_after_the_switch_is_taken_back_by_itself() {
    let folder = scratch();
    let par = registered(folder.path(), &[version("1.0.0")]).allow("*").start().await;
    let bad = failing("2.0.0", "import os\n\n\ndef run(input):\n    os._exit(3)\n");
    Index::of([&bad]).in_folder(folder.path());
    reload(&par, &json!({})).await;
    calls_until_it_is_back(&par).await;
    let receipt = taken_back(&par).await;
    assert!(receipt["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{receipt}");
    assert_eq!(answer(&par).await, "1.0.0", "and it stays so");
}

#[tokio::test]
async fn a_version_that_is_much_slower_is_taken_back_if_that_is_wanted() {
    let folder = scratch();
    let builder = registered(folder.path(), &[version("1.0.0")]).setting("rollout.bake_p99_ratio", 5.0);
    let par = builder.allow("*").start().await;
    for _ in 0..40 {
        answer(&par).await;
    }
    let slow =
        failing("2.0.0", "import time\n\n\ndef run(input):\n    time.sleep(0.2)\n    return '2.0.0'\n");
    Index::of([&slow]).in_folder(folder.path());
    reload(&par, &json!({})).await;
    assert_eq!(calls_until_it_is_back(&par).await, 0, "slow is not failed");
}

#[tokio::test]
async fn an_agent_that_failed_before_as_often_is_not_taken_back() {
    let folder = scratch();
    let moody = |number: &str| {
        failing(
            number,
            &format!(
                "def run(input):\n    if input.get('fail'):\n        raise ValueError('x')\n    return '{number}'\n"
            ),
        )
    };
    let par = registered(folder.path(), &[moody("1.0.0")]).setting("rollout.bake_window", "3s").start().await;
    let round = async || {
        for at in 0..40 {
            par.http.invoke("turned", &json!({"fail": at % 2 == 0})).await;
        }
    };
    round().await;
    Index::of([&moody("2.0.0")]).in_folder(folder.path());
    reload(&par, &json!({})).await;
    round().await;
    let receipt = eventually("the window is over", async || {
        let told = par.operator().get("/runtime/rollouts").await.ok();
        let all = told["rollouts"].as_array().expect("rollouts").clone();
        let receipt = all.into_iter().find(|one| one["to"].to_string().contains("2.0.0"))?;
        receipt["calls"]["after"].is_object().then_some(receipt)
    })
    .await;
    assert_eq!(
        (&receipt["outcome"], &receipt["calls"]["after"]["failed"]),
        (&json!("live"), &json!(20)),
        "{receipt}"
    );
    assert_eq!(answer(&par).await, "2.0.0");
}

#[tokio::test]
async fn traffic_is_split_by_weight_and_stays_with_its_session() {
    let folder = scratch();
    let par = two_versions(folder.path(), registered(folder.path(), &[version("1.0.0")])).await;
    let put = async |body: Value| {
        let request = par.operator().request(Method::PUT, "/runtime/packages/turned/traffic");
        request.json(&body).answer().await
    };
    put(json!({"1.0.0": 75, "2.0.0": 25})).await.ok();
    let mut counts = BTreeMap::<String, usize>::new();
    for _ in 0..400 {
        let answer = par.http.invoke("turned", &json!({})).await;
        let version = answer.ok().as_str().expect("a word").to_owned();
        assert_eq!(answer.header("x-par-version"), version);
        *counts.entry(version).or_default() += 1;
    }
    let newer = counts.get("2.0.0").copied().unwrap_or(0);
    assert!((50..=160).contains(&newer), "about a quarter: {counts:?}");

    let mut versions = vec![];
    for session in 0..20 {
        let ask = || async {
            let request = par.http.request(Method::POST, "/agents/turned/invoke");
            request.header("x-par-session", format!("s-{session}")).json(&json!({})).answer().await.ok()
        };
        let first = ask().await;
        for _ in 0..3 {
            assert_eq!(ask().await, first, "session {session}");
        }
        versions.push(first);
    }
    versions.sort_by_key(Value::to_string);
    versions.dedup();
    assert_eq!(versions.len(), 2, "sessions are split too");

    for bad in [
        json!({}),
        json!([]),
        json!({"9.9.9": 100}),
        json!({"1.0.0": -1, "2.0.0": 101}),
        json!({"1.0.0": 0, "2.0.0": 0}),
        json!({"1.0.0": "all"}),
    ] {
        let refused = put(bad.clone()).await;
        assert!((400..500).contains(&refused.status), "{bad}: {}", refused.text());
    }
    put(json!({"2.0.0": 100})).await.ok();
    for _ in 0..20 {
        assert_eq!(answer(&par).await, "2.0.0");
    }
}
