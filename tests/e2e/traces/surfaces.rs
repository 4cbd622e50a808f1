//! Traces of requests for surfaces: what an application is told, and the spans of gRPC.

use reqwest::Method;
use serde_json::json;

use super::{CALLER, TRACE, kept, within};
use crate::harness::{
    Answered, CLIENTS, Rpc, Streamed,
    grpc::field,
    par,
    telemetry::{Collector, named},
};

#[tokio::test]
async fn an_application_is_told_the_span_in_which_it_answers() {
    let collector = Collector::start().await;
    let par = collector.told_by(par()).agent("surfaces").start().await;
    let told = |answer: serde_json::Value, name: &str| -> Vec<String> {
        let lines = answer["headers"].as_array().cloned().unwrap_or_default();
        let own = lines.iter().filter(|line| line[0] == name);
        own.map(|line| line[1].as_str().unwrap_or_default().to_owned()).collect()
    };
    let asked =
        par.http.request(Method::GET, "/agents/surfaces/api/request").header("tracestate", "vendor=1");
    let answer = kept(asked, TRACE).answer().await.ok();
    let spans = collector.trace(TRACE, 2).await;
    let server = named(&spans, "GET /agents/{id}/{path}");
    let surface = within(&spans, server, "surface");
    assert_eq!((surface.text("kind"), server.text("parent")), ("CLIENT", CALLER));
    assert_eq!(told(answer.clone(), "traceparent"), [format!("00-{TRACE}-{}-01", surface.text("id"))]);
    assert_eq!(told(answer, "tracestate"), ["vendor=1"]);
    let bad = par.http.request(Method::GET, "/agents/surfaces/api/request").header("traceparent", "00-1-1-1");
    let answer = bad.header("tracestate", "vendor=1").answer().await.ok();
    let [traceparent] = told(answer.clone(), "traceparent").try_into().expect("one of ours");
    assert!(traceparent.starts_with("00-") && traceparent.len() == 55, "{traceparent}");
    assert!(told(answer, "tracestate").is_empty());
}

#[tokio::test]
async fn without_a_receiver_an_application_is_not_told_a_bad_one() {
    let par = par().agent("surfaces").start().await;
    let bad = par.http.request(Method::GET, "/agents/surfaces/api/request").header("traceparent", "00-1-1-1");
    let answer = bad.header("tracestate", "vendor=1").answer().await.ok().to_string();
    assert!(!answer.contains("traceparent") && !answer.contains("tracestate"), "{answer}");
}

#[tokio::test]
async fn requests_of_grpc_are_told_as_such() {
    let collector = Collector::start().await;
    let par = collector.told_by_grpc(par()).agent("grpc-own").start().await;
    let [client, ..] = CLIENTS;
    let call = Rpc::unary("/example.own.Own/Say", field(1, "hello")).to("grpc-own");
    client.one(&par, call.with("traceparent", &format!("00-{TRACE}-{CALLER}-01"))).await.ok();
    let spans = collector.trace(TRACE, 2).await;
    let server = named(&spans, "example.own.Own/Say");
    within(&spans, server, "surface");
    for (name, wanted) in [
        ("rpc.system", json!("grpc")),
        ("rpc.service", json!("example.own.Own")),
        ("rpc.method", json!("Say")),
        ("rpc.grpc.status_code", json!(0)),
        ("http.response.status_code", json!(200)),
        ("network.protocol.version", json!("2")),
    ] {
        assert_eq!(*server.attribute(name), wanted, "{name} of {}", server.0);
    }
}

#[tokio::test]
async fn a_stream_is_one_span_to_its_end() {
    let collector = Collector::start().await;
    let par = collector.told_by(par()).agent("streams").start().await;
    let asked = kept(par.http.request(Method::POST, "/agents/streams/count/invoke"), TRACE);
    let asked = asked.header("accept", "text/event-stream").json(&json!({"to": 3}));
    assert_eq!(Streamed::open(asked).await.events().await.len(), 4);
    let spans = collector.trace(TRACE, 5).await;
    let server = named(&spans, "POST /agents/{id}/invoke");
    within(&spans, within(&spans, server, "invoke_agent count"), "worker");
}
