//! Who may do what without identity.

use std::os::unix::fs::PermissionsExt;

use reqwest::{Method, header::ORIGIN};
use serde_json::json;

use crate::harness::{Answered, Par, par};

/// Every way to change something.
pub(super) const OPERATORS: &[(&str, &str)] = &[
    ("POST", "/runtime/packages/load"),
    ("POST", "/runtime/packages/upload"),
    ("DELETE", "/runtime/packages/echo@1.0.0"),
    ("POST", "/runtime/packages/echo/rollback"),
    ("PUT", "/runtime/packages/echo/traffic"),
    ("POST", "/runtime/reload"),
    ("POST", "/runtime/agents/echo/enable"),
    ("POST", "/runtime/shutdown"),
];

/// Every way to look behind the scenes.
pub(super) const VIEWERS: &[(&str, &str)] = &[
    ("GET", "/runtime/packages"),
    ("GET", "/runtime/rollouts"),
    ("GET", "/runtime/webhooks/deliveries"),
    ("GET", "/runtime/logs"),
    ("GET", "/metrics"),
];

fn request(par: &Par, (method, path): (&str, &str)) -> reqwest::RequestBuilder {
    let method = method.parse::<Method>().expect("a method");
    let request = par.http.request(method.clone(), path);
    if method == Method::POST {
        request.json(&json!({"path": "/nowhere", "enabled": false}))
    } else {
        request
    }
}

/// Its agents answer.
pub(super) async fn unharmed(par: &Par) {
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn without_the_operator_token_nothing_is_changed_and_nothing_is_seen() {
    let par = par().production().agent("echo").start().await;
    for route in OPERATORS.iter().chain(VIEWERS) {
        request(&par, *route).answer().await.problem(401, "unauthenticated");
        let wrong = request(&par, *route).bearer_auth("0".repeat(par.operator_token().len()));
        wrong.answer().await.problem(401, "unauthenticated");
        let basic = request(&par, *route).basic_auth("operator", Some(par.operator_token()));
        assert!(matches!(basic.answer().await.status, 401 | 403), "{route:?}");
    }
    unharmed(&par).await;
    for route in VIEWERS {
        let viewer = request(&par, *route).bearer_auth(par.operator_token());
        assert_eq!(viewer.answer().await.status, 200, "{route:?}");
    }
}

#[tokio::test]
async fn the_operator_token_is_for_its_owner_only_and_can_be_given() {
    let made = par().production().agent("echo").start().await;
    let rights =
        std::fs::metadata(made.data_dir().join("operator.token")).expect("the token").permissions().mode();
    assert_eq!(rights & 0o777, 0o600);
    let token = made.operator_token();
    assert!(token.len() >= 32, "long enough not to be guessed");
    let made = made.restart().await;
    assert_eq!(made.http.with_bearer(&made.operator_token()).get("/runtime/packages").await.status, 200);

    let given = par().production().env("PAR_OPERATOR_TOKEN", "a-token-that-was-given").start().await;
    let operator = given.http.with_bearer("a-token-that-was-given");
    assert_eq!(operator.get("/runtime/packages").await.status, 200);
}

#[tokio::test]
async fn a_web_page_cannot_operate_a_developers_runtime() {
    let par = par().agent("echo").start().await;
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("forwarded", "for=192.0.2.1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "evil.example"),
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example"),
    ] {
        for route in OPERATORS {
            let answer = request(&par, *route).header(name, value).answer().await;
            assert!(matches!(answer.status, 401 | 403 | 421), "{name}: {value} {route:?}: {}", answer.text());
        }
    }
    let text = par.http.request(Method::POST, "/runtime/shutdown").header(ORIGIN, "http://localhost:3000");
    assert!(matches!(text.header("content-type", "text/plain").body("").answer().await.status, 401 | 403));
    unharmed(&par).await;
    assert_eq!(
        par.http.get("/runtime/packages").await.status,
        200,
        "the developer's own shell needs no token"
    );
}

/// The edge keeps connections to the management side. One that ended because nobody read a refused body would take the
/// next request with it, and what changes something is not sent twice.
#[tokio::test]
async fn refusals_with_bodies_cost_the_requests_behind_them_nothing() {
    let par = par().production().agent("echo").start().await;
    let operator = par.http.with_bearer(&par.operator_token());
    let everybody = (0..8).map(|turn: usize| {
        let (stranger, operator) = (par.http.clone(), operator.clone());
        tokio::spawn(async move {
            for round in 0..40 {
                let body = "x".repeat([10, 6_000, 40_000, 200_000][(turn + round) % 4]);
                let refused = stranger.request(Method::POST, "/runtime/packages/load").body(body);
                refused.answer().await.problem(401, "unauthenticated");
                let changed = operator
                    .request(Method::PUT, "/runtime/packages/echo/traffic")
                    .json(&json!({"1.0.0": 100}));
                let answer = changed.answer().await;
                assert_eq!(answer.status, 200, "turn {turn}, round {round}: {}", answer.text());
            }
        })
    });
    for one in everybody.collect::<Vec<_>>() {
        one.await.expect("every answer");
    }
}

#[tokio::test]
async fn a_developers_runtime_listens_on_loopback_only() {
    let par = par().agent("echo").start().await;
    for port in [par.port, par.metrics_port] {
        let hex = format!(":{port:04X}");
        let tables =
            ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
        let listening: Vec<&str> = tables
            .iter()
            .flat_map(|table| table.lines())
            .filter_map(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                (fields.get(3) == Some(&"0A")).then(|| fields.get(1).copied())?
            })
            .filter(|address| address.ends_with(&hex))
            .collect();
        assert_eq!(listening, [format!("0100007F{hex}")], "port {port}");
    }
}

#[tokio::test]
async fn serving_beyond_loopback_without_identity_is_warned_about() {
    let par = par().production().env("HOST", "0.0.0.0").agent("echo").allow("*").start().await;
    par.wait_for_line("the warning", |line| line.is_alarm() && line.mentions("identity")).await;
}

#[tokio::test]
async fn tracebacks_are_for_operators_only() {
    let par = par().production().agent("faulty").start().await;
    let anyone = par.http.invoke("raises", &json!({})).await.problem(500, "agent_error");
    assert_eq!(
        anyone["error"]["message"], "the handler's own message",
        "exposed as long as there is no identity"
    );
    assert!(!anyone.to_string().contains("faulty.py"), "{anyone}");
    let operator = par.operator().invoke("raises", &json!({})).await.problem(500, "agent_error");
    assert!(operator.to_string().contains("faulty.py"), "{operator}");

    let silent =
        crate::harness::par().production().agent("faulty").setting("expose_errors", false).start().await;
    let told = silent.http.invoke("raises", &json!({})).await.problem(500, "agent_error");
    assert_eq!(told["error"]["type"], "ValueError");
    assert!(!told.to_string().contains("own message"), "{told}");
}
