//! What callers get of an agent's files.

use base64::Engine as _;

use super::*;
use crate::harness::{Answer, Answered};

async fn given(par: &Par, input: &Value, headers: &[(&str, &str)]) -> Answer {
    let mut request = par.http.request(Method::POST, "/agents/keeper/give/invoke").json(input);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.answer().await
}

#[tokio::test]
async fn a_file_has_its_type_its_length_and_its_name() {
    let (_folder, par) = serving(&[]).await;
    for size in [0, 10, 5_000_000] {
        for kind in ["path", "data"] {
            let answer = given(&par, &json!({"kind": kind, "size": size}), &[]).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("content-type"), "text/csv");
            assert_eq!(answer.header("content-length"), size.to_string());
            assert_eq!(answer.header("content-disposition"), "attachment; filename=\"table.csv\"");
            assert_eq!(answer.header("accept-ranges"), "bytes");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("x-par-agent"), "keeper@1.0.0/give");
            assert!(answer.body == content(size), "{kind} {size}");
        }
        let answer = par.http.invoke("keeper/agive", &json!({"size": size})).await;
        assert!((answer.status, &answer.body) == (200, &content(size)), "{size}");
    }
    let inline = json!({"kind": "data", "name": "größe.png", "disposition": "inline"});
    let answer = given(&par, &inline, &[]).await;
    assert_eq!(answer.header("content-type"), "image/png");
    assert_eq!(
        answer.header("content-disposition"),
        "inline; filename=\"gr__e.png\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.png"
    );
    let raw = given(&par, &json!({"kind": "raw", "size": 10}), &[]).await;
    assert_eq!((raw.header("content-type"), raw.body.clone()), ("application/octet-stream", content(10)));
}

#[tokio::test]
async fn a_part_is_sent_to_who_asks_for_one() {
    let (_folder, par) = serving(&[]).await;
    for size in [1000, 3_000_000] {
        let input = json!({"kind": "path", "size": size});
        for (range, from, to) in [
            ("bytes=0-9".to_owned(), 0, 10),
            ("bytes=500-".to_owned(), 500, size),
            (format!("bytes={}-{}", size - 10, size * 2), size - 10, size),
            ("bytes=-5".to_owned(), size - 5, size),
        ] {
            let answer = given(&par, &input, &[("range", &range)]).await;
            assert_eq!(answer.status, 206, "{range}");
            assert_eq!(answer.header("content-range"), format!("bytes {from}-{}/{size}", to - 1));
            assert_eq!(answer.header("content-length"), (to - from).to_string());
            assert!(answer.body == content(size)[from..to], "{range} of {size}");
        }
        let beyond = given(&par, &input, &[("range", &format!("bytes={size}-"))]).await;
        beyond.problem(416, "range_not_satisfiable");
        assert_eq!(beyond.header("content-range"), format!("bytes */{size}"));
        for headers in [&[("range", "bytes=1-2"), ("if-range", "\"x\"")][..], &[("range", "bytes=1-2,5-6")]] {
            assert!(given(&par, &input, headers).await.body == content(size));
        }
    }
}

#[tokio::test]
async fn in_an_envelope_a_file_is_text() {
    let (_folder, par) = serving(&[]).await;
    for size in [10, 1_000_000] {
        let input = json!({"input": {"kind": "path", "size": size}});
        let answer = par.http.envelope("keeper%2Fgive", &input).await.ok();
        let text = answer["output"].as_str().expect("base64");
        assert!(base64::engine::general_purpose::STANDARD.decode(text).unwrap() == content(size));
    }
    let answer = par.http.envelope("keeper%2Fgive", &json!({"input": {"kind": "json"}})).await.ok();
    assert_eq!(answer["output"], "e2Jyb2tlbg==", "bytes that call themselves JSON are bytes");
    let large = json!({"input": {"kind": "path", "size": 65 << 20}});
    par.http.envelope("keeper%2Fgive", &large).await.problem_naming(
        500,
        "agent_error",
        &["fit into one answer"],
    );
    let answer = par.http.invoke("keeper/give", &large["input"]).await;
    assert_eq!(
        (answer.status, answer.body.len()),
        (200, 65 << 20),
        "without an envelope there is no such limit"
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let (_folder, par) = serving(&[("expose_errors", "true")]).await;
    for (kind, words) in
        [("missing", ["FileNotFoundError", "/not/there.pdf"]), ("secret", ["PermissionError", "/etc/shadow"])]
    {
        given(&par, &json!({"kind": kind}), &[]).await.problem_naming(500, "agent_error", &words);
    }
}

#[tokio::test]
async fn a_slow_reader_stops_its_file_and_one_that_leaves_ends_it() {
    let (_folder, par) = serving(&[]).await;
    let request = par.http.request(Method::POST, "/agents/keeper/endless/invoke");
    let mut response = request.json(&json!({"size": 10_000})).send().await.unwrap();
    assert_eq!(response.headers()["content-disposition"], "attachment; filename=\"endless.bin\"");
    assert!(!response.headers().contains_key("content-length"));
    let mut taken = 0;
    while taken < 100_000 {
        taken += response.chunk().await.unwrap().expect("endless").len();
    }
    drop(response);
    let line = par.wait_for_line("the generator ends", |line| line.text().contains("closed after")).await;
    let made: usize = line
        .text()
        .rsplit("closed after ")
        .next()
        .unwrap()
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap()
        .parse()
        .unwrap();
    // What the sockets hold, the credit, and one item beyond.
    assert!(made * 10_000 < 12 << 20, "{made} items were made for a reader that took {taken} bytes");
}
