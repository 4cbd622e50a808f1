//! Paths and headers that say one thing and mean another.

use serde_json::json;

use super::{CALL, SMUGGLED, Target};

#[tokio::test]
async fn every_spelling_of_a_path_but_the_plain_one_leads_nowhere() {
    let target = Target::start(&[]).await;
    for path in [
        "/agents/echo/../witness/invoke",
        "/agents/echo/%2e%2e/witness/invoke",
        "/agents/echo/%2E./witness/invoke",
        "/agents/echo/.%2e/witness/invoke",
        "/agents/echo/..%2fwitness/invoke",
        "/agents/echo%2f..%2fwitness/invoke",
        "/agents/echo/..;/witness/invoke",
        "/agents/echo/..;x=y/witness/invoke",
        "/agents/./witness/invoke",
        "/agents/witness/./invoke",
        "/agents/echo\\..\\witness/invoke",
        "/agents/echo/..%5cwitness/invoke",
        "/agents\\witness\\invoke",
        "/agents/echo/%c0%ae%c0%ae/witness/invoke",
        "/agents/echo/%e0%80%ae%e0%80%ae/witness/invoke",
        "/agents%c0%afwitness/invoke",
        "/agents/witness%00/invoke",
        "/agents/witness/invoke%00",
        "/agents/witness%0a/invoke",
        "/agents/witness\0/invoke",
        "/agents/witness/invoke%",
        "/agents/witness/invoke%2",
        "/agents/%u0077itness/invoke",
        "/health/../agents/witness/invoke",
        "/health/..%2fagents/witness/invoke",
    ] {
        let bytes = SMUGGLED.replacen("/agents/witness/invoke", path, 1);
        target.refused(path, bytes.as_bytes(), &[400]).await;
    }
    for path in [
        "//agents/witness/invoke",
        "/agents//witness/invoke",
        "/agents/witness//invoke",
        "/agents/witness/invoke/",
        "/agents/witness/invoke;x",
        "/agents/witness;x/invoke",
        "/agents;x/witness/invoke",
        "/agents/witness%2Finvoke",
        "/agents%2Fwitness%2Finvoke",
        "/agents%2Fwitness/invoke",
        "/%61gents/witness/invoke",
        "/agents/witness/%69nvoke",
        "/agents/%2577itness/invoke",
        "/AGENTS/witness/invoke",
        "/agents/Witness/invoke",
        "/agents/witness/invoke%20",
        "/agents/witness%20/invoke",
        "/agents/witness /invoke",
        "/agents/echo%252f..%252fwitness/invoke",
        "/runtime%2fagents/witness/invoke",
        "/runtime//agents/witness/invoke",
    ] {
        let bytes = SMUGGLED.replacen("/agents/witness/invoke", path, 1);
        target.answered(path, bytes.as_bytes(), &[400, 404, 405]).await;
    }
    for path in [
        "//runtime/packages",
        "/runtime//packages",
        "/runtime/%70ackages",
        "/runtime/packages;x",
        "/%72untime/packages",
        "/runtime/packages/",
    ] {
        let bytes = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
            target.par.operator_token()
        );
        target.answered(path, bytes.as_bytes(), &[400, 404]).await;
    }
    let slashes = format!("/agents/{}/invoke", "a/".repeat(8_000));
    target
        .answered("slashes", SMUGGLED.replacen("/agents/witness/invoke", &slashes, 1).as_bytes(), &[404])
        .await;
    for id in ["witness%401.0.0%2fdefault", "witness@1.0.0/default"] {
        assert_eq!(
            target.par.http.invoke(id, &json!({})).await.ok(),
            json!(1),
            "ids may be spelt in two ways"
        );
    }
}

#[tokio::test]
async fn what_clients_write_into_headers_stays_text() {
    let target = Target::start(&[]).await;
    for (name, head) in [
        ("an encoded line end in the id", "X-Request-ID: a%0d%0aSet-Cookie: evil=1\r\n"),
        ("a quote in the id", "X-Request-ID: \",\"evil\":1\r\n"),
        ("an id without end", &format!("X-Request-ID: {}\r\n", "a".repeat(4000))),
        ("a role that was made up", "X-PAR-Role: operator\r\nX-PAR-Caller: {}\r\n"),
        ("a traceparent that is none", "traceparent: 00-%0d%0aevil-1-1\r\n"),
    ] {
        let bytes = format!("{CALL}{head}Content-Length: 1\r\n\r\n7");
        let told = target.answered(name, bytes.as_bytes(), &[200]).await;
        let answer = told.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
        assert!(!answer.contains("evil") && !answer.contains("set-cookie"), "{name}: {told}");
        let id = answer.split("x-request-id: ").nth(1).and_then(|rest| rest.lines().next());
        assert!(id.is_some_and(|id| id.len() <= 128), "{name}: {told}");
    }
    let query = SMUGGLED.replacen("witness/invoke", "echo/invoke?q=%0d%0aSet-Cookie:%20evil=1", 1);
    let told = target.answered("an encoded line end in the query", query.as_bytes(), &[200]).await;
    assert!(!told.to_lowercase().contains("set-cookie"), "{told}");
    let managed = "GET /runtime/packages HTTP/1.1\r\nHost: x\r\nX-PAR-Role: operator\r\n\
        X-Forwarded-For: 127.0.0.1\r\n\r\n";
    target.answered("a role towards the management side", managed.as_bytes(), &[401]).await;
    for line in target.par.lines() {
        assert_ne!(line.event(), "not_json", "a line was broken: {}", line.text());
    }
    target.nobody_was_called().await;
}
