//! Adapters that ask somebody else: an introspection endpoint, and a check of each request.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{call, guarded, refused, shared_secret, tenant, token};
use crate::harness::{
    Answered,
    endpoint::{Endpoint, Question, Verdict},
    forge::seconds,
};

/// An introspection endpoint that knows tokens like `good-ann`.
pub(super) fn knows_tokens(question: &Question) -> Verdict {
    let claims = match question.field("token").strip_prefix("good-") {
        Some(subject) => json!({
            "active": true, "username": subject, "scope": "run", "client_id": "x",
            "exp": seconds(600), "roles": ["par-viewer"],
        }),
        None => json!({"active": false}),
    };
    (StatusCode::OK, vec![("content-type", "application/json".to_owned())], claims)
}

pub(super) fn introspection(url: &str) -> Value {
    json!({
        "type": "introspection", "url": url, "client_id": "par", "client_secret": "env:CLIENT_SECRET",
        "claims": {"subject": ["sub", "username"]},
    })
}

#[tokio::test]
async fn an_introspection_endpoint_is_asked_once_a_token() {
    let endpoint = Endpoint::start(knows_tokens).await;
    let par =
        guarded(json!([introspection(&endpoint.url())])).env("CLIENT_SECRET", "hunter2-of-par").start().await;
    for _ in 0..5 {
        let answer = call(&par, "good-ann").await;
        assert_eq!(answer.ok(), json!(1));
        assert_eq!(tenant(&par, &answer).await, "ann");
    }
    assert_eq!(endpoint.questions().len(), 1, "its answer is remembered");
    let question = endpoint.questions().remove(0);
    assert_eq!((question.method.as_str(), question.field("token")), ("POST", "good-ann"));
    assert_eq!(question.header("authorization"), "Basic cGFyOmh1bnRlcjItb2YtcGFy");
    assert_eq!(par.http.with_bearer("good-ann").get("/runtime/packages").await.status, 200);

    for _ in 0..5 {
        refused(&call(&par, "bad").await, "inactive");
    }
    assert_eq!(endpoint.questions().len(), 2, "a flood of one bad token is one question");
    for text in ["with,comma", "with%20escape", &"x".repeat(20 << 10)] {
        assert_eq!(call(&par, text).await.status, 401, "{text:.20}");
    }
    assert_eq!(endpoint.questions().len(), 2, "nobody is asked about what cannot be a token");

    let crowd = (0..20).map(|_| call(&par, "good-crowd"));
    for answer in futures_util::future::join_all(crowd).await {
        assert_eq!(answer.ok(), json!(1));
    }
    assert_eq!(endpoint.questions().len(), 3, "a crowd with one token is one question");
    let said = par.everything_said();
    assert!(!said.contains("hunter2") && !said.contains("good-ann"), "{said}");
}

#[tokio::test]
async fn an_endpoint_that_is_away_is_503_for_its_tokens_and_nothing_for_those_of_others() {
    // A port that was free a moment ago.
    let port = Endpoint::start(knows_tokens).await.url();
    let port: u16 =
        port.rsplit(':').next().and_then(|rest| rest.split('/').next()?.parse().ok()).expect("a port");
    let url = format!("http://127.0.0.1:{port}/ask");
    let adapters = json!([shared_secret(), introspection(&url)]);
    let par = guarded(adapters)
        .env("CLIENT_SECRET", "hunter2-of-par")
        .allow("authenticator_unavailable")
        .start()
        .await;
    for _ in 0..2 {
        let answer = call(&par, "good-ann").await;
        answer.problem(503, "identity_unavailable");
        assert!(!answer.header("retry-after").is_empty());
    }
    assert_eq!(call(&par, &token("bob", &json!({}))).await.ok(), json!(1));
    let endpoint = Endpoint::listen(port, knows_tokens).await;
    assert_eq!(call(&par, "good-ann").await.ok(), json!(1));
    par.wait_for_line("it is back", |line| line.event() == "authenticator_available").await;
    let told = par.lines().iter().filter(|line| line.event() == "authenticator_unavailable").count();
    assert_eq!(told, 1, "an outage is told once");
    endpoint.judges(|_| (StatusCode::INTERNAL_SERVER_ERROR, vec![], json!({"active": true, "sub": "eve"})));
    call(&par, "good-eve").await.problem(503, "identity_unavailable");
    endpoint.judges(|_| (StatusCode::OK, vec![], json!({"sub": "eve"})));
    call(&par, "good-eve").await.problem(503, "identity_unavailable");
    assert_eq!(call(&par, "good-ann").await.ok(), json!(1), "what was proved before stays so");
}

/// A check that lets `key-ann` do everything but look, and whoever has the right cookie do all.
pub(super) fn checks(question: &Question) -> Verdict {
    let named = |subject: &str, roles: &str| {
        let headers = [("x-auth-subject", subject), ("x-auth-tenant", "acme"), ("x-auth-roles", roles)];
        let headers = headers.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        (StatusCode::OK, headers, Value::Null)
    };
    let looks = question.header("x-forwarded-uri").starts_with("/runtime/");
    match (question.header("authorization"), question.header("cookie")) {
        (_, "session=right") => named("bob", "par-viewer, x"),
        ("Bearer key-ann", _) if !looks => named("ann", ""),
        ("Bearer key-ann", _) => (StatusCode::FORBIDDEN, vec![], Value::Null),
        ("Bearer key-lost", _) => (StatusCode::FOUND, vec![("location", "/login".to_owned())], Value::Null),
        _ => (StatusCode::UNAUTHORIZED, vec![], Value::Null),
    }
}

#[tokio::test]
async fn a_check_elsewhere_decides_about_each_request() {
    let endpoint = Endpoint::start(checks).await;
    let adapter = |anonymous: bool| json!([{"type": "http_check", "url": endpoint.url(), "headers": ["Cookie"], "anonymous": anonymous}]);
    let par = guarded(adapter(false)).allow("authenticator_unavailable").start().await;
    let answer = call(&par, "key-ann").await;
    assert_eq!(answer.ok(), json!(1));
    assert_eq!(tenant(&par, &answer).await, "acme");
    let question = endpoint.questions().pop().expect("a question");
    assert_eq!(question.header("x-forwarded-method"), "POST");
    assert_eq!(question.header("x-forwarded-uri"), "/agents/echo/invoke");
    assert_eq!(question.header("x-forwarded-for"), "127.0.0.1");

    call(&par, "key-ann").await.ok();
    assert_eq!(endpoint.questions().len(), 2, "each request is a question of its own");
    let client = par.http.with_bearer("key-ann");
    assert_eq!(client.get("/runtime/info").await.status, 401);
    let answer = client.invoke("echo", &json!(1)).await;
    assert_eq!(answer.status, 200, "refused there is not refused here: {}", answer.text());
    refused(&call(&par, "key-eve").await, "nobody");
    call(&par, "key-lost").await.problem(503, "identity_unavailable");

    let cookie =
        |path: &str, value: &str| par.http.request(Method::GET, path).header("cookie", value.to_owned());
    let asked = endpoint.questions().len();
    assert_eq!(cookie("/runtime/packages", "session=right").answer().await.status, 401);
    assert_eq!(endpoint.questions().len(), asked, "without a token nobody is asked");

    let par = guarded(adapter(true)).start().await;
    let cookie =
        |path: &str, value: &str| par.http.request(Method::GET, path).header("cookie", value.to_owned());
    assert_eq!(cookie("/runtime/packages", "session=right").answer().await.status, 200);
    let wrong = cookie("/runtime/packages", "session=wrong").answer().await;
    wrong.problem(401, "unauthenticated");
    assert_eq!(wrong.header("www-authenticate"), "Bearer realm=\"par\"");
}
