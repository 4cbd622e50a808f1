//! How sessions end, and that their callers are told, once.

use std::time::Duration;

use serde_json::json;

use super::{call, count, counting, listed, lost, one, over, serving, started};
use crate::harness::{Answered, Client, par, process::Process};
use rustix::process::Signal;

#[tokio::test]
async fn a_session_that_rests_too_long_expires_and_looking_at_it_is_no_work() {
    let par = serving(&counting("1.0.0", "{mode: sticky, idle_ttl: 2s}", "")).await;
    count(&par.http, "s").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(count(&par.http, "s").await["n"], 2, "work keeps it");
    // Listing it again and again does not.
    over(&par, "s").await;
    call(&par.http, "s", &json!({})).await.problem_naming(410, "session_expired", &["idle"]);
    assert_eq!(count(&par.http, "s").await["n"], 1, "told once, then the id is free");
}

#[tokio::test]
async fn a_call_that_runs_longer_than_the_idle_time_keeps_its_session() {
    let par = serving(&counting("1.0.0", "{mode: isolated, idle_ttl: 1s}", "")).await;
    assert_eq!(call(&par.http, "s", &json!({"sleep": 2.5})).await.ok()["n"], 1);
    assert_eq!(count(&par.http, "s").await["n"], 2);
}

#[tokio::test]
async fn a_session_that_is_used_all_the_time_ends_at_its_greatest_age() {
    let par = serving(&counting("1.0.0", "{mode: sticky, max_ttl: 2s}", "")).await;
    let mut last = 0;
    loop {
        let answer = call(&par.http, "s", &json!({})).await;
        if answer.status != 200 {
            answer.problem_naming(410, "session_expired", &["max_ttl"]);
            break;
        }
        let n = answer.ok()["n"].as_u64().expect("a count");
        assert_eq!(n, last + 1, "never a silent fresh state");
        last = n;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(last > 1);
    assert_eq!(count(&par.http, "s").await["n"], 1);
}

#[tokio::test]
async fn what_a_worker_kept_of_an_expired_session_is_gone_when_its_id_is_used_again() {
    let par = serving(&counting("1.0.0", "{mode: sticky, idle_ttl: 500ms}", "")).await;
    let before = count(&par.http, "s").await;
    over(&par, "s").await;
    call(&par.http, "s", &json!({})).await.problem(410, "session_expired");
    let now = count(&par.http, "s").await;
    assert_eq!((&now["n"], &now["pid"]), (&json!(1), &before["pid"]), "the same worker, another state");
}

#[tokio::test]
async fn a_worker_that_dies_takes_its_sessions_with_it_and_each_is_told() {
    let par = par().allow("worker_died").allow("access");
    let par = started(par, &counting("1.0.0", "{mode: sticky}", "")).await;
    for id in ["a", "b"] {
        count(&par.http, id).await;
    }
    call(&par.http, "a", &json!({"exit": true})).await.problem(502, "worker_crashed");
    for id in ["a", "b"] {
        lost(&par.http, id, "crash").await;
    }
}

#[tokio::test]
async fn calls_that_wait_in_a_session_that_is_lost_are_told_too() {
    let par = par().allow("worker_died").allow("access");
    let par = started(par, &counting("1.0.0", "{mode: isolated}", "")).await;
    let pid = count(&par.http, "s").await["pid"].as_u64().expect("a pid");
    let held = json!({"sleep": 20, "begin": "held"});
    let http = par.http.clone();
    let running = tokio::spawn(async move { call(&http, "s", &held).await });
    par.wait_for_line("it runs", |line| line.event() == "agent_output" && line.mentions("began held")).await;
    let http = par.http.clone();
    let waiting = tokio::spawn(async move { call(&http, "s", &json!({})).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    Process::running(u32::try_from(pid).expect("a pid")).expect("it lives").signal(Signal::KILL);
    running.await.expect("a task").problem(502, "worker_crashed");
    waiting.await.expect("a task").problem_naming(410, "session_lost", &["crash"]);
    assert_eq!(count(&par.http, "s").await["n"], 1, "it was told to the one that waited");
}

#[tokio::test]
async fn a_call_past_its_deadline_costs_a_sync_session_and_no_other_isolated_one() {
    let par = par().allow("worker_stuck").allow("worker_died").allow("access").allow("agent_output");
    let par = started(par, &counting("1.0.0", "{mode: isolated}", "")).await;
    for id in ["slow", "other"] {
        count(&par.http, id).await;
    }
    let request = par.http.request(reqwest::Method::POST, "/agents/count/invoke");
    let request = request.header("x-par-session", "slow").header("x-par-timeout-ms", "300");
    request.json(&json!({"sleep": 30})).answer().await.problem(504, "deadline_exceeded");
    over(&par, "slow").await;
    lost(&par.http, "slow", "crash").await;
    assert_eq!(count(&par.http, "other").await["n"], 2);
}

#[tokio::test]
async fn an_operator_ends_a_session() {
    for mode in ["sticky", "isolated"] {
        let par = serving(&counting("1.0.0", &format!("{{mode: {mode}}}"), "")).await;
        for id in ["a", "b/c%"] {
            count(&par.http, id).await;
        }
        par.operator().delete("/runtime/sessions/nobody").await.problem(404, "session_not_found");
        par.operator().delete("/runtime/sessions/b%2Fc%25").await.ok();
        par.operator().delete("/runtime/sessions/b%2Fc%25").await.problem(404, "session_not_found");
        assert!(one(&par, "a").await.is_some(), "only that one");
        lost(&par.http, "b/c%", "evicted").await;
        assert_eq!(count(&par.http, "a").await["n"], 2);
    }
}

#[tokio::test]
async fn a_call_that_runs_when_its_session_ends_has_its_state_to_the_end() {
    let par = serving(&counting("1.0.0", "{mode: sticky}", "")).await;
    count(&par.http, "s").await;
    let http = par.http.clone();
    let input = json!({"sleep": 1, "begin": "late", "anew": true});
    let running = tokio::spawn(async move { call(&http, "s", &input).await });
    par.wait_for_line("it runs", |line| line.event() == "agent_output" && line.mentions("began late")).await;
    par.operator().delete("/runtime/sessions/s").await.ok();
    assert_eq!(running.await.expect("a task").ok()["n"], 2, "it does not begin the session anew");
    lost(&par.http, "s", "evicted").await;
}

#[tokio::test]
async fn sessions_that_lived_when_par_went_down_are_told_so_after_its_restart() {
    for kill in [true, false] {
        let folder = crate::harness::scratch();
        let source = counting("1.0.0", "{mode: sticky}", "").apkg(folder.path());
        let mut first = par().source(&source).start().await;
        for id in ["lived", "told", "again"] {
            count(&first.http, id).await;
        }
        first.operator().delete("/runtime/sessions/told").await.ok();
        call(&first.http, "told", &json!({})).await.problem(410, "session_lost");
        if kill {
            first.kill();
        } else {
            first.term();
        }
        first.exit().await;
        let second = first.anew().without_sources().source(&source).start().await;
        assert!(listed(&second).await.is_empty());
        assert_eq!(count(&second.http, "told").await["n"], 1, "its end was told before");
        lost(&second.http, "lived", "shutdown").await;
        lost(&second.http, "again", "shutdown").await;
    }
}

#[tokio::test]
async fn caps_hold_for_a_tenant_and_for_a_package() {
    let package = counting("1.0.0", "{mode: sticky}", "");
    let caps = par().setting("sessions.per_tenant", 2).setting("sessions.per_package", 3);
    let par = started(caps.allow("access"), &package).await;
    let other = Client::from_address(par.port, "127.0.0.2".parse().expect("an address"));
    for id in ["a", "b"] {
        count(&par.http, id).await;
    }
    let full = call(&par.http, "c", &json!({})).await;
    full.problem(429, "quota_exceeded");
    assert!(!full.header("retry-after").is_empty());
    count(&other, "c").await;
    call(&other, "d", &json!({})).await.problem(503, "queue_full");
    assert_eq!(count(&par.http, "a").await["n"], 2, "those that live are not touched");
    par.operator().delete("/runtime/sessions/b").await.ok();
    assert_eq!(count(&other, "d").await["n"], 1, "an end makes room");
}

#[tokio::test]
async fn when_memory_is_short_the_session_that_rested_longest_makes_room() {
    let package = counting("1.0.0", "{mode: isolated}", "");
    let par = started(par().setting("sessions.memory_mb", 145).allow("sessions_evicted"), &package).await;
    for id in ["old", "used", "new"] {
        call(&par.http, id, &json!({"fill": 40})).await.ok();
        if id == "used" {
            count(&par.http, "old").await;
            count(&par.http, "used").await;
        }
    }
    assert_eq!(listed(&par).await.len(), 3, "there is room for three");
    call(&par.http, "more", &json!({"fill": 40})).await.ok();
    over(&par, "old").await;
    for id in ["used", "new", "more"] {
        assert!(one(&par, id).await.is_some(), "{id} lives");
    }
    call(&par.http, "old", &json!({})).await.problem_naming(410, "session_lost", &["evicted"]);
}

#[tokio::test]
async fn a_session_over_its_memory_is_lost_alone() {
    let package = counting("1.0.0", "{mode: isolated}", "workers: {memory_mb: 100}");
    let par = started(par().allow("worker_died").allow("access"), &package).await;
    for id in ["big", "small"] {
        count(&par.http, id).await;
    }
    let told = call(&par.http, "big", &json!({"fill": 200, "sleep": 5})).await;
    told.problem(502, "worker_crashed");
    lost(&par.http, "big", "oom").await;
    assert_eq!(count(&par.http, "small").await["n"], 2);
}
