//! Calls that stream: each item reaches the caller before the next one is made, and a slow reader stops its producer.

mod returned;

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Answered, Client, Par, RawConnection, Streamed, agent, par};

const EVENTS: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";

async fn streams() -> Par {
    par().agent("streams").start().await
}

fn asked(client: &Client, export: &str, accept: &str, input: &Value) -> RequestBuilder {
    let path = format!("/agents/streams/{export}/invoke");
    client.request(Method::POST, &path).header("accept", accept).json(input)
}

async fn stream(par: &Par, export: &str, accept: &str, input: Value) -> Streamed {
    Streamed::open(asked(&par.http, export, accept, &input)).await
}

fn numbers(count: u64) -> Vec<Value> {
    (0..count).map(|number| json!({"number": number})).collect()
}

#[tokio::test]
async fn items_are_events_with_ids_and_the_last_one_says_done() {
    let par = streams().await;
    for export in ["count", "acount"] {
        let answer = stream(&par, export, EVENTS, json!({"to": 3})).await.of_kind(EVENTS);
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-par-agent"], format!("streams@1.0.0/{export}"));
        let events = answer.events().await;
        let told: Vec<_> =
            events.iter().map(|event| (event.name.as_str(), event.id.as_deref(), &event.data)).collect();
        let items = numbers(3);
        assert_eq!(
            told[..3],
            [
                ("message", Some("0"), &items[0]),
                ("message", Some("1"), &items[1]),
                ("message", Some("2"), &items[2])
            ]
        );
        assert_eq!(told[3], ("done", None, &json!({"items": 3})));
        assert_eq!(told.len(), 4);
    }
}

#[tokio::test]
async fn items_are_lines_of_json_and_nothing_else() {
    let par = streams().await;
    for export in ["count", "acount"] {
        let answer = stream(&par, export, LINES, json!({"to": 3})).await.of_kind(LINES);
        assert_eq!(answer.items().await, numbers(3), "{export}");
        assert!(stream(&par, export, LINES, json!({"to": 0})).await.of_kind(LINES).items().await.is_empty());
    }
}

#[tokio::test]
async fn who_accepts_neither_gets_one_array() {
    let par = streams().await;
    for accept in ["application/json", "*/*", "application/json, text/event-stream;q=0.5"] {
        let answer = asked(&par.http, "count", accept, &json!({"to": 3})).answer().await;
        assert_eq!(answer.ok(), json!(numbers(3)), "{accept}");
    }
    asked(&par.http, "breaks", "*/*", &json!({})).answer().await.problem(500, "agent_error");
}

#[tokio::test]
async fn each_item_arrives_before_the_next_one_is_made() {
    let par = streams().await;
    for export in ["count", "acount"] {
        let began = Instant::now();
        let mut answer = stream(&par, export, EVENTS, json!({"to": 3, "pause": 1.5})).await;
        let first = answer.event().await.expect("an item");
        assert!(first.at - began < Duration::from_secs(1), "{export}: the first item waited for the second");
        let second = answer.event().await.expect("an item");
        let apart = second.at - first.at;
        assert!(apart > Duration::from_millis(1000) && apart < Duration::from_millis(2400), "{apart:?}");
    }
}

#[tokio::test]
async fn http2_and_the_envelope_stream_too() {
    let par = streams().await;
    let http2 = Client::http2(par.port);
    let answer = Streamed::open(asked(&http2, "acount", LINES, &json!({"to": 2}))).await.of_kind(LINES);
    assert_eq!(answer.items().await, numbers(2));
    let envelope = json!({"input": {"to": 2}, "trace_id": "t-1"});
    let path = "/runtime/agents/streams%2Fcount/invoke";
    let request = par.http.request(Method::POST, path).header("accept", EVENTS).json(&envelope);
    let events = Streamed::open(request).await.of_kind(EVENTS).events().await;
    let (last, items) = events.split_last().expect("events");
    assert_eq!(items.iter().map(|event| event.data.clone()).collect::<Vec<_>>(), numbers(2));
    assert_eq!((last.name.as_str(), &last.data["trace_id"]), ("done", &json!("t-1")));
    assert_eq!(last.data["agent_id"], "streams@1.0.0/count");
    assert_eq!(last.data["metadata"]["package_id"], "streams@1.0.0");
    assert!(last.data["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{last:?}");
}

#[tokio::test]
async fn what_is_no_generator_is_one_item() {
    let par = streams().await;
    let events = stream(&par, "plain", EVENTS, json!({"value": 7})).await.of_kind(EVENTS).events().await;
    let told: Vec<_> = events.iter().map(|event| (event.name.as_str(), event.data.clone())).collect();
    assert_eq!(told, [("message", json!({"value": 7})), ("done", json!({"items": 1}))]);
    let lines = stream(&par, "plain", LINES, json!([1])).await.of_kind(LINES).items().await;
    assert_eq!(lines, [json!([1])]);
}

#[tokio::test]
async fn what_fails_before_its_first_item_has_its_own_status() {
    let par = streams().await;
    for accept in [EVENTS, LINES] {
        let answer = asked(&par.http, "breaks", accept, &json!({"items": 0})).answer().await;
        let problem = answer.problem(500, "agent_error");
        assert_eq!(problem["error"]["type"], "ValueError");
        asked(&par.http, "count", accept, &json!({"nome": 1})).answer().await.problem(422, "input_invalid");
        asked(&par.http, "nobody", accept, &json!({})).answer().await.problem(404, "agent_not_found");
    }
}

#[tokio::test]
async fn what_fails_in_the_middle_is_the_last_thing_said() {
    let par = par().agent("streams").allow("worker_died").allow("access").start().await;
    for (export, code, items) in
        [("breaks", "agent_error", 2), ("odd", "agent_error", 1), ("dies", "worker_crashed", 2)]
    {
        let input = if export == "odd" { json!({}) } else { json!({"items": items}) };
        let mut events = stream(&par, export, EVENTS, input.clone()).await.of_kind(EVENTS).events().await;
        let last = events.pop().expect("events");
        assert_eq!((last.name.as_str(), &last.data["code"]), ("error", &json!(code)), "{export}: {last:?}");
        assert!(last.data["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{last:?}");
        assert_eq!(events.len(), items, "{export}");
        let mut lines = stream(&par, export, LINES, input).await.of_kind(LINES).items().await;
        let last = lines.pop().expect("lines");
        assert_eq!(last["$error"]["code"], code, "{export}: {last}");
        assert_eq!(lines.len(), items, "{export}");
    }
    let line = par.wait_for_line("the access line", |line| line["code"] == "worker_crashed").await;
    assert_eq!(line["status"], 200, "what was told is what is logged");
}

#[tokio::test]
async fn the_deadline_is_for_the_first_item_and_then_for_each_silence() {
    let par = par().agent("streams").allow("worker_stuck").allow("worker_died").allow("access").start().await;
    let took = Instant::now();
    asked(&par.http, "silent", EVENTS, &json!({})).answer().await.problem(504, "deadline_exceeded");
    assert!(took.elapsed() < Duration::from_secs(5));
    let events = stream(&par, "silent", EVENTS, json!({"items": 2})).await.of_kind(EVENTS).events().await;
    let last = events.last().expect("events");
    assert_eq!((events.len(), last.name.as_str()), (3, "error"));
    assert_eq!(last.data["code"], "deadline_exceeded");
    // Longer than its deadline, but never silent for so long.
    let shortened = asked(&par.http, "acount", LINES, &json!({"to": 8, "pause": 0.2}));
    let answer = Streamed::open(shortened.header("x-par-timeout-ms", "800")).await.of_kind(LINES);
    assert_eq!(answer.items().await, numbers(8));
}

#[tokio::test]
async fn a_slow_reader_stops_its_producer_and_nobody_else() {
    for export in ["endless", "aendless"] {
        let par = streams().await;
        let mut answer = stream(&par, export, LINES, json!({"size": 10_000})).await.of_kind(LINES);
        assert!(answer.item().await.is_some());
        // Others are served while this one is not read.
        for _ in 0..20 {
            assert_eq!(par.http.invoke("streams/plain", &json!(1)).await.ok(), json!(1));
            assert_eq!(par.http.invoke("streams/acount", &json!({"to": 1})).await.ok(), json!(numbers(1)));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(answer);
        let closed = par
            .wait_for_line("the end", |line| line.event() == "agent_output" && line.mentions("closed after"))
            .await;
        let text = closed.text();
        let made = text
            .split("closed after ")
            .nth(1)
            .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        let made: u64 = made.and_then(|made| made.parse().ok()).expect("a number");
        // The buffers of both sockets, of the client and of the stream; without a brake it were gigabytes.
        assert!(made * 10_000 < 24 << 20, "{export} made {made} items for nobody");
        par.wait_for_line("the access line", |line| line["code"] == "client_closed").await;
    }
}

#[tokio::test]
async fn a_caller_that_leaves_ends_its_generator_at_once() {
    for (export, pause) in [("endless", 0.01), ("aendless", 20.0)] {
        let par = streams().await;
        let mut answer = stream(&par, export, EVENTS, json!({"pause": pause})).await;
        assert!(answer.event().await.is_some());
        drop(answer);
        let left = Instant::now();
        par.wait_for_line("its end", |line| line.mentions("closed after")).await;
        assert!(left.elapsed() < Duration::from_secs(2), "{export} took {:?}", left.elapsed());
        par.wait_for_line("client_closed", |line| line["code"] == "client_closed").await;
        assert_eq!(par.http.invoke("streams/plain", &json!(1)).await.ok(), json!(1));
    }
}

#[tokio::test]
async fn a_stream_does_not_hold_up_the_calls_of_its_worker() {
    let par = par().agent("streams").start().await;
    let mut answer = stream(&par, "endless", EVENTS, json!({"pause": 0.05})).await;
    assert!(answer.event().await.is_some());
    let mut calls = JoinSet::new();
    for number in 0..50 {
        let http = par.http.clone();
        calls.spawn(async move {
            let began = Instant::now();
            assert_eq!(http.invoke("streams/plain", &json!(number)).await.ok(), json!(number));
            began.elapsed()
        });
    }
    let slowest = calls.join_all().await.into_iter().max().expect("calls");
    assert!(slowest < Duration::from_secs(3), "{slowest:?} behind a stream");
    assert!(answer.event().await.is_some(), "the stream goes on");
}

#[tokio::test]
async fn bytes_of_a_generator_come_as_they_are() {
    let par = streams().await;
    let answer = asked(&par.http, "parts", "*/*", &json!({"to": 3})).answer().await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/octet-stream"));
    assert_eq!(answer.text(), "0\n1\n2\n");
    let mut broken = stream(&par, "parts", "*/*", json!({"to": 3, "fail": true})).await;
    while broken.line().await.is_some() {}
    assert!(broken.broken.is_some(), "a part was taken for the whole");
    asked(&par.http, "parts", EVENTS, &json!({"to": 3})).answer().await.problem(500, "agent_error");
    assert_eq!(par.http.invoke("streams/plain", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn an_old_client_reads_to_the_end_of_the_connection() {
    let par = streams().await;
    let mut old = RawConnection::open(par.port).await;
    let body = r#"{"to":2}"#;
    let request = format!(
        "POST /agents/streams/count/invoke HTTP/1.0\r\nHost: x\r\nAccept: {LINES}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: keep-alive\r\n\r\n{body}",
        body.len()
    );
    assert!(old.send(request).await);
    let answer = old.read_to_close(Duration::from_secs(10)).await.expect("an end");
    assert!(answer.ends_with("\r\n\r\n{\"number\":0}\n{\"number\":1}\n"), "{answer}");
    assert!(!answer.to_lowercase().contains("transfer-encoding"), "{answer}");
}

#[tokio::test]
async fn curl_shows_items_as_they_come() {
    let par = streams().await;
    let url = format!("http://127.0.0.1:{}/agents/streams/count/invoke", par.port);
    let output = tokio::process::Command::new("curl")
        .args(["-sN", "-H", "Accept: text/event-stream", "--json", r#"{"to":2}"#, &url])
        .output()
        .await
        .expect("curl");
    let text = String::from_utf8_lossy(&output.stdout);
    let wanted =
        "id: 0\ndata: {\"number\":0}\n\nid: 1\ndata: {\"number\":1}\n\nevent: done\ndata: {\"items\":2}\n\n";
    assert_eq!(text, wanted);
}

#[tokio::test]
async fn a_stop_lets_streams_end_within_its_grace() {
    let mut par = par().source(agent("streams")).env("GRACEFUL_SHUTDOWN_TIMEOUT_SEC", "10").start().await;
    let mut answer = stream(&par, "acount", LINES, json!({"to": 5, "pause": 0.3})).await.of_kind(LINES);
    assert!(answer.item().await.is_some());
    par.term();
    assert_eq!(answer.items().await.len(), 4);
    assert!(par.exit().await.success());
}
