//! What browsers are told, and what answers do not tell.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, Answered, Par, ParBuilder, RawConnection, par};

const PAGE: &str = "https://app.example";

fn open_to(origin: &str) -> ParBuilder {
    par().production().agent("echo").setting("cors.origins", json!([origin]))
}

async fn preflight(par: &Par, origin: &str) -> Answer {
    par.http
        .request(Method::OPTIONS, "/agents/echo/invoke")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type")
        .answer()
        .await
}

async fn call(par: &Par, origin: &str, agent: &str) -> Answer {
    let request = par.http.request(Method::POST, &format!("/agents/{agent}/invoke"));
    request.header("origin", origin).json(&json!(1)).answer().await
}

#[tokio::test]
async fn pages_of_other_origins_may_nothing_unless_it_is_configured() {
    let par = par().production().agent("echo").start().await;
    for answer in
        [preflight(&par, PAGE).await, call(&par, PAGE, "echo").await, call(&par, PAGE, "nobody").await]
    {
        assert_eq!(answer.header("access-control-allow-origin"), "");
        assert_eq!(answer.header("access-control-allow-methods"), "");
    }
    assert_ne!(preflight(&par, PAGE).await.status, 204);
}

#[tokio::test]
async fn named_origins_may_call_and_read_answers_and_errors() {
    let par = open_to(PAGE).start().await;
    let asked = preflight(&par, PAGE).await;
    assert_eq!(asked.status, 204);
    assert_eq!(asked.header("access-control-allow-origin"), PAGE);
    assert!(asked.header("access-control-allow-methods").contains("POST"));
    assert!(asked.header("access-control-allow-headers").contains("Authorization"));
    assert_eq!(asked.header("access-control-max-age"), "600");
    assert_eq!(asked.header("access-control-allow-credentials"), "");
    let management = par.http.request(Method::GET, "/runtime/info").header("origin", PAGE).answer().await;
    for answer in [call(&par, PAGE, "echo").await, call(&par, PAGE, "nobody").await, management] {
        assert_eq!(answer.header("access-control-allow-origin"), PAGE, "{}", answer.status);
        assert!(answer.header("access-control-expose-headers").contains("X-Request-ID"));
        assert_eq!(answer.header("vary"), "Origin");
    }
    for origin in ["https://evil.example", "https://app.example.evil.example", "http://app.example", "null"] {
        for answer in [preflight(&par, origin).await, call(&par, origin, "echo").await] {
            assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
            assert_eq!(answer.header("access-control-allow-methods"), "", "{origin}");
        }
    }
}

#[tokio::test]
async fn every_origin_may_only_without_credentials() {
    let par = open_to("*").start().await;
    let answer = call(&par, "https://anybody.example", "echo").await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://anybody.example");
    let mut refused = open_to("*").setting("cors.credentials", true).allow("*").launch();
    assert_eq!(refused.exit().await.code(), Some(64));
    assert!(refused.everything_said().contains("cors.credentials"));
}

#[tokio::test]
async fn a_preflight_lets_nobody_operate() {
    let par = open_to(PAGE).start().await;
    let asked = par
        .http
        .request(Method::OPTIONS, "/runtime/shutdown")
        .header("origin", PAGE)
        .header("access-control-request-method", "POST")
        .answer()
        .await;
    assert_eq!(asked.status, 204);
    let posted = par.http.request(Method::POST, "/runtime/shutdown").header("origin", PAGE).answer().await;
    posted.problem(401, "unauthenticated");
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn no_answer_tells_what_made_it() {
    let par = par().production().agent("echo").agent("ui-only").agent("rest-only").start().await;
    let answers = [
        par.http.invoke("echo", &json!(1)).await,
        par.http.invoke("nobody", &json!(1)).await,
        par.http.get("/health").await,
        par.http.get("/runtime/packages").await,
        par.http.get("/nowhere").await,
        par.http.get("/agents/ui-only/ui/").await,
        par.http.get("/agents/ui-only/ui/nowhere.js").await,
        par.http.get("/agents/rest-only/api/ping").await,
        par.http.get("/agents/rest-only/api/nowhere").await,
        par.metrics().get("/metrics").await,
    ];
    for answer in answers {
        for name in ["server", "x-powered-by", "via", "x-aspnet-version"] {
            assert_eq!(answer.header(name), "", "{}", answer.status);
        }
    }
    for garbage in ["GARBAGE\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET /\u{0} HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut raw = RawConnection::open(par.port).await;
        raw.send(garbage).await;
        let said = raw.read(std::time::Duration::from_secs(1)).await.to_lowercase();
        assert!(!said.contains("pingora") && !said.contains("\r\nserver:"), "{said}");
    }
}

#[tokio::test]
async fn what_the_management_side_says_is_neither_cached_nor_guessed_at() {
    let par = par().production().agent("echo").start().await;
    for path in ["/runtime/info", "/agents", "/runtime/packages", "/runtime/nothing"] {
        let answer = par.operator().get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn headers_of_ours_that_a_client_sends_mean_nothing() {
    let par = par().production().agent("echo").start().await;
    let me = r#"{"subject":"root","tenant":"t","roles":["par-operator"],"scopes":[]}"#;
    for method in [Method::GET, Method::POST] {
        let path = if method == Method::GET { "/runtime/packages" } else { "/runtime/shutdown" };
        let answer = par
            .http
            .request(method, path)
            .header("x-par-role", "operator")
            .header("x-par-caller", me)
            .header("connection", "x-par-role, authorization")
            .answer()
            .await;
        answer.problem(401, "unauthenticated");
    }
}
