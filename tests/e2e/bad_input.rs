//! What clients send by mistake or in malice, and what each is told.

use std::time::Duration;

use reqwest::{Body, Method, header::CONTENT_TYPE};
use serde_json::json;

use crate::harness::{Answered, Client, Par, RawConnection, eventually, par, status_of};

const INVOKE: &str = "/agents/echo/invoke";

async fn post(par: &Par, path: &str, kind: Option<&str>, body: &str) -> crate::harness::Answer {
    let mut request = par.http.request(Method::POST, path).body(body.to_owned());
    if let Some(kind) = kind {
        request = request.header(CONTENT_TYPE, kind);
    }
    request.answer().await
}

#[tokio::test]
async fn what_is_no_json_is_refused_with_the_place() {
    let par = par().agent("echo").start().await;
    for body in ["{", "{'a': 1}", "[1,]", "nul", "{} {}", "\u{feff}{", "{\"a\": NaN}", "{\"a\": \"\u{1}\"}"] {
        for path in [INVOKE, "/runtime/agents/echo/invoke"] {
            let answer = post(&par, path, Some("application/json"), body).await;
            answer.problem(400, "bad_json");
        }
    }
    let not_utf8 = par.http.request(Method::POST, INVOKE).header(CONTENT_TYPE, "application/json");
    not_utf8.body(b"{\"a\": \"\xff\xfe\"}".to_vec()).answer().await.problem(400, "bad_json");
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let answer = post(&par, INVOKE, Some("application/json"), &deep).await;
    assert!((400..=500).contains(&answer.status), "nesting without end: {}", answer.status);
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1), "and the worker lives");
}

#[tokio::test]
async fn another_content_type_is_a_415_with_a_hint() {
    let par = par().agent("echo").start().await;
    for kind in ["text/plain", "application/xml", "application/x-www-form-urlencoded", "text/json5"] {
        let answer = post(&par, INVOKE, Some(kind), "{}").await;
        answer.problem_naming(415, "unsupported_media_type", &["application/json"]);
    }
    for kind in
        ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"]
    {
        assert_eq!(post(&par, INVOKE, Some(kind), "{\"a\":1}").await.ok(), json!({"a": 1}), "{kind}");
    }
}

#[tokio::test]
async fn no_body_is_an_empty_object() {
    let par = par().agent("echo").start().await;
    assert_eq!(par.http.post_empty(INVOKE).await.ok(), json!({}));
    assert_eq!(post(&par, INVOKE, Some("application/json"), "").await.ok(), json!({}));
    assert_eq!(par.http.post_empty("/runtime/agents/echo/invoke").await.ok()["output"], json!({}));
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413_whether_its_length_is_told_or_not() {
    let par = par().agent("echo").setting("limits.body_bytes", "64KiB").start().await;
    let fits = json!("x".repeat(60 << 10));
    assert!(par.http.invoke("echo", &fits).await.ok() == fits);
    par.http.invoke("echo", &json!("x".repeat(65 << 10))).await.problem(413, "too_large");

    let mut told = RawConnection::open(par.port).await;
    let head = "POST /agents/echo/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    told.send(format!("{head}Content-Length: 99999999999\r\n\r\n")).await;
    assert_eq!(status_of(&told.read(Duration::from_secs(5)).await), 413, "refused before a byte of it came");

    let mut chunked = RawConnection::open(par.port).await;
    chunked.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await;
    let chunk = format!("{:x}\r\n{}\r\n", 16 << 10, " ".repeat(16 << 10));
    for _ in 0..8 {
        chunked.send(&chunk).await;
    }
    let answer = chunked.read(Duration::from_secs(5)).await;
    assert!(matches!(status_of(&answer), 413 | 0), "{answer}");
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}

/// As whoever makes a body while it is sent: in chunks, or in frames without a length before them.
fn unmeasured(bytes: &[u8]) -> Body {
    let pieces: Vec<_> = bytes.chunks(8 << 10).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    Body::wrap_stream(futures_util::stream::iter(pieces))
}

/// Files below a directory.
fn files_below(path: std::path::PathBuf) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn a_body_whose_length_nobody_tells_is_a_413_where_it_passes_the_limit_and_nothing_of_it_is_kept() {
    let par = par()
        .agent("echo")
        .setting("limits.body_bytes", "64KiB")
        .setting("limits.form_bytes", "64KiB")
        .env("MAX_PACKAGE_SIZE_MB", "1")
        .start()
        .await;
    let input = |size| json!("x".repeat(size)).to_string().into_bytes();
    let form = |size| {
        let head = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
        [head.as_bytes(), &vec![b'x'; size], b"\r\n--B--\r\n"].concat()
    };
    let (json_kind, form_kind) = ("application/json", "multipart/form-data; boundary=B");
    let token = par.operator_token();
    let mut accepted = vec![];
    for client in [Client::new(par.port).with_bearer(&token), Client::http2(par.port).with_bearer(&token)] {
        let send = async |path: &str, kind: &str, body: &[u8]| {
            let request = client.request(Method::POST, path).header(CONTENT_TYPE, kind);
            request.body(unmeasured(body)).answer().await
        };
        for (path, kind, body) in [
            (INVOKE, json_kind, input(100_000)),
            (INVOKE, form_kind, form(100_000)),
            ("/runtime/agents/echo/invoke", json_kind, input(100_000)),
            ("/runtime/agents/echo/invoke", form_kind, form(100_000)),
            ("/runtime/packages/load", json_kind, input(100_000)),
            ("/runtime/packages/upload", form_kind, form(1_060_000)),
        ] {
            let answer = send(path, kind, &body).await;
            if answer.status == 413 {
                answer.problem(413, "too_large");
            } else {
                accepted.push(format!("{path} {kind}: {}", answer.status));
            }
        }
        assert_eq!(
            send(INVOKE, json_kind, &input(60_000)).await.status,
            200,
            "one that fits needs no length"
        );
        assert_eq!(send(INVOKE, form_kind, &form(60_000)).await.status, 200);
    }
    assert!(accepted.is_empty(), "{accepted:?}");
    eventually("nothing is kept", async || {
        let places = ["uploads", "incoming"].map(|name| par.data_dir().join(name));
        places.into_iter().flat_map(files_below).next().is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_slow_body_ends_in_a_408_or_a_close_and_holds_no_worker() {
    let par = par().agent("echo").setting("limits.body_timeout", "1s").start().await;
    let mut slow = vec![];
    for _ in 0..20 {
        let mut connection = RawConnection::open(par.port).await;
        let head = "POST /agents/echo/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        connection.send(format!("{head}Content-Length: 100\r\n\r\n{{\"a\":")).await;
        slow.push(connection);
    }
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1), "others are served meanwhile");
    let package = par.package("echo@1.0.0").await.expect("it is mounted");
    assert!(package["workers"].as_array().is_some_and(|workers| workers.len() <= 2), "{package}");
    for mut connection in slow {
        let answer = connection.read(Duration::from_secs(6)).await;
        assert!(matches!(status_of(&answer), 408 | 0), "{answer}");
        assert!(answer.is_empty() || answer.contains("request_timeout"), "{answer}");
        assert!(connection.closed_within(Duration::from_secs(6)).await, "it is closed");
    }
}

#[tokio::test]
async fn unknown_private_and_disabled_agents_are_told_apart_only_where_they_may_be() {
    let par = par().agent("private").agent("echo").start().await;
    let unknown = par.http.invoke("nobody", &json!({})).await.problem(404, "agent_not_found");
    for id in ["secret", "private/secret", "private@1.0.0/secret"] {
        let private = par.http.invoke(id, &json!({})).await.problem(404, "agent_not_found");
        assert_eq!(private["title"], unknown["title"]);
        par.http.envelope(id, &json!({})).await.problem(404, "agent_not_found");
    }
    let operator = par.operator();
    operator.post("/runtime/agents/echo/enable", &json!({"enabled": false})).await.ok();
    par.http.invoke("echo", &json!({})).await.problem(503, "agent_disabled");
    par.http.envelope("echo", &json!({})).await.problem(503, "agent_disabled");
    assert_eq!(par.http.invoke("aecho", &json!(1)).await.ok(), json!(1), "its neighbour is not");
    operator.post("/runtime/agents/echo/enable", &json!({"enabled": true})).await.ok();
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn an_agent_with_a_role_answers_nobody_without_identity() {
    let par = par().agent("private").start().await;
    assert_eq!(par.http.invoke("open", &json!({})).await.ok(), json!("open"));
    let answer = par.http.invoke("guarded", &json!({})).await;
    answer.problem(401, "unauthenticated");
    assert!(!answer.header("www-authenticate").is_empty(), "{:?}", answer.headers);
}

#[tokio::test]
async fn a_wrong_method_is_a_405_and_a_wrong_path_a_404() {
    let par = par().agent("echo").start().await;
    let answer = par.http.get(INVOKE).await;
    answer.problem(405, "method_not_allowed");
    assert!(answer.header("allow").contains("POST"), "{:?}", answer.headers);
    par.http.get("/nothing/here").await.problem(404, "not_found");
    par.http.get("/runtime/nothing").await.problem(404, "not_found");
    let refused = par.http.delete("/runtime/health").await;
    refused.problem(405, "method_not_allowed");
}

#[tokio::test]
async fn bytes_that_are_no_http_do_no_harm() {
    let par = par().agent("echo").start().await;
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"GET\r\n\r\n",
        b"POST /agents/echo/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
        b"POST /agents/echo/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
        b"POST /agents/echo/invoke HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut connection = RawConnection::open(par.port).await;
        connection.send(bytes).await;
        let answer = connection.read(Duration::from_secs(2)).await;
        assert!(matches!(status_of(&answer), 0 | 400..=431), "{answer}");
    }
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn headers_and_paths_without_end_are_refused() {
    let par = par().agent("echo").start().await;
    for request in [
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(300_000)),
        format!("GET /health HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(300_000)),
    ] {
        let mut connection = RawConnection::open(par.port).await;
        connection.send(request).await;
        let answer = connection.read(Duration::from_secs(3)).await;
        assert!(matches!(status_of(&answer), 0 | 400 | 404 | 414 | 431), "{answer}");
    }
    assert_eq!(par.http.get("/health").await.status, 200);
}
