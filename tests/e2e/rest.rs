//! REST surfaces through the edge: what a client sends arrives, what an application answers comes back, at once and as it
//! is. The application is `agents/surfaces` (FastAPI), or one of a few lines.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    Answered, Client, Package, Par, ParBuilder, RawConnection, eventually, par, scratch, status_of,
};

/// An application of a few lines.
const PLAIN: &str = r#"
import asyncio, os


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    path = scope["path"]
    if path.endswith("/exit"):
        os._exit(3)
    if path.endswith("/late"):
        await asyncio.sleep(30)
    status = 500 if path.endswith("/fails") else 200
    await send({"type": "http.response.start", "status": status, "headers": [
        (b"content-type", b"text/plain"), (b"x-par-agent", b"liar"), (b"x-par-code", b"internal"),
    ]})
    if path.endswith("/stream"):
        for number in range(8):
            await send({"type": "http.response.body", "body": b"WORD\n", "more_body": True})
            await asyncio.sleep(0.25)
    if path.endswith("/breaks"):
        await send({"type": "http.response.body", "body": b"a part", "more_body": True})
        await asyncio.sleep(0.1)
        os._exit(3)
    await send({"type": "http.response.body", "body": b"WORD %d %d" % (os.getpid(), len(body))})
"#;

/// A package with nothing but that, which answers with a word.
pub(super) fn plain(name: &str, version: &str, word: &str) -> Package {
    let code = PLAIN.replace("WORD", word);
    Package::new(name, version, "http_server: web:app").file("web.py", code)
}

async fn surfaces() -> Par {
    par().agent("surfaces").start().await
}

/// What the application says about a request.
async fn seen(client: &Client, path: &str) -> Value {
    client.get(path).await.ok()
}

fn lines(seen: &Value, name: &str) -> Vec<String> {
    let headers = seen["headers"].as_array().expect("headers");
    let named = headers.iter().filter(|line| line[0] == name);
    named.map(|line| line[1].as_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn everything_below_a_package_is_its_applications_with_the_prefix_taken_away_once() {
    let par = surfaces().await;
    for id in ["surfaces", "surfaces@1.0.0", "surfaces%401.0.0", "surfaces%2Fdefault"] {
        let answer = par.http.get(&format!("/agents/{id}/api/hello")).await;
        assert_eq!(answer.ok(), json!({"hello": "world"}), "{id}");
        assert_eq!(answer.header("x-par-agent"), "surfaces@1.0.0");
        assert_eq!(answer.header("x-par-version"), "1.0.0");
        assert!(answer.header("x-par-generation").parse::<u64>().is_ok());
        assert!(!answer.header("x-request-id").is_empty());
    }
    let doubled = par.http.get("/agents/surfaces/agents/surfaces/api/hello").await;
    assert_eq!(
        (doubled.status, doubled.json()),
        (404, json!({"detail": "Not Found"})),
        "the application decides"
    );
    for (method, path) in [
        (Method::POST, "/agents/surfaces"),
        (Method::POST, "/agents/surfaces/"),
        (Method::GET, "/agents/surfaces/"),
        (Method::DELETE, "/agents/surfaces/nowhere"),
    ] {
        let answer = par.http.request(method.clone(), path).answer().await;
        assert_eq!((answer.status, answer.json()), (404, json!({"detail": "Not Found"})), "{method} {path}");
    }
    assert_eq!(par.http.get("/agents/surfaces").await.ok()["id"], "surfaces@1.0.0/default");
    assert_eq!(par.http.get("/agents/surfaces/health").await.ok()["ok"], true);
    assert_eq!(par.http.invoke("surfaces", &json!(1)).await.ok(), json!({"message": "hello", "received": 1}));
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent_less_what_only_the_runtime_may_say() {
    let par = surfaces().await;
    for client in [par.http.clone(), Client::http2(par.port)] {
        let answer = client
            .request(Method::PUT, "/agents/surfaces/api/request?a=1&b=%2F%20&a=2")
            .header("x-own", "one")
            .header("x-own", "two")
            .header("cookie", "c=1")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .header("x-request-id", "ask-1")
            .header("authorization", "Bearer secret")
            .header("x-par-role", "operator")
            .header("x-par-subject", "root")
            .header("x-par-session", "s1")
            .header("x-forwarded-for", "6.6.6.6")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-prefix", "/evil")
            .header("forwarded", "for=6.6.6.6")
            .body("some bytes")
            .answer()
            .await;
        let said = answer.ok();
        assert_eq!(said["method"], "PUT");
        assert_eq!(said["query"], json!([["a", "1"], ["b", "/ "], ["a", "2"]]));
        assert_eq!(said["body"], "some bytes");
        assert_eq!(said["client"], "127.0.0.1");
        assert_eq!(lines(&said, "x-own"), ["one", "two"]);
        assert_eq!(lines(&said, "cookie"), ["c=1"]);
        assert_eq!(lines(&said, "x-request-id"), ["ask-1"]);
        assert_eq!(lines(&said, "x-par-session"), ["s1"]);
        assert_eq!(lines(&said, "x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(lines(&said, "x-forwarded-proto"), ["http"]);
        assert_eq!(lines(&said, "x-forwarded-prefix"), ["/agents/surfaces"]);
        assert_eq!(lines(&said, "x-forwarded-host"), [format!("127.0.0.1:{}", par.port)]);
        assert_eq!(lines(&said, "traceparent").len(), 1);
        for name in ["authorization", "x-par-role", "x-par-subject", "forwarded", "connection", "te"] {
            assert_eq!(lines(&said, name), Vec::<String>::new(), "{name}");
        }
        assert_eq!(answer.header("x-request-id"), "ask-1");
        let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1; Path=/", "b=2; Path=/"]);
        for method in [Method::OPTIONS, Method::PATCH, Method::DELETE, Method::POST] {
            let answer = client.request(method.clone(), "/agents/surfaces/api/request").answer().await;
            assert_eq!(answer.ok()["method"], method.as_str());
        }
        let head = client.request(Method::HEAD, "/agents/surfaces/api/request").answer().await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert!(head.header("content-length").parse::<u64>().is_ok_and(|length| length > 0));
    }
}

#[tokio::test]
async fn addresses_that_an_application_makes_lead_back_to_it() {
    let par = surfaces().await;
    let said = seen(&par.http, "/agents/surfaces/api/where?x=1").await;
    let origin = format!("http://127.0.0.1:{}", par.port);
    assert_eq!(said["url_for"], format!("{origin}/agents/surfaces/api/where"));
    assert_eq!(said["url"], format!("{origin}/agents/surfaces/api/where?x=1"));
    assert_eq!(said["root_path"], "/agents/surfaces");
}

#[tokio::test]
async fn events_come_one_by_one() {
    let par = surfaces().await;
    for client in [par.http.clone(), Client::http2(par.port)] {
        let request = client.request(Method::GET, "/agents/surfaces/api/events?count=4&seconds=0.4");
        let mut response = request.send().await.expect("an answer");
        assert!(response.headers()["content-type"].to_str().is_ok_and(|kind| kind.contains("event-stream")));
        let (mut text, mut arrivals) = (String::new(), vec![]);
        while let Some(chunk) = response.chunk().await.expect("the next event") {
            text.push_str(&String::from_utf8_lossy(&chunk));
            arrivals.resize(text.matches("data:").count(), Instant::now());
        }
        assert_eq!(arrivals.len(), 4, "{text}");
        for pair in arrivals.windows(2) {
            let gap = pair[1] - pair[0];
            assert!(gap > Duration::from_millis(200), "two events came together: {gap:?}");
        }
    }
}

#[tokio::test]
async fn a_body_goes_both_ways_as_it_comes() {
    let par = surfaces().await;
    let mut raw = RawConnection::open(par.port).await;
    let head = "POST /agents/surfaces/api/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    raw.send(head).await;
    let mut all = String::new();
    for word in ["first", "second", "third"] {
        raw.send(format!("{:x}\r\n{word}\r\n", word.len())).await;
        while !all.contains(word) {
            let more = raw.read(Duration::from_secs(5)).await;
            assert!(!more.is_empty(), "{word} has not come back: {all}");
            all.push_str(&more);
        }
    }
    raw.send("0\r\n\r\n").await;
    assert!(raw.read(Duration::from_secs(1)).await.contains("0\r\n\r\n") || all.contains("0\r\n\r\n"));
    let large: Vec<u8> = (0..8_000_000_u32).map(|at| (at % 251) as u8).collect();
    for client in [par.http.clone(), Client::http2(par.port)] {
        let echoed = client.request(Method::POST, "/agents/surfaces/api/echo").body(large.clone());
        assert!(echoed.answer().await.body == large, "all of it comes back");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_a_word_before_it_sends_gets_it() {
    let par = surfaces().await;
    let mut raw = RawConnection::open(par.port).await;
    let head = "POST /agents/surfaces/api/request HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    raw.send(head).await;
    let word = raw.read(Duration::from_secs(2)).await;
    assert!(word.starts_with("HTTP/1.1 100"), "{word}");
    raw.send("body").await;
    let answer = raw.read(Duration::from_secs(5)).await;
    assert!(status_of(&answer) == 200 && answer.contains("\"body\":\"body\""), "{answer}");
}

#[tokio::test]
async fn an_application_hears_when_its_client_leaves() {
    let par = surfaces().await;
    for (name, path) in [("slow", "slow?name=slow"), ("endless", "endless?name=endless")] {
        let mut raw = RawConnection::open(par.port).await;
        raw.send(format!("GET /agents/surfaces/api/{path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        // The answer of one begins, the other's does not.
        tokio::time::timeout(Duration::from_millis(500), raw.read(Duration::from_secs(60))).await.ok();
        drop(raw);
        eventually("the application knows", async || {
            let aborted = seen(&par.http, "/agents/surfaces/api/aborted").await;
            aborted.as_array()?.iter().any(|one| one == name).then_some(())
        })
        .await;
    }
    let client = Client::http2(par.port);
    let request = client.request(Method::GET, "/agents/surfaces/api/slow?name=second");
    assert!(tokio::time::timeout(Duration::from_millis(500), request.send()).await.is_err());
    eventually("the application knows", async || {
        let aborted = seen(&par.http, "/agents/surfaces/api/aborted").await;
        aborted.as_array()?.iter().any(|one| one == "second").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_deadline_is_for_the_begin_of_an_answer_and_not_for_its_pauses() {
    let par = par().agent("surfaces").env("REQUEST_TIMEOUT_SECONDS", "1").start().await;
    let events = par.http.get("/agents/surfaces/api/events?count=2&seconds=2.5").await;
    assert_eq!(events.text().matches("data:").count(), 2, "{}", events.text());
    par.http.get("/agents/surfaces/api/slow?name=late&seconds=60").await.problem(504, "deadline_exceeded");
    let begin = Instant::now();
    let request = par.http.request(Method::GET, "/agents/surfaces/api/slow?seconds=60");
    request.header("x-par-timeout-ms", "200").answer().await.problem(504, "deadline_exceeded");
    assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());
    let mut raw = RawConnection::open(par.port).await;
    raw.send("POST /agents/surfaces/api/request HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n").await;
    for byte in ["b", "o", "d", "y"] {
        tokio::time::sleep(Duration::from_millis(400)).await;
        raw.send(byte).await;
    }
    assert_eq!(status_of(&raw.read(Duration::from_secs(5)).await), 200, "whoever still sends is waited for");
}

#[tokio::test]
async fn a_crash_costs_the_requests_of_its_process_and_the_next_one_serves() {
    let scratch = scratch();
    let par = builder(&plain("web", "1.0.0", "here"), scratch.path()).allow("primary_died").start().await;
    let first = par.http.get("/agents/web/x").await.text();
    par.http.post_empty("/agents/web/exit").await.problem(502, "worker_crashed");
    let next = eventually("it serves again", async || {
        let answer = par.http.get("/agents/web/x").await;
        match answer.status {
            200 => Some(answer.text()),
            503 => {
                answer.problem(503, "not_ready");
                assert!(answer.header("retry-after").parse::<u64>().is_ok());
                None
            }
            // Its end was not noticed yet.
            502 => {
                answer.problem(502, "worker_crashed");
                None
            }
            _ => panic!("{} {}", answer.status, answer.text()),
        }
    })
    .await;
    assert_ne!(first, next, "another process");
    let mut raw = RawConnection::open(par.port).await;
    raw.send("GET /agents/web/breaks HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let broken = raw.read_to_close(Duration::from_secs(10)).await.expect("the connection ends");
    assert!(broken.contains("a part") && !broken.ends_with("0\r\n\r\n"), "{broken}");
    let line = par
        .wait_for_line("its access line", |line| line["code"] == "worker_crashed" && line["status"] == 200);
    assert_eq!(line.await["agent_id"], "web@1.0.0");
}

fn builder(package: &Package, folder: &std::path::Path) -> ParBuilder {
    par().source(package.apkg(folder))
}

#[tokio::test]
async fn what_an_application_says_of_the_runtime_is_taken_away_and_its_own_errors_are_its_own() {
    let scratch = scratch();
    let par = builder(&plain("web", "1.0.0", "here"), scratch.path()).start().await;
    let answer = par.http.get("/agents/web/x").await;
    assert_eq!(answer.header("x-par-agent"), "web@1.0.0");
    assert_eq!(answer.header("x-par-code"), "");
    let failed = par.http.get("/agents/web/fails").await;
    assert_eq!((failed.status, failed.header("content-type")), (500, "text/plain"));
    let line = par.wait_for_line("its access line", |line| line["status"] == 500).await;
    assert_eq!((&line["code"], &line["level"]), (&json!("agent_error"), &json!("info")));
    assert_eq!((&line["version"], line["generation"].is_u64()), (&json!("1.0.0"), true));
    let metrics = par.metrics().get("/metrics").await.text();
    for code in ["ok", "agent_error"] {
        let counted =
            format!("par_requests_total{{agent=\"web@1.0.0\",code=\"{code}\",version=\"1.0.0\"}} 1");
        assert!(metrics.contains(&counted), "{counted} in {metrics}");
    }
}

#[tokio::test]
async fn a_stream_ends_where_it_began_and_whoever_comes_after_a_rollout_meets_the_new_version() {
    let scratch = scratch();
    let par = builder(&plain("web", "1.0.0", "blue"), scratch.path()).start().await;
    assert!(par.http.get("/agents/web/x").await.text().starts_with("blue"));
    let mut stream = par.http.request(Method::GET, "/agents/web/stream").send().await.expect("an answer");
    let green = plain("web", "1.1.0", "green").apkg(scratch.path());
    par.operator().post("/runtime/packages/load", &json!({"path": green})).await.ok();
    for _ in 0..20 {
        let answer = par.http.get("/agents/web/x").await;
        assert!(answer.text().starts_with("green"), "a kept connection leads to blue");
        assert_eq!(answer.header("x-par-version"), "1.1.0");
    }
    let mut text = String::new();
    while let Some(chunk) = stream.chunk().await.expect("the stream goes on") {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert_eq!((text.matches("blue").count(), text.matches("green").count()), (9, 0), "{text}");
}

#[tokio::test]
async fn a_lazy_package_is_mounted_by_its_first_request() {
    let scratch = scratch();
    let path = plain("dormant", "1.0.0", "awake").apkg(scratch.path());
    let par = par().production().setting("packages.lazy", json!([path])).agent("echo").start().await;
    assert!(par.http.get("/agents/dormant/api/x").await.text().starts_with("awake"));
}

#[tokio::test]
async fn surfaces_that_a_package_does_not_have_are_not_there() {
    let par = par().agent("echo").agent("ui-only").start().await;
    for path in ["/agents/echo/api/x", "/agents/echo/", "/agents/echo/ui/", "/agents/ui-only/api/x"] {
        par.http.get(path).await.problem(404, "not_found");
    }
    for path in ["/agents/nobody/api/x", "/agents/nobody/", "/agents/nobody/ui/"] {
        par.http.get(path).await.problem(404, "agent_not_found");
    }
    par.http.post_empty("/agents/echo").await.problem(404, "not_found");
}
