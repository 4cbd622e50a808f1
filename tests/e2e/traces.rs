//! Traces, at a receiver of the official messages: what a request is made of, what is passed on, and that nobody waits.

mod handlers;
mod secure;
mod surfaces;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{
    Answered, Par, ParBuilder, eventually, par,
    telemetry::{Collector, SpanTold, named, often},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn calls(par: ParBuilder) -> ParBuilder {
    par.agent("calling").agent("called")
}

fn invoke(par: &Par, agent: &str, input: &Value) -> RequestBuilder {
    par.http.request(Method::POST, &format!("/agents/{agent}/invoke")).json(input)
}

/// A request whose caller keeps its trace.
fn kept(request: RequestBuilder, trace: &str) -> RequestBuilder {
    request.header("traceparent", format!("00-{trace}-{CALLER}-01"))
}

/// The one that lies in `outer` and is called so.
#[track_caller]
fn within<'a>(spans: &'a [SpanTold], outer: &SpanTold, name: &str) -> &'a SpanTold {
    let mut found =
        spans.iter().filter(|span| span.text("name") == name && span.text("parent") == outer.text("id"));
    let (Some(span), None) = (found.next(), found.next()) else {
        panic!("one {name} in {} of {spans:#?}", outer.text("name"))
    };
    assert!(span.is_in(outer), "{} is not within {}", span.0, outer.0);
    span
}

#[tokio::test]
async fn a_call_that_calls_another_agent_is_one_tree() {
    let collector = Collector::start().await;
    let par = calls(collector.told_by(par())).start().await;
    let asked = invoke(&par, "calling/ask", &json!({"agent": "spends"})).header("x-par-session", "talk-1");
    let asked = asked.header("tracestate", "vendor=1").header("user-agent", "tests/1");
    assert_eq!(kept(asked, TRACE).answer().await.ok()["result"], "spent");
    let spans = collector.trace(TRACE, 8).await;
    let server = named(&spans, "POST /agents/{id}/invoke");
    assert_eq!(
        (server.text("parent"), server.text("kind"), server.text("state")),
        (CALLER, "SERVER", "vendor=1")
    );
    for (name, wanted) in [
        ("http.request.method", json!("POST")),
        ("http.response.status_code", json!(200)),
        ("http.route", json!("/agents/{id}/invoke")),
        ("url.path", json!("/agents/calling/ask/invoke")),
        ("url.scheme", json!("http")),
        ("server.address", json!("127.0.0.1")),
        ("server.port", json!(par.port)),
        ("client.address", json!("127.0.0.1")),
        ("network.protocol.version", json!("1.1")),
        ("user_agent.original", json!("tests/1")),
    ] {
        assert_eq!(*server.attribute(name), wanted, "{name} of {}", server.0);
    }
    within(&spans, server, "admit");
    let outer = within(&spans, server, "invoke_agent ask");
    assert_eq!(outer.text("kind"), "INTERNAL");
    within(&spans, outer, "queue");
    let worker = within(&spans, outer, "worker");
    let inner = within(&spans, worker, "invoke_agent spends");
    assert_eq!(inner.text("kind"), "CLIENT");
    within(&spans, inner, "queue");
    within(&spans, inner, "worker");
    for (name, wanted) in [
        ("gen_ai.operation.name", json!("invoke_agent")),
        ("gen_ai.agent.id", json!("called@1.0.0/spends")),
        ("gen_ai.agent.name", json!("spends")),
        ("gen_ai.agent.version", json!("1.0.0")),
        ("gen_ai.conversation.id", json!("talk-1")),
        ("gen_ai.usage.input_tokens", json!(100)),
        ("gen_ai.usage.output_tokens", json!(20)),
    ] {
        assert_eq!(*inner.attribute(name), wanted, "{name} of {}", inner.0);
    }
    assert_eq!(outer.attribute("gen_ai.conversation.id"), "talk-1");
    assert!(outer.attribute("gen_ai.usage.input_tokens").is_null(), "each call has its own tokens");
    let request = &collector.requests("traces")[0];
    assert_eq!(request["resource"]["service.name"], "par");
    assert!(request["resource"]["service.instance.id"].is_string(), "{request}");
    assert_eq!(request["schema"], "https://opentelemetry.io/schemas/1.37.0");
    assert!(spans.iter().all(|span| span.0["failed"] == false), "{spans:#?}");
}

#[tokio::test]
async fn what_fails_says_so_where_it_fails() {
    let collector = Collector::start().await;
    let par = calls(collector.told_by(par())).allow("agent_call").start().await;
    let asked = kept(invoke(&par, "calling/ask", &json!({"agent": "raises"})), TRACE);
    assert_eq!(asked.answer().await.ok()["code"], "agent_error");
    let spans = collector.trace(TRACE, 8).await;
    let inner = named(&spans, "invoke_agent raises");
    assert_eq!((inner.attribute("error.type"), &inner.0["failed"]), (&json!("agent_error"), &json!(true)));
    assert_eq!(named(&spans, "POST /agents/{id}/invoke").0["failed"], false, "it was caught");
    let other = "1af7651916cd43dd8448eb211c80319c";
    kept(invoke(&par, "called/double", &json!({"number": "four"})), other)
        .answer()
        .await
        .problem(422, "input_invalid");
    let spans = collector.trace(other, 2).await;
    let refused = named(&spans, "POST /agents/{id}/invoke");
    assert_eq!(refused.attribute("error.type"), "input_invalid");
    assert_eq!(refused.0["failed"], false, "it is the caller's fault");
}

#[tokio::test]
async fn what_is_not_kept_is_passed_on_as_it_came_and_costs_no_span() {
    let collector = Collector::start().await;
    let par = calls(collector.told_by(par())).start().await;
    let (unkept, traceparent) =
        ("2af7651916cd43dd8448eb211c80319c", |trace| format!("00-{trace}-{CALLER}-00"));
    let asked =
        invoke(&par, "calling/aask", &json!({"agent": "who"})).header("traceparent", traceparent(unkept));
    let told = asked.answer().await.ok()["result"].to_string();
    assert!(told.contains(&traceparent(unkept)), "{told}");
    kept(invoke(&par, "called/who", &json!({})), TRACE).answer().await.ok();
    collector.trace(TRACE, 5).await;
    let others = collector.spans().into_iter().filter(|span| span.text("trace") != TRACE).count();
    assert_eq!(others, 0, "of the one that came before");
}

#[tokio::test]
async fn a_bad_traceparent_is_replaced() {
    let collector = Collector::start().await;
    let par = calls(collector.told_by(par())).start().await;
    for bad in [
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "hello",
    ] {
        let asked =
            invoke(&par, "called/who", &json!({})).header("traceparent", bad).header("tracestate", "a=b");
        let told = asked.answer().await.ok()["trace"].as_str().expect("a new one").to_owned();
        let parts: Vec<&str> = told.split('-').collect();
        let [_, trace, worker, "01"] = parts.as_slice() else { panic!("{told}") };
        let spans = collector.trace(trace, 5).await;
        assert_eq!(named(&spans, "worker").text("id"), *worker);
        let server = named(&spans, "POST /agents/{id}/invoke");
        assert_eq!((server.text("parent"), server.text("state")), ("", ""));
        let line = par.wait_for_line("its line", |line| line["trace_id"] == *trace).await;
        assert_eq!(line["status"], 200);
    }
}

#[tokio::test]
async fn without_a_receiver_only_what_is_right_is_passed_on() {
    let par = calls(par()).start().await;
    let right = format!("00-{TRACE}-{CALLER}-01");
    for (sent, wanted) in [(right.as_str(), json!(right)), ("hello", json!(null))] {
        let asked = invoke(&par, "called/who", &json!({})).header("traceparent", sent);
        assert_eq!(asked.answer().await.ok()["trace"], wanted, "{sent}");
    }
}

#[tokio::test]
async fn both_protocols_tell_the_same_with_headers_packed_and_after_being_turned_away() {
    for by in [Collector::told_by, Collector::told_by_grpc] {
        let collector = Collector::failing(1).await;
        let par = by(&collector, calls(par()))
            .env("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=not%20for%20logs")
            .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
            .env("OTEL_METRICS_EXPORTER", "none")
            .env("OTEL_SERVICE_NAME", "agents")
            .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
            .start()
            .await;
        kept(invoke(&par, "called/double", &json!({"number": 1})), TRACE).answer().await.ok();
        collector.trace(TRACE, 5).await;
        let request = &collector.requests("traces")[0];
        assert_eq!(request["headers"]["x-api-key"], "not for logs", "{request}");
        assert_eq!(request["resource"]["service.name"], "agents");
        assert_eq!(request["resource"]["deployment.environment.name"], "test");
        assert!(!par.everything_said().contains("not for logs"));
    }
}

#[tokio::test]
async fn a_receiver_that_is_away_holds_up_nobody_and_what_it_misses_is_counted() {
    let par = calls(often(par()))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .env("OTEL_TRACES_SAMPLER", "always_on")
        .env("OTEL_BSP_EXPORT_TIMEOUT", "300")
        .env("OTEL_METRIC_EXPORT_TIMEOUT", "300")
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "16")
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
        .allow("telemetry_unsent")
        .start()
        .await;
    for number in 0..40 {
        invoke(&par, "called/double", &json!({"number": number})).answer().await.ok();
    }
    eventually("what was dropped is counted", async || {
        let text = par.metrics().get("/metrics").await.text();
        let of = |sink: &str, outcome: &str| {
            let line = format!("par_telemetry_total{{outcome=\"{outcome}\",sink=\"{sink}\"}} ");
            text.lines().find_map(|told| told.strip_prefix(&line)?.parse::<u64>().ok()).unwrap_or_default()
        };
        assert_eq!(of("traces", "sent") + of("otlp", "sent"), 0);
        (of("traces", "dropped") > 100 && of("otlp", "dropped") > 0).then_some(())
    })
    .await;
    let told = || par.lines().iter().filter(|line| line.event() == "telemetry_unsent").count();
    // What is counted is told right after it, and the line takes its own way.
    eventually("each kind is told", async || (told() >= 2).then_some(())).await;
    assert_eq!(told(), 2, "once for each kind");
}

#[tokio::test]
async fn what_was_kept_last_is_sent_before_the_end() {
    let collector = Collector::start().await;
    let slowly = calls(collector.told_by(par())).env("OTEL_BSP_SCHEDULE_DELAY", "60000");
    let par = slowly.start().await;
    kept(invoke(&par, "called/double", &json!({"number": 1})), TRACE).answer().await.ok();
    assert!(collector.spans().is_empty());
    par.stop().await;
    collector.trace(TRACE, 5).await;
}
