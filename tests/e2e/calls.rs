//! Calls: what goes in, what comes out, who says so, and what happens when there are too many.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Answered, Package, agent, par, scratch};

/// Values that a careless runtime changes on the way.
fn delicate() -> Vec<Value> {
    vec![
        json!({}),
        json!({"text": "käse 🧀 \u{0} \" \\ \n", "nested": {"list": [1, [2, [3]], null, true]}}),
        json!({"big": 9_007_199_254_740_993_i64, "small": 1e-300, "negative": -0.5}),
        json!([1, 2, 3]),
        json!("a text"),
        json!(42),
        json!(false),
        json!(null),
    ]
}

#[tokio::test]
async fn the_body_is_the_input_and_the_result_is_the_body() {
    let par = par().agent("echo").start().await;
    for input in delicate() {
        for name in ["echo", "aecho"] {
            let answer = par.http.invoke(name, &input).await;
            assert_eq!(answer.ok(), input, "{name}");
            assert_eq!(answer.header("content-type"), "application/json");
        }
    }
}

#[tokio::test]
async fn the_envelope_carries_input_in_and_output_out() {
    let par = par().agent("echo").start().await;
    let envelope = json!({"input": {"n": 1}, "context": {"ignored": true}, "trace_id": "trace-7"});
    for name in ["echo", "aecho"] {
        let answer = par.http.envelope(name, &envelope).await.ok();
        assert_eq!(answer["output"], json!({"n": 1}));
        assert_eq!(answer["agent_id"], format!("echo@1.0.0/{name}"));
        assert_eq!(answer["trace_id"], "trace-7");
        assert!(answer["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{answer}");
        let metadata = &answer["metadata"];
        assert_eq!(metadata["package_id"], "echo@1.0.0");
        assert_eq!(metadata["version"], "1.0.0");
        assert!(metadata["generation"].as_u64().is_some(), "{answer}");
        for key in ["session_id", "usage"] {
            assert!(metadata.as_object().is_some_and(|object| object.contains_key(key)), "{key} in {answer}");
        }
    }
    assert_eq!(
        par.http.envelope("echo", &json!({})).await.ok()["output"],
        json!({}),
        "no input is an empty object"
    );
    assert_eq!(par.http.envelope("echo", &json!({"input": [1]})).await.ok()["output"], json!([1]));
    par.http.envelope("echo", &json!([1])).await.problem(400, "bad_request");
}

#[tokio::test]
async fn every_answer_says_who_gave_it_and_where_the_time_went() {
    let par = par().agent("echo").start().await;
    let answer = par.http.invoke("echo", &json!({})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-par-agent"), "echo@1.0.0/echo");
    assert_eq!(answer.header("x-par-version"), "1.0.0");
    assert!(answer.header("x-par-generation").parse::<u64>().is_ok(), "{:?}", answer.headers);
    let timing = answer.header("server-timing");
    for part in ["queue", "worker", "total"] {
        let found =
            timing.split(',').map(str::trim).find_map(|item| item.strip_prefix(part)?.strip_prefix(";dur="));
        let ms: f64 = found.and_then(|ms| ms.parse().ok()).unwrap_or_else(|| panic!("{part} in {timing}"));
        assert!((0.0..60_000.0).contains(&ms), "{timing}");
    }
}

#[tokio::test]
async fn a_good_request_id_is_echoed_and_a_bad_one_is_replaced() {
    let par = par().agent("echo").start().await;
    let send = async |id: &str| {
        let request = par.http.request(Method::POST, "/agents/echo/invoke").header("x-request-id", id);
        request.json(&json!({})).answer().await.header("x-request-id").to_owned()
    };
    let longest = "a".repeat(128);
    for good in ["abc", "A.b_c-9", &longest] {
        assert_eq!(send(good).await, good);
    }
    let mut made = vec![];
    for bad in ["with space", "semi;colon", "", &"a".repeat(129)] {
        let id = send(bad).await;
        assert!(!id.is_empty() && id != bad, "{bad} became {id}");
        made.push(id);
    }
    made.push(par.http.invoke("echo", &json!({})).await.header("x-request-id").to_owned());
    let unknown = par.http.invoke("nobody", &json!({})).await;
    made.push(unknown.header("x-request-id").to_owned());
    let count = made.len();
    made.sort();
    made.dedup();
    assert!(made.len() == count && made.iter().all(|id| !id.is_empty()), "{made:?}");
}

#[tokio::test]
async fn a_caller_can_shorten_the_deadline_but_not_extend_it() {
    let par = par()
        .agent("slow")
        .env("REQUEST_TIMEOUT_SECONDS", "2")
        .allow("worker_stuck")
        .allow("worker_died")
        .start()
        .await;
    let timed = async |agent: &str, timeout: &str, seconds: f64| {
        let began = Instant::now();
        let request = par.http.request(Method::POST, &format!("/agents/{agent}/invoke"));
        let request = request.header("x-par-timeout-ms", timeout).json(&json!({"seconds": seconds}));
        (request.answer().await, began.elapsed())
    };
    for agent in ["asleep", "sleep"] {
        let (answer, took) = timed(agent, "200", 20.0).await;
        answer.problem(504, "deadline_exceeded");
        assert!(took < Duration::from_millis(1500), "{agent} took {took:?}");
    }
    let (answer, took) = timed("asleep", "60000", 20.0).await;
    answer.problem(504, "deadline_exceeded");
    assert!((Duration::from_millis(1900)..Duration::from_secs(6)).contains(&took), "{took:?}");
    let (answer, _) = timed("asleep", "1500", 0.01).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn many_callers_at_once_each_get_their_own_answer() {
    let par = par().agent("echo").start().await;
    let mut calls = JoinSet::new();
    for number in 0..400 {
        let http = par.http.clone();
        calls.spawn(async move {
            let name = if number % 2 == 0 { "echo" } else { "aecho" };
            for round in 0..5 {
                let input = json!({"caller": number, "round": round, "padding": "x".repeat(number * 7)});
                assert_eq!(http.invoke(name, &input).await.ok(), input);
            }
        });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("each caller is content");
    }
}

#[tokio::test]
async fn large_inputs_and_outputs_arrive_whole() {
    let par = par().agent("echo").start().await;
    for size in [64 << 10, 1 << 20, 6 << 20] {
        let input = json!({"payload": "0123456789abcdef".repeat(size / 16)});
        for name in ["echo", "aecho"] {
            assert!(par.http.invoke(name, &input).await.ok() == input, "{size} bytes through {name}");
        }
    }
}

#[tokio::test]
async fn a_full_runtime_refuses_with_a_time_to_come_back_and_serves_the_rest() {
    let par = par().agent("slow").env("MAX_CONCURRENT_INVOCATIONS", "4").start().await;
    let mut calls = JoinSet::new();
    for _ in 0..12 {
        let http = par.http.clone();
        calls.spawn(async move { http.invoke("asleep", &json!({"seconds": 1.0})).await });
    }
    let mut served = 0;
    while let Some(call) = calls.join_next().await {
        let answer = call.expect("an answer");
        if answer.status == 200 {
            served += 1;
        } else {
            let problem = answer.problem(503, "queue_full");
            assert_eq!(problem["detail"], "as many calls run or wait as this runtime takes");
            let wait: u64 = answer.header("retry-after").parse().expect("whole seconds");
            assert!((1..=30).contains(&wait), "{wait}");
        }
    }
    assert_eq!(served, 4, "as many as may run or wait");
    assert_eq!(par.http.invoke("asleep", &json!({"seconds": 0})).await.status, 200, "room again at once");
}

/// `sleep` by a single worker.
fn narrow() -> Package {
    Package::new("narrow", "1.0.0", "entrypoint: slow:sleep\nworkers: {max: 1}")
        .file("slow.py", std::fs::read(agent("slow").join("slow.py")).expect("the slow agent"))
}

#[tokio::test]
async fn a_call_that_cannot_begin_before_its_deadline_is_refused_not_kept() {
    let scratch = scratch();
    let par = par().source(narrow().directory(scratch.path())).start().await;
    let first = {
        let http = par.http.clone();
        tokio::spawn(async move { http.invoke("narrow", &json!({"seconds": 3.0})).await })
    };
    // The measured service time tells the second caller that its turn would come too late.
    assert_eq!(first.await.expect("an answer").status, 200);
    let running = {
        let http = par.http.clone();
        tokio::spawn(async move { http.invoke("narrow", &json!({"seconds": 3.0})).await })
    };
    crate::harness::eventually("the worker is busy", async || {
        let package = par.package("narrow@1.0.0").await?;
        package["workers"].as_array()?.iter().any(|worker| worker["outstanding"] == 1).then_some(())
    })
    .await;
    let began = Instant::now();
    let request = par.http.request(Method::POST, "/agents/narrow/invoke").header("x-par-timeout-ms", "400");
    let refused = request.json(&json!({"seconds": 0.0})).answer().await;
    refused.problem(503, "queue_full");
    assert!(
        refused.header("retry-after").parse::<u64>().is_ok_and(|wait| wait >= 1),
        "{:?}",
        refused.headers
    );
    assert!(began.elapsed() < Duration::from_millis(390), "refused before the deadline, not at it");
    assert_eq!(running.await.expect("an answer").status, 200);
}

#[tokio::test]
async fn calls_that_wait_in_vain_are_told_as_soon_as_it_is_known_and_may_be_sent_again() {
    let scratch = scratch();
    let package = narrow().directory(scratch.path());
    let par = par().source(package).allow("worker_stuck").allow("worker_died").start().await;
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let request = par.http.request(Method::POST, "/agents/narrow/invoke");
        let request = request.header("x-par-timeout-ms", "4000").json(&json!({"seconds": 1.0}));
        calls.spawn(async move {
            let began = Instant::now();
            (request.answer().await, began.elapsed())
        });
    }
    let (mut served, mut early) = (0, 0);
    for (answer, took) in calls.join_all().await {
        match answer.status {
            200 => served += 1,
            // It had begun and did not end in time.
            504 => {}
            _ => {
                answer.problem(503, "queue_full");
                let wait = answer.header("retry-after").parse::<u64>();
                assert!(wait.is_ok_and(|wait| (1..=10).contains(&wait)), "{:?}", answer.headers);
                // How long a call takes is known when the first one has ended. Whoever might just begin in time may wait.
                early += usize::from(took < Duration::from_secs(3));
            }
        }
    }
    assert!((2..=4).contains(&served) && early >= 4, "{served} served, {early} told early");
}

#[tokio::test]
async fn a_call_whose_deadline_comes_while_it_waits_was_never_begun_and_is_told_so() {
    let scratch = scratch();
    let par = par().source(narrow().directory(scratch.path())).start().await;
    let running = {
        let http = par.http.clone();
        tokio::spawn(async move { http.invoke("narrow", &json!({"seconds": 2.0})).await })
    };
    crate::harness::eventually("the worker is busy", async || {
        let package = par.package("narrow@1.0.0").await?;
        package["workers"].as_array()?.iter().any(|worker| worker["outstanding"] == 1).then_some(())
    })
    .await;
    // Nothing is known yet of how long a call takes.
    let request = par.http.request(Method::POST, "/agents/narrow/invoke").header("x-par-timeout-ms", "300");
    let refused = request.json(&json!({"seconds": 0.0})).answer().await;
    refused.problem(503, "queue_full");
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|wait| wait >= 1));
    assert_eq!(running.await.expect("an answer").status, 200, "and costs nobody else anything");
}
