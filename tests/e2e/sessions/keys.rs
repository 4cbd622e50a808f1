//! Which session a call belongs to, and whose it is.

use serde_json::json;

use super::{call, count, counting, listed, serving, started};
use crate::harness::{
    Answered, GrpcClient, IdentityProvider, Rpc,
    grpc::{field, text_of},
    par,
};

#[tokio::test]
async fn a_session_is_named_by_header_envelope_or_input() {
    let par = serving(&counting("1.0.0", "{mode: sticky}", "")).await;
    assert_eq!(count(&par.http, "s").await["n"], 1);
    let enveloped = par.http.envelope("count", &json!({"input": {}, "session_id": "s"})).await.ok();
    assert_eq!((&enveloped["output"]["n"], &enveloped["metadata"]["session_id"]), (&json!(2), &json!("s")));
    let by_input = par.http.invoke("count", &json!({"session_id": "s"})).await;
    assert_eq!((by_input.ok()["n"].clone(), by_input.header("x-par-session")), (json!(3), "s"));
    let nested = par.http.envelope("count", &json!({"input": {"session_id": "s"}})).await.ok();
    assert_eq!((&nested["output"]["n"], &nested["metadata"]["session_id"]), (&json!(4), &json!("s")));
    // Only a text is a name.
    assert_eq!(par.http.invoke("count", &json!({"session_id": 7})).await.ok()["n"], json!(null));
    let both = par.http.request(reqwest::Method::POST, "/runtime/agents/count/invoke");
    let both = both.header("x-par-session", "s").json(&json!({"input": {}, "session_id": "t"}));
    both.answer().await.problem(400, "bad_request");
}

#[tokio::test]
async fn a_package_without_sessions_keeps_session_id_of_its_input_to_itself() {
    let par = serving(&counting("1.0.0", "{mode: none}", "")).await;
    let answer = par.http.invoke("count", &json!({"session_id": "a b"})).await;
    assert_eq!((answer.ok()["id"].clone(), answer.header("x-par-session")), (json!(null), ""));
}

#[tokio::test]
async fn an_id_that_is_too_long_or_not_visible_is_refused() {
    for mode in ["none", "sticky"] {
        let par = serving(&counting("1.0.0", &format!("{{mode: {mode}}}"), "")).await;
        let huge = "x".repeat(9_500_000);
        for id in [huge.as_str(), "a\nb", "a\u{0}", "a b", "", &"x".repeat(129)] {
            let told = par.http.envelope("count", &json!({"input": {}, "session_id": id})).await;
            told.problem_naming(400, "bad_request", &["session id"]);
            if mode == "sticky" {
                let told = par.http.invoke("count", &json!({"session_id": id})).await;
                told.problem_naming(400, "bad_request", &["session id"]);
            }
        }
        call(&par.http, &"x".repeat(129), &json!({})).await.problem(400, "bad_request");
        // 10 MB are more than a body may have; whoever goes on sending may meet the end of the connection first.
        let request = par.http.request(reqwest::Method::POST, "/runtime/agents/count/invoke");
        let request = request.json(&json!({"input": {}, "session_id": "x".repeat(11 << 20)}));
        if let Ok(told) = request.try_answer().await {
            told.problem(413, "too_large");
        }
        assert!(listed(&par).await.is_empty());
        assert_eq!(count(&par.http, &"x".repeat(128)).await["n"], 1, "the runtime is well");
    }
}

#[tokio::test]
async fn somebody_elses_session_is_not_there() {
    let issuer = IdentityProvider::start().await;
    for (name, tenant) in [("ann", "acme"), ("bob", "acme"), ("eve", "evil")] {
        issuer.knows(name, json!({"tenant": tenant})).await;
    }
    issuer.knows("viewer", json!({"roles": ["par-viewer"]})).await;
    let par = started(issuer.believed_by(par()), &counting("1.0.0", "{mode: sticky}", "")).await;
    let as_who = async |name: &str| par.http.with_bearer(&issuer.token(name).await);
    let (ann, bob, eve) = (as_who("ann").await, as_who("bob").await, as_who("eve").await);
    assert_eq!(count(&ann, "s").await["n"], 1);
    for other in [&bob, &eve] {
        call(other, "s", &json!({})).await.problem(404, "session_not_found");
    }
    assert_eq!(count(&ann, "s").await["n"], 2, "nobody else was in it");
    let told = as_who("viewer").await.get("/runtime/sessions").await.ok();
    assert_eq!((&told["sessions"][0]["id"], &told["sessions"][0]["tenant"]), (&json!("s"), &json!("acme")));
    as_who("viewer").await.delete("/runtime/sessions/s").await.problem(403, "forbidden");
}

#[tokio::test]
async fn the_name_of_a_session_reaches_an_agent_by_grpc_too() {
    let par = serving(&counting("1.0.0", "{mode: sticky}", "")).await;
    assert_eq!(count(&par.http, "s").await["n"], 1);
    let request = [field(1, "count"), field(3, "r-1")].concat();
    let rpc = Rpc::unary("/pixell.agent.AgentService/Invoke", request).to("kept").with("x-par-session", "s");
    let told = GrpcClient::Python.ask(&par, &[rpc]).await;
    let result: serde_json::Value =
        serde_json::from_str(&text_of(told[0].ok(), 2)).expect("a result is JSON");
    assert_eq!(result["n"], 2, "{result}");
}
