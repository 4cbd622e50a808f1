//! Heads and bodies that come a byte at a time.

use std::time::{Duration, Instant};

use super::{CALL, PATIENCE, Target};
use crate::harness::{
    RawConnection,
    http2::{DATA, END_HEADERS, HEADERS, frame, post, preface},
    status_of,
};

/// Feeds a connection a byte at a time until it is closed; how long that took.
async fn drip(connection: &mut RawConnection, byte: &str) -> Duration {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(20) {
        if !connection.send(byte).await || connection.closed_within(Duration::from_millis(50)).await {
            break;
        }
    }
    begin.elapsed()
}

#[tokio::test]
async fn a_head_that_drips_is_ended_by_its_clock() {
    let target = Target::start(&[("server.header_timeout", "1s")]).await;
    let limit = Duration::from_secs(4);

    let mut first = target.send(b"GET /health HTTP/1.1\r\nHost: x\r\nX: ").await;
    let took = drip(&mut first, "a").await;
    assert!(took < limit, "the first head: {took:?}");

    let mut kept = target.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(status_of(&kept.read(PATIENCE).await), 200);
    assert!(!kept.closed_within(Duration::from_millis(1500)).await, "a kept connection may rest");
    assert!(kept.send("GET /health HTTP/1.1\r\n").await);
    let took = drip(&mut kept, "X: a\r\n").await;
    assert!(took < limit, "a later head: {took:?}");

    let mut silent = RawConnection::open(target.par.port).await;
    assert!(silent.closed_within(limit).await, "a connection that says nothing");
    let mut short = target.send(b"GE").await;
    assert!(short.closed_within(limit).await, "one that says too little to tell what it speaks");

    let mut preface_only = target.send(&preface()[..20]).await;
    assert!(preface_only.closed_within(limit).await, "half of the preface of HTTP/2");
    let mut two = target.send(&preface()).await;
    assert!(!two.closed_within(Duration::from_millis(1500)).await, "HTTP/2 may rest, too");
    two.send([0, 0, 200, HEADERS, END_HEADERS, 0, 0, 0, 1]).await;
    let took = drip(&mut two, "\u{1}").await;
    assert!(took < limit, "a head of HTTP/2: {took:?}");
    let mut continued = target.send(&preface()).await;
    continued.send(frame(HEADERS, 0, 1, &post("/health"))).await;
    assert!(continued.closed_within(limit).await, "a head of HTTP/2 that is never continued");

    target.answers("drips").await;
    let metrics = target.par.metrics().get("/metrics").await.text();
    assert!(metrics.contains("par_limited_total{reason=\"header_timeout\"} 7"), "{metrics}");
    let alarms = target.par.lines().iter().filter(|line| line.is_alarm()).count();
    assert_eq!(alarms, 0, "no attack fills the log with alarms");
}

#[tokio::test]
async fn a_body_that_drips_is_ended_by_its_floor() {
    let target = Target::start(&[("limits.body_rate", "10KiB"), ("limits.body_timeout", "60s")]).await;
    let begin = Instant::now();
    let mut one = target.send(format!("{CALL}Content-Length: 10000\r\n\r\n").as_bytes()).await;
    let mut chunked = target.send(format!("{CALL}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
    let mut two = target.send(&preface()).await;
    two.send(frame(HEADERS, END_HEADERS, 1, &post("/agents/echo/invoke"))).await;
    let mut managed = target
        .send(b"POST /runtime/webhooks/registry HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n")
        .await;
    let dripping = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            one.send(" ").await;
            chunked.send("1\r\n \r\n").await;
            two.send(frame(DATA, 0, 1, b" ")).await;
            managed.send(" ").await;
            if begin.elapsed() > Duration::from_secs(7) {
                break;
            }
        }
    };
    dripping.await;
    for (name, connection) in [("a length", &mut one), ("chunks", &mut chunked), ("management", &mut managed)]
    {
        let told = connection.read(PATIENCE).await;
        assert_eq!(status_of(&told), 408, "{name}: {told}");
        assert!(told.contains("request_timeout"), "{name}: {told}");
    }
    let told = two.read(Duration::from_secs(1)).await;
    assert!(told.contains("request_timeout"), "HTTP/2: {told}");
    target.answers("drips").await;

    let mut steady = target.send(format!("{CALL}Content-Length: 70000\r\n\r\n").as_bytes()).await;
    for _ in 0..70 {
        steady.send("7".repeat(1000)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_ne!(status_of(&steady.read(PATIENCE).await), 408, "a slow line that goes on is served");
}
