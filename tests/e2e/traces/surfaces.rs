//! Traces of requests for surfaces: what an application is told, and the spans of gRPC.

use reqwest::Method;
use serde_json::json;

use super::{CALLER, TRACE, kept, within};
use crate::harness::{
    Answered, CLIENTS, Par, Rpc, Streamed, WebSocket,
    grpc::field,
    par,
    telemetry::{Collector, named},
    websocket::CLOSE,
};

/// A trace of its own for each request, and the header that keeps it.
fn trace(number: usize) -> (String, String) {
    let trace = format!("{number:02x}7651916cd43dd8448eb211c80319c0");
    let header = format!("00-{trace}-{CALLER}-01");
    (trace, header)
}

/// Asks for something of a package and gives the name of the request's span.
async fn asked(par: &Par, what: &str, traceparent: &str) -> &'static str {
    let get = async |path: &str| {
        let request = par.http.request(Method::GET, path).header("traceparent", traceparent);
        assert_eq!(request.answer().await.status, 200, "{path}");
    };
    let [client, ..] = CLIENTS;
    let rpc = async |call: Rpc| {
        client.one(par, call.with("traceparent", traceparent)).await.ok();
    };
    match what {
        "rest" => {
            get("/agents/surfaces/api/ping").await;
            "GET /agents/{id}/{path}"
        }
        "stream" => {
            get("/agents/surfaces/api/events?count=3&seconds=0.01").await;
            "GET /agents/{id}/{path}"
        }
        "websocket" => {
            let line = format!("traceparent: {traceparent}\r\n");
            let socket = WebSocket::open(par.port, "/agents/surfaces/api/ws", &line).await;
            socket.expect("it is opened").send(CLOSE, &1000_u16.to_be_bytes()).await;
            "GET /agents/{id}/{path}"
        }
        "page" => {
            get("/agents/surfaces/ui/").await;
            "GET /agents/{id}/ui/{path}"
        }
        "own service" => {
            rpc(Rpc::unary("/example.own.Own/Say", field(1, "hello")).to("grpc-own")).await;
            "example.own.Own/Say"
        }
        "action" => {
            rpc(Rpc::unary("/pixell.agent.AgentService/Invoke", field(1, "echo")).to("surfaces")).await;
            "pixell.agent.AgentService/Invoke"
        }
        "export" => {
            rpc(Rpc::unary("/pixell.agent.AgentService/Invoke", field(1, "echo")).to("echo")).await;
            "pixell.agent.AgentService/Invoke"
        }
        other => panic!("{other} is nothing that can be asked for"),
    }
}

#[tokio::test]
async fn every_way_to_a_package_tells_how_long_it_took_to_be_let_in() {
    let collector = Collector::start().await;
    let par = collector.told_by(par()).agent("surfaces").agent("grpc-own").agent("echo").start().await;
    let ways = ["rest", "stream", "websocket", "page", "own service", "action", "export"];
    for (number, way) in ways.into_iter().enumerate() {
        let (trace, traceparent) = trace(number);
        let name = asked(&par, way, &traceparent).await;
        let spans = collector.trace(&trace, 2).await;
        within(&spans, named(&spans, name), "admit");
    }
    // Who is not let in has no such span.
    let (trace, traceparent) = trace(ways.len());
    let request = par.http.request(Method::GET, "/agents/nobody/x").header("traceparent", traceparent);
    request.answer().await.problem(404, "agent_not_found");
    let spans = collector.trace(&trace, 1).await;
    assert!(spans.iter().all(|span| span.text("name") != "admit"), "{spans:#?}");
}

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
    let spans = collector.trace(TRACE, 3).await;
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
    let spans = collector.trace(TRACE, 3).await;
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
