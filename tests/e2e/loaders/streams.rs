//! Generators in JavaScript: each item reaches its caller before the next one is made.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::{call, serving};
use crate::harness::{Par, Streamed, scratch};

const EVENTS: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";

async fn stream(par: &Par, export: &str, accept: &str, input: Value) -> Streamed {
    let path = format!("/agents/{export}/invoke");
    Streamed::open(par.http.request(Method::POST, &path).header("accept", accept).json(&input)).await
}

#[tokio::test]
async fn items_of_both_sorts_of_generators_come_one_by_one() {
    let folder = scratch();
    let par = serving(folder.path()).start().await;
    for export in ["counts", "ticks"] {
        let lines = stream(&par, export, LINES, json!({"to": 3})).await.of_kind(LINES).items().await;
        assert_eq!(lines, [json!(0), json!(1), json!(2)], "{export}");
        assert_eq!(call(&par, export, json!({"to": 3})).await, json!([0, 1, 2]), "{export}");
    }
    let began = Instant::now();
    let mut answer = stream(&par, "ticks", EVENTS, json!({"to": 2, "ms": 1500})).await;
    let first = answer.event().await.expect("an item");
    assert!(first.at - began < Duration::from_secs(1), "the first item waited for the second");
    let second = answer.event().await.expect("an item");
    assert!(second.at - first.at > Duration::from_secs(1), "{:?}", second.at - first.at);
}

#[tokio::test]
async fn what_fails_in_the_middle_of_a_stream_is_the_last_thing_said() {
    let folder = scratch();
    let par = serving(folder.path()).start().await;
    let events = stream(&par, "breaks", EVENTS, json!({})).await.of_kind(EVENTS).events().await;
    let told: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(told, ["message", "error"]);
    assert_eq!(events[1].data["code"], "agent_error");
    assert_eq!(call(&par, "fine", json!(1)).await, json!(1));
}

#[tokio::test]
async fn a_reader_that_is_slow_or_leaves_stops_its_generator_and_nobody_else() {
    let folder = scratch();
    let par = serving(folder.path()).start().await;
    let mut answer = stream(&par, "endless", LINES, json!({"size": 10_000})).await.of_kind(LINES);
    assert!(answer.item().await.is_some());
    for _ in 0..20 {
        assert!(call(&par, "wait", json!({"ms": 0})).await.is_u64());
    }
    drop(answer);
    let closed = par.wait_for_line("the end", |line| line.mentions("closed after")).await.text();
    let digits = closed
        .split("closed after ")
        .nth(1)
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    let made: u64 = digits.and_then(|digits| digits.parse().ok()).expect("a number");
    assert!(made * 10_000 < 24 << 20, "it made {made} items for nobody");
}
