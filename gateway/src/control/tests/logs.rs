//! Lines that are asked for.

use super::*;

#[tokio::test]
async fn logs_are_filtered_and_followed_until_the_end() {
    let bench = bench(false);
    let line = |id: &str| format!("{{\"level\":\"warn\",\"request_id\":\"{id}\"}}\n");
    bench.state.recent.feed(format!("{}{}", line("a"), line("b")).as_bytes());
    let (_, body) = bench.ask(Role::Viewer, "GET", "/runtime/logs?request_id=b&level=WARN", "").await;
    assert_eq!(body, json!({"lines": [{"level": "warn", "request_id": "b"}]}));
    for query in ["level=loud", "follow=maybe", "unknown=1"] {
        let (status, _) = bench.ask(Role::Viewer, "GET", &format!("/runtime/logs?{query}"), "").await;
        assert_eq!(status.as_u16(), 400, "{query}");
    }
    let mut request = Request::get("/runtime/logs?follow=true&request_id=b").body(Body::empty()).unwrap();
    Role::Viewer.stamp(request.headers_mut());
    let response = bench.send(request).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/x-ndjson");
    bench.state.recent.feed(format!("{}{}", line("b"), line("c")).as_bytes());
    bench.life.begin();
    let all = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    assert_eq!(all, format!("{}{}", line("b"), line("b")));
}
