//! Agents call agents: without a network, on behalf of whoever made the first call, and never for ever.

mod broken;
mod deadlines;

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answered, IdentityProvider, Package, Par, Streamed, par, scratch};

async fn host() -> Par {
    par().agent("calling").agent("called").start().await
}

async fn ask(par: &Par, agent: &str, input: Value) -> Value {
    par.http.invoke("calling/ask", &json!({"agent": agent, "input": input})).await.ok()
}

#[tokio::test]
async fn an_agent_calls_another_by_any_of_its_ids() {
    let par = host().await;
    for id in ["called/double", "called@1.0.0/double", "double", "double@1.0.0"] {
        assert_eq!(ask(&par, id, json!({"number": 4})).await, json!({"result": "{'double': 8}"}), "{id}");
    }
    let asked = json!({"agent": "double", "input": {"number": 5}});
    assert_eq!(par.http.invoke("aask", &asked).await.ok(), json!({"result": "{'double': 10}"}));
    assert_eq!(ask(&par, "octets", json!({})).await["result"], r"b'\x00\x01\x02'");
    let inputs: Vec<_> = (0..40).map(|number| json!({"number": number})).collect();
    let doubled = par.http.invoke("gather", &json!({"agent": "double", "inputs": inputs})).await.ok();
    let wanted: Vec<_> = (0..40).map(|number| json!({"double": 2 * number})).collect();
    assert_eq!(doubled, json!(wanted), "each has its own answer");
}

#[tokio::test]
async fn private_agents_are_for_agents_only() {
    let par = host().await;
    par.http.invoke("called/secret", &json!({})).await.problem(404, "agent_not_found");
    assert_eq!(ask(&par, "called/secret", json!({})).await["result"], "known to agents of this host only");
}

#[tokio::test]
async fn what_fails_is_told_by_its_code() {
    let par = par().agent("calling").agent("called").allow("agent_call").start().await;
    for (agent, input, code) in [
        ("nobody", json!({}), "agent_not_found"),
        ("double", json!({"number": "four"}), "input_invalid"),
        ("raises", json!({}), "agent_error"),
        ("billing", json!({}), "unauthenticated"),
    ] {
        let told = ask(&par, agent, input).await;
        assert_eq!(told["code"], code, "{agent}: {told}");
    }
    let raised = ask(&par, "raises", json!({})).await;
    assert_eq!(raised["error"]["type"], "KeyError", "{raised}");
    assert_eq!(ask(&par, "double", json!({"number": 1.5})).await["errors"][0]["path"], "/number");
    let operator = par.operator();
    let off = operator.post("/runtime/agents/called%2Fdouble/enable", &json!({"enabled": false})).await;
    assert_eq!(off.status, 200, "{}", off.text());
    assert_eq!(ask(&par, "double", json!({"number": 1})).await["code"], "agent_disabled");
    // What the handler does not catch is its own error.
    par.http.invoke("aask", &json!({"agent": "nobody"})).await.problem_naming(
        500,
        "agent_error",
        &["CallFailed"],
    );
}

#[tokio::test]
async fn request_trace_and_deadline_are_those_of_the_first_call() {
    let par = host().await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = par.http.request(Method::POST, "/agents/calling/aask/invoke");
    let request = request.header("x-request-id", "first").header("traceparent", parent);
    let answer =
        request.header("x-par-timeout-ms", "5000").json(&json!({"agent": "who"})).answer().await.ok();
    let told = answer["result"].as_str().expect("text").to_owned();
    for part in ["'request': 'first'", parent, "'agent': 'called@1.0.0/who'", "'caller': None"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let remaining = told.split("'remaining': ").nth(1).and_then(|rest| rest.split(',').next());
    let remaining: f64 = remaining.and_then(|text| text.parse().ok()).expect("a number");
    assert!(remaining <= 5.0, "{remaining}");
    let line = par.wait_for_line("the call between", |line| line.event() == "agent_call").await;
    assert_eq!((&line["request_id"], &line["agent_id"]), (&json!("first"), &json!("called@1.0.0/who")));
    let metrics = par.metrics().get("/metrics").await.text();
    assert!(metrics.contains(r#"par_requests_total{agent="called@1.0.0/who",code="ok""#), "{metrics}");
}

#[tokio::test]
async fn a_deadline_ends_the_whole_chain() {
    let par = par()
        .agent("calling")
        .agent("called")
        .allow("worker_stuck")
        .allow("worker_died")
        .allow("access")
        .allow("agent_call")
        .start()
        .await;
    let began = Instant::now();
    let request =
        par.http.request(Method::POST, "/agents/calling/aask/invoke").header("x-par-timeout-ms", "600");
    let input = json!({"agent": "sleep", "input": {"seconds": 30}});
    request.json(&input).answer().await.problem(504, "deadline_exceeded");
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(ask(&par, "double", json!({"number": 1})).await["result"], "{'double': 2}");
}

#[tokio::test]
async fn roles_are_those_of_who_made_the_first_call() {
    let issuer = IdentityProvider::start().await;
    issuer.knows("plain", json!({})).await;
    issuer.knows("biller", json!({"roles": ["billing"]})).await;
    let par = issuer.believed_by(par()).agent("calling").agent("called").start().await;
    let plain = par.http.with_bearer(&issuer.token("plain").await);
    let billing = par.http.with_bearer(&issuer.token("biller").await);
    let asked = json!({"agent": "billing"});
    let denied = plain.invoke("calling/ask", &asked).await.ok();
    assert_eq!(denied["code"], "forbidden", "{denied}");
    assert_eq!(
        billing.invoke("calling/ask", &asked).await.ok()["result"],
        "known to agents of this host only"
    );
    let who = billing.invoke("calling/ask", &json!({"agent": "who"})).await.ok();
    assert!(!who["result"].as_str().unwrap_or_default().contains("'caller': None"), "{who}");
}

#[tokio::test]
async fn items_pass_through_one_by_one() {
    let par = host().await;
    for export in ["follow", "afollow"] {
        let request = par.http.request(Method::POST, &format!("/agents/calling/{export}/invoke"));
        let request = request.header("accept", "application/x-ndjson");
        // More than may wait anywhere on the way.
        let input = json!({"agent": "count", "input": {"to": 200, "size": 10_000}});
        let items = Streamed::open(request.json(&input)).await.of_kind("application/x-ndjson").items().await;
        let numbers: Vec<_> = items.iter().map(|item| item["number"].as_u64()).collect();
        assert_eq!(numbers, (0..200).map(Some).collect::<Vec<_>>(), "{export}");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_ends_what_is_behind_it() {
    for export in ["follow", "afollow"] {
        let par = host().await;
        let request = par.http.request(Method::POST, &format!("/agents/calling/{export}/invoke"));
        let request = request.header("accept", "application/x-ndjson");
        let input = json!({"agent": "count", "input": {"to": 1_000_000_000, "size": 1000}});
        let mut stream = Streamed::open(request.json(&input)).await;
        assert!(stream.item().await.is_some());
        drop(stream);
        par.wait_for_line("the end of the generator", |line| line.mentions("counting ended")).await;
        par.wait_for_line("the access line", |line| line["code"] == "client_closed").await;
        assert_eq!(ask(&par, "double", json!({"number": 1})).await["result"], "{'double': 2}");
    }
}

#[tokio::test]
async fn an_agent_that_calls_itself_for_ever_is_told_so() {
    let par = par().agent("calling").start().await;
    let began = Instant::now();
    let answer = par.http.invoke("again", &json!({})).await;
    answer.problem_naming(500, "agent_error", &["nested"]);
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn workers_that_wait_for_each_other_are_told_instead_of_waiting() {
    // A call needs as many workers as it goes deep: one more than there may be would wait for itself. With two, it is
    // known only after the second one was started.
    let code = "from pixell_runtime import runtime\n\
        def run(input):\n    return input['n'] and runtime.call('lonely', n=input['n'] - 1)\n";
    for most in [1, 2] {
        let manifest = format!("entrypoint: main:run\nworkers: {{min: 1, max: {most}}}\n");
        let (package, scratch) =
            (Package::new("lonely", "1.0.0", &manifest).file("main.py", code), scratch());
        let par = par().source(package.directory(scratch.path())).allow("agent_call").start().await;
        let began = Instant::now();
        let told = par.http.invoke("lonely", &json!({"n": most})).await;
        told.problem_naming(500, "agent_error", &["queue_full", "waits"]);
        assert!(began.elapsed() < Duration::from_secs(5), "it was waited for");
        assert_eq!(par.http.invoke("lonely", &json!({"n": most - 1})).await.ok(), json!(0));
    }
}

#[tokio::test]
async fn tokens_are_charged_to_who_made_the_first_call() {
    let par = par().agent("calling").agent("called").setting("limits.tenant_daily_tokens", 200);
    let par = par.start().await;
    for _ in 0..2 {
        assert_eq!(ask(&par, "spends", json!({})).await["result"], "spent");
    }
    let request = json!({"agent": "spends"});
    par.http.invoke("calling/ask", &request).await.problem(429, "quota_exceeded");
}
