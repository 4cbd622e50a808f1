//! What can be seen from outside: lines, metrics, and no secrets.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Answered, Par, par};

/// The value of a metric whose line begins with `name{` or `name ` and holds all the labels.
fn metric(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let lines = text.lines().filter(of).filter(|line| labels.iter().all(|label| line.contains(label)));
    let values: Vec<f64> = lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

async fn ask(par: &Par, agent: &str, id: &str) -> u16 {
    let request =
        par.http.request(Method::POST, &format!("/agents/{agent}/invoke")).header("x-request-id", id);
    request.json(&json!({"word": "a-private-word"})).answer().await.status
}

#[tokio::test]
async fn every_line_is_json_of_one_schema() {
    let par =
        par().production().agent("echo").agent("faulty").env("DEPLOYMENT_ID", "deployment-7").start().await;
    ask(&par, "echo", "one").await;
    ask(&par, "prints", "two").await;
    par.wait_for_line("both access lines", |line| line["request_id"] == "two" && !line["status"].is_null())
        .await;
    for line in par.lines() {
        assert_ne!(line.event(), "not_json", "{}", line.text());
        for key in ["ts", "level", "event", "agentAppId", "deploymentId", "details"] {
            assert!(line.value().get(key).is_some(), "{key} in {}", line.text());
        }
        assert_eq!(line["deploymentId"], "deployment-7");
        assert!(line["details"].is_object(), "{}", line.text());
    }
}

#[tokio::test]
async fn boot_events_come_in_order() {
    let par = par().agent("echo").start().await;
    let events: Vec<String> = par.lines().iter().map(|line| line.event().to_owned()).collect();
    let mut from = 0;
    for event in ["config_read", "download", "verify", "extract", "install", "load", "serve", "ready"] {
        let at = events[from..].iter().position(|told| told == event);
        from += at.unwrap_or_else(|| panic!("{event} in order in {events:?}"));
    }
}

#[tokio::test]
async fn every_call_has_an_access_line() {
    let par = par().agent("echo").agent("faulty").start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = par.http.request(Method::POST, "/agents/echo/invoke").header("x-request-id", "seen-1");
    let request = request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    assert_eq!(request.json(&json!({"a": 1})).answer().await.status, 200);
    ask(&par, "raises", "seen-2").await;
    ask(&par, "nobody", "seen-3").await;
    let line = async |id: &str| {
        par.wait_for_line(id, |line| line["request_id"] == id && !line["status"].is_null()).await
    };
    let fine = line("seen-1").await;
    assert_eq!(fine["agent_id"], "echo@1.0.0/echo");
    assert_eq!(fine["version"], "1.0.0");
    assert_eq!(fine["status"], 200);
    assert_eq!(fine["trace_id"], trace);
    assert_eq!((&fine["bytes_in"], &fine["bytes_out"]), (&json!(7), &json!(7)));
    for key in ["generation", "latency_ms", "queue_ms", "worker_ms"] {
        assert!(fine[key].is_number(), "{key} in {}", fine.text());
    }
    assert!(
        fine.value().as_object().is_some_and(|line| line.contains_key("tenant") && line.contains_key("code"))
    );
    let failed = line("seen-2").await;
    assert_eq!((&failed["status"], &failed["code"]), (&json!(500), &json!("agent_error")));
    let unknown = line("seen-3").await;
    assert_eq!((&unknown["status"], &unknown["code"]), (&json!(404), &json!("agent_not_found")));
}

#[tokio::test]
async fn what_a_handler_prints_carries_the_request_it_belongs_to() {
    let par = par().agent("slow").start().await;
    let request = par.http.request(Method::POST, "/agents/sleep/invoke").header("x-request-id", "printed-1");
    assert_eq!(request.json(&json!({"seconds": 0.5})).answer().await.status, 200);
    let line = par
        .wait_for_line("what it printed", |line| {
            line.event() == "agent_output" && line.mentions("sleep began") && line.mentions("printed-1")
        })
        .await;
    assert!(line.mentions("slow@1.0.0"), "{}", line.text());
}

#[tokio::test]
async fn metrics_are_open_on_their_own_port_and_for_operators_on_the_main_one() {
    let par = par().production().agent("echo").agent("faulty").start().await;
    for _ in 0..3 {
        ask(&par, "echo", "x").await;
    }
    ask(&par, "raises", "x").await;
    let metrics = par.metrics().get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").starts_with("text/plain"), "{:?}", metrics.headers);
    let text = metrics.text();
    assert_eq!(metric(&text, "par_requests_total", &["echo@1.0.0/echo"]), Some(3.0), "{text}");
    assert_eq!(metric(&text, "par_requests_total", &["faulty@1.0.0/raises", "agent_error"]), Some(1.0));
    assert_eq!(metric(&text, "par_request_seconds_count", &["echo@1.0.0/echo"]), Some(3.0));
    assert!(metric(&text, "par_workers", &["echo@1.0.0"]).is_some_and(|workers| workers >= 1.0));
    assert!(metric(&text, "par_build_info", &[]).is_some());
    for name in [
        "par_queue_seconds_count",
        "par_overhead_seconds_count",
        "par_worker_start_seconds_count",
        "par_queue_depth",
    ] {
        assert!(metric(&text, name, &[]).is_some(), "{name} in {text}");
    }
    assert_eq!(par.operator().get("/metrics").await.status, 200);
    assert_eq!(par.http.get("/metrics").await.status, 401);
}

#[tokio::test]
async fn labels_come_from_closed_sets_not_from_callers() {
    let par = par().agent("echo").start().await;
    for number in 0..30 {
        ask(&par, &format!("made-up-{number}"), "x").await;
        par.http.get(&format!("/paths/made-up-{number}")).await;
    }
    let text = par.metrics().get("/metrics").await.text();
    assert!(!text.contains("made-up"), "{text}");
}

#[tokio::test]
async fn tokens_and_bodies_never_reach_a_line() {
    let scratch = crate::harness::scratch();
    let code = "def run(input):\n    raise RuntimeError('plain')\n";
    let package = crate::harness::Package::with_main("quiet", "1.0.0", code)
        .file(".env", "API_KEY=sk-agent-secret-1\n");
    let par = par()
        .production()
        .agent("echo")
        .source(package.apkg(scratch.path()))
        .env("LOG_LEVEL", "debug")
        .start()
        .await;
    let token = par.operator_token();
    par.operator().get("/runtime/packages").await.ok();
    let request = par.http.request(Method::POST, "/agents/echo/invoke?token=sk-query-secret-2");
    let request =
        request.header("authorization", "Bearer sk-bearer-secret-3").header("x-request-id", "quiet-1");
    request.json(&json!({"word": "a-private-word"})).answer().await;
    ask(&par, "quiet", "quiet-2").await;
    let url = "https://user:sk-url-secret-4@localhost:1/x.apkg?signature=sk-url-secret-5";
    par.allow("package_failed");
    par.operator().post("/runtime/packages/load", &json!({"url": url})).await;
    par.wait_for_line("the access line", |line| line["request_id"] == "quiet-2" && !line["status"].is_null())
        .await;
    let told = par.everything_said();
    let listed = par.operator().get("/runtime/packages").await.text();
    for secret in [
        token.as_str(),
        "sk-agent-secret-1",
        "sk-query-secret-2",
        "sk-bearer-secret-3",
        "sk-url-secret-4",
        "sk-url-secret-5",
        "a-private-word",
    ] {
        assert!(!told.contains(secret), "{secret} is in the log");
        assert!(!listed.contains(secret), "{secret} is in the list of packages");
    }
}
