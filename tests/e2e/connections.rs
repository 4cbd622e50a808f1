//! Connections: how many, how long, from whom and for whom.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{
    Answered, Par, RawConnection, eventually,
    http2::{SETTINGS, frame, preface},
    par, status_of,
};

const PATIENCE: Duration = Duration::from_secs(5);

const GET: &str = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

/// Whether a connection is served.
async fn served(connection: &mut RawConnection) -> bool {
    connection.send(GET).await && status_of(&connection.read(PATIENCE).await) == 200
}

async fn limited(par: &Par, reason: &str) -> bool {
    let metrics = par.metrics().get("/metrics").await.text();
    metrics.lines().any(|line| {
        line.strip_prefix(&format!("par_limited_total{{reason=\"{reason}\"}} "))
            .is_some_and(|count| count.parse::<f64>().is_ok_and(|count| count >= 1.0))
    })
}

#[tokio::test]
async fn more_connections_than_may_be_are_closed_at_once_and_places_come_back() {
    let par = par().setting("server.max_connections", 4).allow("connections_refused").start().await;
    let mut held = vec![];
    for _ in 0..4 {
        let mut connection = RawConnection::open(par.port).await;
        assert!(served(&mut connection).await);
        held.push(connection);
    }
    for _ in 0..20 {
        let mut surplus = RawConnection::open(par.port).await;
        assert!(surplus.closed_within(PATIENCE).await, "it is closed without a word");
    }
    assert!(served(&mut held[0]).await, "those that are there are served on");
    assert!(limited(&par, "connections").await);
    par.wait_for_line("a line that tells of it", |line| line.event() == "connections_refused").await;
    let lines = par.lines();
    let told: Vec<_> = lines.iter().filter(|line| line.event() == "connections_refused").collect();
    assert!((1..=6).contains(&told.len()), "at most one a second: {}", told.len());
    assert_eq!(told[0]["details"]["reason"], "connections");

    // Whatever became of a connection: closed, left in the middle of a head, refused.
    held.pop();
    held[0].send("GET /he").await;
    held[1].send("nonsense\r\n\r\n").await;
    held.clear();
    eventually("all places are free again", async || {
        let mut again = vec![];
        for _ in 0..4 {
            let mut connection = RawConnection::open(par.port).await;
            if !served(&mut connection).await {
                return None;
            }
            again.push(connection);
        }
        Some(())
    })
    .await;
}

#[tokio::test]
async fn one_address_takes_no_more_than_its_share_but_a_trusted_proxy_may() {
    let limit = |trusted: &[&str]| {
        par()
            .setting("server.max_connections_per_address", 2)
            .setting("server.trusted_proxies", json!(trusted))
            .allow("connections_refused")
    };
    let strict = limit(&[]).start().await;
    let mut held = vec![];
    for _ in 0..2 {
        let mut connection = RawConnection::open_from("127.0.0.2", strict.port).await;
        assert!(served(&mut connection).await);
        held.push(connection);
    }
    let mut third = RawConnection::open_from("127.0.0.2", strict.port).await;
    assert!(third.closed_within(PATIENCE).await);
    let mut other = RawConnection::open_from("127.0.0.3", strict.port).await;
    assert!(served(&mut other).await, "others have a share of their own");
    assert!(limited(&strict, "connections_per_address").await);
    drop(held);
    eventually("its share is free again", async || {
        served(&mut RawConnection::open_from("127.0.0.2", strict.port).await).await.then_some(())
    })
    .await;

    let trusting = limit(&["127.0.0.2"]).start().await;
    let mut held = vec![];
    for _ in 0..6 {
        let mut connection = RawConnection::open_from("127.0.0.2", trusting.port).await;
        assert!(served(&mut connection).await, "many come through it");
        held.push(connection);
    }
}

#[tokio::test]
async fn kept_connections_stay_usable_until_they_are_idle_for_too_long() {
    let par = par()
        .agent("slow")
        .setting("server.idle_timeout", "2s")
        .setting("server.header_timeout", "1s")
        .start()
        .await;
    let mut kept = RawConnection::open(par.port).await;
    for _ in 0..4 {
        assert!(served(&mut kept).await);
        assert!(!kept.closed_within(Duration::from_millis(1200)).await, "a rest under the limit is nothing");
    }
    let body = "{\"seconds\": 3}";
    let call = format!(
        "POST /agents/asleep/invoke HTTP/1.1\r\nHost: x\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    kept.send(&call).await;
    assert_eq!(
        status_of(&kept.read(Duration::from_secs(10)).await),
        200,
        "an answer has all the time it needs"
    );
    kept.send(format!("{GET}{GET}{GET}")).await;
    let mut told = String::new();
    while told.matches("HTTP/1.1 200").count() < 3 {
        let more = kept.read(PATIENCE).await;
        assert!(!more.is_empty(), "three requests in one piece get three answers: {told}");
        told += &more;
    }
    let begin = Instant::now();
    assert!(kept.closed_within(PATIENCE).await, "an idle connection is closed");
    assert!(begin.elapsed() > Duration::from_secs(1), "not before its time: {:?}", begin.elapsed());

    let mut two = RawConnection::open(par.port).await;
    two.send(preface()).await;
    two.send(frame(SETTINGS, 1, 0, &[])).await;
    let begin = Instant::now();
    assert!(two.closed_within(PATIENCE).await, "of HTTP/2, too");
    assert!(begin.elapsed() > Duration::from_secs(1), "not before its time: {:?}", begin.elapsed());
}

#[tokio::test]
async fn clients_that_leave_in_the_middle_are_no_alarm() {
    let par = par().agent("echo").start().await;
    for bytes in ["", "G", "GET /health HT", "PRI * HT", "GET /health HTTP/1.1\r\nHost: x\r\nX: "] {
        for _ in 0..3 {
            let mut connection = RawConnection::open(par.port).await;
            connection.send(bytes).await;
        }
    }
    let mut half = RawConnection::open(par.port).await;
    half.send(format!("{GET}GET /hea")).await;
    assert_eq!(status_of(&half.read(PATIENCE).await), 200);
    drop(half);
    let mut two = RawConnection::open(par.port).await;
    two.send(&preface()[..24]).await;
    two.send("nonsense that is no frame of any kind").await;
    assert!(two.closed_within(PATIENCE).await);
    assert_eq!(par.http.get("/health").await.status, 200);
    // Alarms fail the test when `par` is dropped.
}

#[tokio::test]
async fn only_trusted_proxies_say_who_the_client_is() {
    for (trusted, wanted) in [(json!([]), "127.0.0.1"), (json!(["127.0.0.0/8"]), "203.0.113.9")] {
        let par = par().agent("echo").setting("server.trusted_proxies", trusted).start().await;
        let request = par.http.request(reqwest::Method::POST, "/agents/echo/invoke").json(&json!(1));
        let told = request
            .header("x-forwarded-for", "198.51.100.1, 203.0.113.9")
            .header("x-request-id", "whose")
            .answer()
            .await;
        assert_eq!(told.ok(), json!(1));
        let line = par
            .wait_for_line("the access line", |line| {
                line.event() == "access" && line["request_id"] == "whose"
            })
            .await;
        assert_eq!(line["details"]["client"], wanted);
    }
}

#[tokio::test]
async fn requests_for_other_hosts_are_refused_where_hosts_are_named() {
    let par =
        par().agent("echo").setting("server.hosts", json!(["par.example", "*.agents.example"])).start().await;
    for (host, path, status) in [
        ("par.example", "/agents", 200),
        ("PAR.example:8000", "/agents", 200),
        ("a.agents.example", "/agents", 200),
        ("agents.example", "/agents", 400),
        ("evil.example", "/agents", 400),
        ("127.0.0.1", "/agents", 400),
        ("par.example.evil.example", "/agents", 400),
        ("127.0.0.1", "/health", 200),
        ("127.0.0.1", "/runtime/health", 200),
        ("127.0.0.1", "/runtime/live", 200),
        ("127.0.0.1", "/runtime/packages", 400),
    ] {
        let mut connection = RawConnection::open(par.port).await;
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let told = connection.read(PATIENCE).await;
        assert_eq!(status_of(&told), status, "{host} {path}: {told}");
    }
    let two = crate::harness::Client::http2(par.port);
    two.get("/agents").await.problem(400, "bad_request");
    assert_eq!(two.get("/health").await.status, 200);
}
