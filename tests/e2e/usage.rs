//! What calls use is recorded once, however they end, and summed up for whoever may see it; nothing of it is lost with
//! the process, and little with the disk.

mod clocks;
mod deaths;
mod disk;
mod kills;
mod tenants;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    Answered, Client, GrpcClient, IdentityProvider, Package, Par, ParBuilder, Rpc, Streamed, eventually,
    eventually_within, grpc::field, par, scratch,
};

const PLAIN: &str = "
import os, time
from pixell_runtime import runtime, usage

def echo(input):
    return input

def tokens():
    usage.record(model='m', input_tokens=60, output_tokens=40)
    return 'x'

def raises():
    raise ValueError('on purpose')

def exits():
    os._exit(3)

def sleeps(*, seconds):
    print('sleeping', flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))
    usage.record(model='m', input_tokens=7)

def items(*, count):
    for number in range(count):
        yield number

def breaks():
    yield 1
    raise ValueError('in the middle')

def endless():
    while True:
        yield 'an item'
        time.sleep(0.01)

def calls(*, agent):
    return runtime.call(agent)

async def waits():
    import asyncio
    print('waiting', flush=True)
    await asyncio.sleep(60)
";

const APPLICATION: &str = r#"
import os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    while (await receive()).get("more_body"):
        pass
    is_empty = scope["path"].endswith("/nothing")
    await send({"type": "http.response.start", "status": 204 if is_empty else 200, "headers": []})
    if scope["path"].endswith("/breaks"):
        await send({"type": "http.response.body", "body": b"a part", "more_body": True})
        os._exit(3)
    await send({"type": "http.response.body", "body": b"" if is_empty else b"whole"})
"#;

fn plain() -> Package {
    let names = ["echo", "tokens", "raises", "exits", "sleeps", "items", "breaks", "endless", "calls"];
    let export = |name: &&str| format!("  - {{id: {name}, handler: 'main:{name}'}}\n");
    let exports: String = names.iter().map(export).collect();
    Package::new("plain", "1.2.0", &format!("exports:\n{exports}")).file("main.py", PLAIN)
}

fn later() -> Package {
    let exports = "exports:\n  - {id: waits, handler: 'main:waits'}\n";
    Package::new("later", "1.0.0", exports).file("main.py", PLAIN)
}

fn site() -> Package {
    Package::new("site", "3.0.0", "rest: {entry: 'web:app'}\n").file("web.py", APPLICATION)
}

fn host(folder: &std::path::Path) -> ParBuilder {
    let par = par().source(plain().directory(folder)).source(later().directory(folder));
    ["agent_conflict", "worker_stuck", "worker_exited", "worker_died", "agent_call", "primary_died"]
        .into_iter()
        .fold(par, ParBuilder::allow)
}

/// A call with a name.
fn call(client: &Client, id: &str, agent: &str, input: &Value) -> reqwest::RequestBuilder {
    let request = client.request(Method::POST, &format!("/agents/{agent}/invoke"));
    request.header("x-request-id", id).json(input)
}

/// What is recorded of a request, calls and amendments apart.
async fn recorded(par: &Par, id: &str) -> (Vec<Value>, Vec<Value>) {
    let answer = par.operator().get(&format!("/runtime/usage/{id}")).await;
    if answer.status == 404 {
        return (vec![], vec![]);
    }
    let records = answer.ok()["records"].as_array().expect("records").clone();
    records.into_iter().partition(|record| record["kind"] == "call")
}

/// The one record of a request that is over.
async fn once(par: &Par, id: &str) -> Value {
    eventually(&format!("{id} is recorded"), async || recorded(par, id).await.0.pop()).await;
    let (mut calls, _) = recorded(par, id).await;
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls.remove(0)
}

#[tokio::test]
async fn however_a_call_ends_it_is_recorded_once_and_before_its_answer() {
    let folder = scratch();
    let par = host(folder.path()).start().await;
    for (id, agent, input, status, outcome) in [
        ("good", "plain/echo", json!({"a": 1}), 200, "ok"),
        ("raised", "plain/raises", json!({}), 500, "agent_error"),
        ("unbound", "plain/sleeps", json!({"minutes": 1}), 422, "input_invalid"),
        ("crashed", "plain/exits", json!({}), 502, "worker_crashed"),
    ] {
        let answer = call(&par.http, id, agent, &input).answer().await;
        assert_eq!(answer.status, status, "{id}: {}", answer.text());
        // No waiting: it was there before the answer.
        let (calls, _) = recorded(&par, id).await;
        assert_eq!(calls.len(), 1, "{id}: {calls:?}");
        let record = &calls[0];
        assert_eq!(record["outcome"], outcome, "{record}");
        assert_eq!((&record["agent"], &record["version"]), (&agent.into(), &"1.2.0".into()), "{record}");
        assert_eq!(
            (&record["tenant"], &record["surface"]),
            (&"127.0.0.1".into(), &"invoke".into()),
            "{record}"
        );
        assert_eq!(record["bytes_out"], answer.body.len(), "{record}");
        assert!(record["duration_us"].as_u64() > Some(0), "{record}");
    }
    let no_json =
        par.http.request(Method::POST, "/agents/plain/echo/invoke").header("x-request-id", "no-json");
    no_json.header("content-type", "application/json").body("{").answer().await.problem(400, "bad_json");
    assert_eq!(once(&par, "no-json").await["outcome"], "bad_json");
    let tokens = call(&par.http, "tokens", "plain/tokens", &json!({})).answer().await;
    assert_eq!(tokens.status, 200);
    assert_eq!(once(&par, "tokens").await["tokens"][0]["input_tokens"], 60);
    let counted = r#"par_tokens_total{agent="plain/tokens",kind="output"} 40"#;
    eventually("its tokens are counted", async || {
        par.metrics().get("/metrics").await.text().contains(counted).then_some(())
    })
    .await;
    // Who was not let in has used nothing.
    call(&par.http, "nobody", "nobody", &json!({})).answer().await.problem(404, "agent_not_found");
    assert_eq!(recorded(&par, "nobody").await, (vec![], vec![]));
}

#[tokio::test]
async fn what_a_call_uses_behind_its_callers_back_is_added_when_it_ends() {
    let folder = scratch();
    let par = host(folder.path()).start().await;
    let late = call(&par.http, "late", "plain/sleeps", &json!({"seconds": 0.4}));
    late.header("x-par-timeout-ms", "100").answer().await.problem(504, "deadline_exceeded");
    assert_eq!(once(&par, "late").await["outcome"], "deadline_exceeded");
    let left = call(&par.http, "left", "plain/sleeps", &json!({"seconds": 0.5}));
    let left = tokio::spawn(left.send());
    par.wait_for_line("it runs", |line| {
        line.event() == "agent_output" && line.mentions("sleeping") && line.mentions("left")
    })
    .await;
    left.abort();
    assert_eq!(once(&par, "left").await["outcome"], "client_closed");
    let amendment = eventually("its worker has told", async || recorded(&par, "left").await.1.pop()).await;
    assert_eq!(amendment["outcome"], "client_closed", "{amendment}");
    assert_eq!(amendment["tokens"][0]["input_tokens"], 7, "{amendment}");
    assert!(amendment["worker_us"].as_u64() > Some(300_000), "{amendment}");
    assert!(amendment["cpu_us"].as_u64() > Some(50_000), "{amendment}");
    assert!(amendment["peak_rss_kb"].as_u64() > Some(1000), "{amendment}");
    let waits = tokio::spawn(call(&par.http, "task", "later/waits", &json!({})).send());
    par.wait_for_line("it runs", |line| line.event() == "agent_output" && line.mentions("waiting")).await;
    waits.abort();
    assert_eq!(once(&par, "task").await["outcome"], "client_closed");
    // One that computed is told by its processor time, one that short calls took by the time itself.
    call(&par.http, "busy", "plain/sleeps", &json!({"seconds": 0.05})).answer().await.ok();
    let busy = once(&par, "busy").await;
    assert!(busy["cpu_us"].as_u64() > Some(5_000), "{busy}");
}

#[tokio::test]
async fn streams_are_recorded_with_all_that_was_sent() {
    let folder = scratch();
    let par = host(folder.path()).start().await;
    let lines =
        |id, agent, input: &Value| call(&par.http, id, agent, input).header("accept", "application/x-ndjson");
    let whole = lines("whole", "plain/items", &json!({"count": 500})).answer().await;
    let (calls, _) = recorded(&par, "whole").await;
    assert_eq!(calls.len(), 1, "before the end of the answer: {calls:?}");
    assert_eq!((&calls[0]["surface"], &calls[0]["outcome"]), (&"stream".into(), &"ok".into()));
    assert_eq!(calls[0]["bytes_out"], whole.body.len());
    let broken = lines("broken", "plain/breaks", &json!({})).answer().await;
    assert_eq!(broken.status, 200);
    assert_eq!(once(&par, "broken").await["outcome"], "agent_error");
    let mut left = Streamed::open(lines("gone", "plain/endless", &json!({}))).await;
    assert!(left.item().await.is_some());
    drop(left);
    let record = once(&par, "gone").await;
    assert_eq!((&record["surface"], &record["outcome"]), (&"stream".into(), &"client_closed".into()));
}

#[tokio::test]
async fn surfaces_grpc_and_calls_between_agents_are_recorded_as_well() {
    let folder = scratch();
    let builder = host(folder.path()).source(site().directory(folder.path())).agent("grpc-own");
    let par = builder.agent("calling").start().await;
    let ask = |id, method, path: &str| par.http.request(method, path).header("x-request-id", id).try_answer();
    for (id, method, path, bytes) in [
        ("page", Method::GET, "/agents/site/x", 5),
        ("head", Method::HEAD, "/agents/site/x", 0),
        ("empty", Method::POST, "/agents/site/nothing", 0),
    ] {
        ask(id, method, path).await.expect("an answer");
        let (calls, _) = recorded(&par, id).await;
        assert_eq!(calls.len(), 1, "{id}: {calls:?}");
        assert_eq!((&calls[0]["agent"], &calls[0]["surface"]), (&"site".into(), &"rest".into()));
        assert_eq!((&calls[0]["outcome"], &calls[0]["bytes_out"]), (&"ok".into(), &bytes.into()), "{id}");
    }
    assert!(ask("torn", Method::GET, "/agents/site/breaks").await.is_err(), "it has no proper end");
    assert_eq!(once(&par, "torn").await["outcome"], "worker_crashed");

    let said = Rpc::unary("/example.own.Own/Say", field(1, "x")).to("grpc-own").with("x-request-id", "said");
    GrpcClient::Python.one(&par, said).await.ok();
    let record = once(&par, "said").await;
    assert_eq!((&record["agent"], &record["surface"]), (&"grpc-own".into(), &"grpc".into()), "{record}");
    assert_eq!(record["outcome"], "ok", "{record}");

    call(&par.http, "outer", "plain/calls", &json!({"agent": "plain/tokens"})).answer().await;
    let inner = eventually("both are recorded", async || {
        let (calls, _) = recorded(&par, "outer").await;
        (calls.len() == 2).then_some(calls)
    })
    .await;
    // The inner one ends first.
    assert_eq!((&inner[0]["agent"], &inner[0]["surface"]), (&"plain/tokens".into(), &"call".into()));
    assert_eq!((&inner[0]["depth"], &inner[1]["depth"]), (&1.into(), &0.into()));
    assert_eq!(inner[1]["surface"], "invoke");
}

#[tokio::test]
async fn a_caller_sees_its_own_tenant_and_a_viewer_everybody() {
    let folder = scratch();
    let issuer = IdentityProvider::start().await;
    issuer.knows("ann", json!({"tenant": "acme"})).await;
    issuer.knows("bob", json!({"tenant": "=umbrella"})).await;
    issuer.knows("eve", json!({"tenant": "ops", "roles": ["par-viewer"]})).await;
    let par = issuer.believed_by(host(folder.path())).start().await;
    let mut clients = vec![];
    for name in ["ann", "bob", "eve"] {
        clients.push(par.http.with_bearer(&issuer.token(name).await));
    }
    let [ann, bob, eve] = &clients[..] else { panic!("three") };
    call(ann, "anns", "plain/tokens", &json!({})).answer().await.ok();
    for _ in 0..2 {
        bob.invoke("plain/echo", &json!({})).await.ok();
    }
    let own = ann.get("/runtime/usage").await.ok();
    assert_eq!(own["rows"].as_array().map(Vec::len), Some(1), "{own}");
    let row = &own["rows"][0];
    assert_eq!((&row["agent"], &row["requests"]), (&"plain/tokens".into(), &1.into()));
    assert_eq!((&row["input_tokens"], &row["output_tokens"]), (&60.into(), &40.into()));
    assert!(row["compute_seconds"].as_f64() > Some(0.0), "{row}");
    let of = |rows: &Value| -> Vec<(String, u64)> {
        let rows = rows["rows"].as_array().expect("rows").iter();
        let row = |row: &Value| {
            (
                row["tenant"].as_str().expect("a tenant").to_owned(),
                row["requests"].as_u64().expect("a number"),
            )
        };
        rows.map(row).collect()
    };
    let mine = bob.get("/runtime/usage?by=tenant&since=1h").await.ok();
    assert_eq!(of(&mine), [("=umbrella".to_owned(), 2)]);
    let all = eve.get("/runtime/usage?by=tenant,version,day,hour,outcome").await.ok();
    assert_eq!(of(&all), [("=umbrella".to_owned(), 2), ("acme".to_owned(), 1)]);
    assert_eq!(of(&eve.get("/runtime/usage?by=tenant&tenant=acme").await.ok()), [("acme".to_owned(), 1)]);
    assert_eq!(eve.get("/runtime/usage?until=2020-01-01").await.ok()["rows"], json!([]));
    ann.get("/runtime/usage?tenant=%3Dumbrella").await.problem(403, "forbidden");
    par.http.get("/runtime/usage").await.problem(401, "unauthenticated");
    for query in ["by=colour", "since=yesterday", "format=xml", "x=1"] {
        eve.get(&format!("/runtime/usage?{query}")).await.problem(400, "bad_request");
    }
    let csv =
        eve.request(Method::GET, "/runtime/usage?by=tenant").header("accept", "text/csv").answer().await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let lines: Vec<_> = csv.text().lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("tenant,requests,errors,"), "{lines:?}");
    assert!(lines[1].starts_with("\"'=umbrella\",2,0,"), "{lines:?}");
    // Who asks about one request sees it only if it is its own.
    assert_eq!(ann.get("/runtime/usage/anns").await.ok()["records"][0]["tenant"], "acme");
    bob.get("/runtime/usage/anns").await.problem(404, "not_found");
    let subject = eve.get("/runtime/usage/anns").await.ok()["records"][0]["subject"].clone();
    let line = par.wait_for_line("its line", |line| line.event() == "access" && line.mentions("anns")).await;
    assert!(line.mentions(subject.as_str().expect("a hash")), "the subject is told as in the log");
}

#[tokio::test]
async fn the_command_tells_the_same_of_a_running_par_and_of_its_directory() {
    let folder = scratch();
    let par = host(folder.path()).start().await;
    call(&par.http, "one", "plain/echo", &json!({})).answer().await.ok();
    call(&par.http, "two", "plain/raises", &json!({})).answer().await.problem(500, "agent_error");
    let running = par.cli(&["usage", "--by", "agent,outcome", "--json"]).await;
    assert_eq!(running.json()["rows"].as_array().map(Vec::len), Some(2), "{running:?}");
    let table = par.cli(&["usage"]).await;
    assert!(table.stdout.starts_with("AGENT"), "{table:?}");
    assert!(table.stdout.contains("plain/raises  1         1"), "{table:?}");
    let csv = par.cli(&["usage", "--csv", "--by", "tenant"]).await;
    assert!(csv.stdout.contains("\n127.0.0.1,2,1,"), "{csv:?}");
    let one = par.cli(&["usage", "--request", "one"]).await;
    assert!(one.stdout.contains("plain/echo"), "{one:?}");
    assert_eq!(par.cli(&["usage", "--request", "none"]).await.code, 1);
    assert_eq!(par.cli(&["usage", "--by", "colour"]).await.code, 64);
    assert_eq!(par.cli(&["usage", "--since", "soon"]).await.code, 64);
    par.term();
    let mut par = par;
    par.exit().await;
    let offline = par.cli(&["usage", "--by", "agent,outcome", "--json"]).await;
    assert_eq!(offline.json()["rows"], running.json()["rows"], "{offline:?}");
    let two = par.cli(&["usage", "--request", "two", "--json"]).await;
    assert_eq!(two.json()["records"][0]["outcome"], "agent_error", "{two:?}");
    let calls = par.cli(&["usage", "--calls"]).await;
    assert_eq!(calls.stdout.lines().count(), 2, "{calls:?}");
}

#[tokio::test]
async fn nothing_is_recorded_where_metering_is_off() {
    let folder = scratch();
    let par = host(folder.path()).setting("metering.enabled", false).start().await;
    par.http.invoke("plain/echo", &json!({})).await.ok();
    assert_eq!(par.operator().get("/runtime/usage").await.ok()["rows"], json!([]));
    assert!(!par.data_dir().join("usage").exists());
}

#[tokio::test]
async fn records_are_kept_for_their_time_and_sums_stay() {
    let folder = scratch();
    let builder = host(folder.path()).setting("metering.segment_bytes", "256KiB");
    let par = builder.setting("metering.journal_bytes", "300KiB").start().await;
    call(&par.http, "first", "plain/echo", &json!({})).answer().await.ok();
    once(&par, "first").await;
    let callers = (0..8).map(|_| {
        let client = par.http.clone();
        tokio::spawn(async move {
            for _ in 0..600 {
                client.invoke("plain/echo", &json!({})).await.ok();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("a caller that did not panic");
    }
    // What is written to now and next is there always.
    eventually_within(Duration::from_secs(60), "segments go", async || {
        let folder = std::fs::read_dir(par.data_dir().join("usage")).expect("a folder");
        let segments = folder.filter(|file| {
            file.as_ref().is_ok_and(|file| file.path().extension().is_some_and(|suffix| suffix == "usage"))
        });
        (segments.count() <= 3).then_some(())
    })
    .await;
    par.operator().get("/runtime/usage/first").await.problem(404, "not_found");
    assert_eq!(par.operator().get("/runtime/usage").await.ok()["rows"][0]["requests"], 4801);
}
