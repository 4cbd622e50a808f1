//! Forms that are wrong, too large or too slow, and what each is told. No worker is involved and nothing is left.

use std::time::Duration;

use super::*;
use crate::harness::{Answer, Answered, RawConnection, status_of, zip_directory};

const LIMITS: [(&str, &str); 4] = [
    ("limits.form_bytes", "200KiB"),
    ("limits.form_file_bytes", "100KiB"),
    ("limits.form_field_bytes", "1KiB"),
    ("limits.body_bytes", "64KiB"),
];

fn part(head: &str, body: &[u8]) -> Vec<u8> {
    [b"--B\r\nContent-Disposition: form-data; ", head.as_bytes(), b"\r\n\r\n", body, b"\r\n"].concat()
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat().as_slice(), b"--B--\r\n"].concat()
}

async fn post(client: &Client, kind: &str, body: Vec<u8>) -> Answer {
    let request = client.request(Method::POST, "/agents/keeper/tell/invoke");
    request.header("content-type", kind).body(body).answer().await
}

const KIND: &str = "multipart/form-data; boundary=B";

#[tokio::test]
async fn what_is_no_form_is_told_why_and_leaves_nothing() {
    let (_folder, par) = serving(&LIMITS).await;
    // Less than what is read of a refused body: clients of HTTP/1 send all of it before they look for an answer.
    let doc = || part("name=\"doc\"; filename=\"a\"", &content(60_000));
    let good = form(&[doc()]);
    for client in [par.http.clone(), Client::http2(par.port)] {
        for (kind, body, status, code, words) in [
            ("multipart/form-data", good.clone(), 400, "bad_request", "boundary"),
            ("multipart/form-data; boundary=", good.clone(), 400, "bad_request", "boundary"),
            ("multipart/form-data; boundary=C", good.clone(), 400, "bad_request", "should begin"),
            (
                "multipart/form-data; boundary=C",
                form(&[part("name=\"a\"", b"1")]),
                400,
                "bad_request",
                "boundary",
            ),
            (
                "multipart/mixed; boundary=B",
                good.clone(),
                415,
                "unsupported_media_type",
                "multipart/form-data",
            ),
            (KIND, good[..good.len() - 5].to_vec(), 400, "bad_request", "last boundary"),
            (KIND, good[..40_000].to_vec(), 400, "bad_request", "last boundary"),
            (KIND, Vec::new(), 400, "bad_request", "last boundary"),
            (KIND, form(&[doc(), part("filename=\"b\"", b"x")]), 400, "bad_request", "no name"),
            (KIND, form(&[doc(), part("name=\"\"", b"x")]), 400, "bad_request", "no name"),
            (
                KIND,
                form(&[doc(), part("name=\"a\"; filename=\"\0\"", b"x")]),
                400,
                "bad_request",
                "cannot be read",
            ),
            (
                KIND,
                form(&[part(&format!("name=\"a\"; filename=\"{}\"", "x".repeat(10 << 10)), b"x")]),
                400,
                "bad_request",
                "name of a file",
            ),
            (KIND, form(&[doc(), part("name=\"a\"", b"\xff")]), 400, "bad_request", "UTF-8"),
            (KIND, form(&[doc(), part("name=\"doc\"", b"x")]), 400, "bad_request", "in another"),
            (KIND, form(&[part("name=\"input\"", b"{"), doc()]), 400, "bad_json", "input"),
            (KIND, form(&[part("name=\"input\"", b"[]"), doc()]), 400, "bad_request", "object"),
            (
                KIND,
                form(&[part("name=\"input\"", b"{}"), part("name=\"input\"", b"{}")]),
                400,
                "bad_request",
                "more than one",
            ),
            (KIND, form(&[doc(), doc(), doc(), doc()]), 413, "too_large", "204800"),
            (
                KIND,
                form(&[part("name=\"doc\"; filename=\"big.bin\"", &content(110_000))]),
                413,
                "too_large",
                "big.bin",
            ),
            (KIND, form(&[part("name=\"a\"", &[b'x'; 1025])]), 413, "too_large", "1024"),
            (KIND, form(&[part("name=\"input\"", &b" ".repeat(65 << 10))]), 413, "too_large", "65536"),
        ] {
            let answer = post(&client, kind, body).await;
            answer.problem_naming(status, code, &[words]);
        }
        assert_eq!(post(&client, KIND, form(&[doc()])).await.ok()["doc"]["size"], 60_000);
    }
    nothing_is_kept(&par).await;
}

#[tokio::test]
async fn ten_thousand_parts_are_too_many() {
    let (_folder, par) = serving(&[]).await;
    let body = form(&vec![part("name=\"a\"", b"x"); 10_000]);
    let answer = post(&Client::http2(par.port), KIND, body.clone()).await;
    answer.problem_naming(413, "too_large", &["100 parts"]);
    let mut raw = RawConnection::open(par.port).await;
    let head = format!(
        "POST /agents/keeper/tell/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    // As much as a client has sent when it is told so.
    raw.send([head.as_bytes(), &body[..200_000]].concat()).await;
    let answer = raw.read(Duration::from_secs(5)).await;
    assert!(status_of(&answer) == 413 && answer.contains("100 parts"), "{answer}");
    assert_eq!(post(&par.http, KIND, form(&[part("name=\"a\"", b"x")])).await.ok(), json!({"a": "x"}));
}

#[tokio::test]
async fn hostile_names_become_plain_ones() {
    let (_folder, par) = serving(&[]).await;
    for (sent, name, ending) in [
        ("../../../../etc/passwd", "passwd", ""),
        ("..\\..\\windows\\system.ini", "system.ini", ".ini"),
        ("/", "file", ""),
        ("..", "file", ""),
        ("a;b'c$(id).sh", "a;b'c$(id).sh", ".sh"),
        ("x.\u{202e}fdp", "x.\u{202e}fdp", ""),
    ] {
        let body = form(&[part(&format!("name=\"doc\"; filename=\"{sent}\""), b"x")]);
        let told = post(&par.http, KIND, body).await.ok();
        assert_eq!((&told["doc"]["name"], &told["doc"]["ending"]), (&json!(name), &json!(ending)), "{sent}");
    }
}

#[tokio::test]
async fn a_bomb_is_as_large_as_it_is_packed() {
    let (_folder, par) = serving(&[]).await;
    let folder = scratch();
    std::fs::write(folder.path().join("zeros"), vec![0; 10 << 20]).unwrap();
    let bomb = zip_directory(folder.path());
    assert!(bomb.len() < 100_000, "it is one");
    let body = form(&[part("name=\"doc\"; filename=\"bomb.zip\"\r\nContent-Type: application/zip", &bomb)]);
    assert_eq!(post(&par.http, KIND, body).await.ok()["doc"]["size"], bomb.len());
}

#[tokio::test]
async fn a_length_that_lies_is_met_before_or_at_the_end() {
    let (_folder, par) = serving(&LIMITS).await;
    let body = form(&[part("name=\"doc\"; filename=\"a\"", &content(2000))]);
    let send = async |length: usize| {
        let mut raw = RawConnection::open(par.port).await;
        let head = format!(
            "POST /agents/keeper/tell/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        raw.send([head.as_bytes(), &body].concat()).await;
        raw
    };
    let answer = send(99_999_999).await.read(Duration::from_secs(5)).await;
    assert_eq!(status_of(&answer), 413, "before a byte of it is read: {answer}");
    let answer = send(body.len() - 10).await.read(Duration::from_secs(5)).await;
    assert_eq!(status_of(&answer), 400, "cut off: {answer}");
    let mut longer = send(body.len() + 10).await;
    assert!(!longer.closed_within(Duration::from_millis(300)).await, "more may come");
    drop(longer);
    nothing_is_kept(&par).await;
}

#[tokio::test]
async fn a_form_that_drips_is_a_408_and_leaves_nothing() {
    let (_folder, par) = serving(&[("limits.body_timeout", "1s")]).await;
    let mut raw = RawConnection::open(par.port).await;
    let begin = part("name=\"doc\"; filename=\"a\"", &content(400_000));
    let head = format!(
        "POST /agents/keeper/tell/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\nContent-Length: 500000\r\n\r\n"
    );
    raw.send([head.as_bytes(), &begin].concat()).await;
    eventually("some of it is written", async || (!kept(&par).is_empty()).then_some(())).await;
    let answer = raw.read(Duration::from_secs(5)).await;
    assert_eq!(status_of(&answer), 408, "{answer}");
    nothing_is_kept(&par).await;
}

#[tokio::test]
async fn rates_count_for_forms_before_they_are_read() {
    let (_folder, par) = serving(&[("limits.tenant_rate", "1/h burst 1")]).await;
    let body = || form(&[part("name=\"doc\"; filename=\"a\"", b"x")]);
    assert_eq!(post(&par.http, KIND, body()).await.status, 200);
    post(&par.http, KIND, body()).await.problem(429, "rate_limited");
    nothing_is_kept(&par).await;
}
