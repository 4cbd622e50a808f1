//! Tokens that agents report are charged to the tenant of their caller, however a call ends and whoever still waits for
//! it. Identity is off here, so every address of loopback is a tenant of its own.

use reqwest::Method;
use serde_json::json;

use super::limits::tenant;
use crate::harness::{Answered, Client, Package, Par, Streamed, eventually, par, scratch};

/// Each of these reports all that a tenant has for the day.
const PLAIN: &str = "
import time
from pixell_runtime import runtime, usage

def spend():
    usage.record(model='m', input_tokens=60, output_tokens=40)

def endless():
    spend()
    while True:
        yield 'an item'
        time.sleep(0.01)

def closes():
    try:
        while True:
            yield 'an item'
            time.sleep(0.01)
    finally:
        spend()

def raises():
    spend()
    raise ValueError('on purpose')

def unsound():
    spend()
    return object()

def passes_on(*, agent):
    yield from runtime.stream(agent)

def nothing():
    return None
";

const ASYNC: &str = "
import asyncio
from pixell_runtime import usage

def spend():
    usage.record(model='m', input_tokens=60, output_tokens=40)

async def endless():
    spend()
    while True:
        yield 'an item'
        await asyncio.sleep(0.01)

async def raises():
    spend()
    raise ValueError('on purpose')

async def late():
    spend()
    await asyncio.sleep(60)

async def waits():
    spend()
    print('waiting', flush=True)
    await asyncio.sleep(60)
";

async fn host(folder: &std::path::Path) -> Par {
    let exports = |names: &[&str]| {
        let export = |name: &&str| format!("  - {{id: {name}, handler: 'main:{name}'}}\n");
        format!("exports:\n{}", names.iter().map(export).collect::<String>())
    };
    let plain = exports(&["endless", "closes", "raises", "unsound", "passes_on", "nothing"]);
    let plain = Package::new("plain", "1.0.0", &plain).file("main.py", PLAIN);
    let later = exports(&["endless", "raises", "late", "waits"]);
    let later = Package::new("later", "1.0.0", &later).file("main.py", ASYNC);
    let par = par().source(plain.directory(folder)).source(later.directory(folder));
    let par = par.setting("limits.tenant_daily_tokens", 100).allow("access").allow("agent_conflict");
    par.allow("agent_call").start().await
}

/// Waits until a tenant has nothing left; what it calls meanwhile costs nothing.
async fn is_charged(client: &Client, what: &str) {
    eventually(&format!("{what} is charged"), async || {
        let answer = client.invoke("plain/nothing", &json!({})).await;
        (answer.status != 200).then(|| answer.problem(429, "quota_exceeded"))
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_leaves_pays_for_what_its_stream_has_used() {
    let folder = scratch();
    let par = host(folder.path()).await;
    let calls = [
        ("plain/endless", ""),
        ("plain/closes", ""),
        ("later/endless", ""),
        ("plain/passes_on", "later/endless"),
    ];
    for ((agent, behind), number) in calls.into_iter().zip(2..) {
        let client = tenant(&par, number);
        let request = client.request(Method::POST, &format!("/agents/{agent}/invoke"));
        let input = if behind.is_empty() { json!({}) } else { json!({"agent": behind}) };
        let mut stream = Streamed::open(request.header("accept", "application/x-ndjson").json(&input)).await;
        assert!(stream.item().await.is_some(), "{agent}");
        drop(stream);
        is_charged(&client, agent).await;
    }
    assert_eq!(tenant(&par, 100).invoke("plain/nothing", &json!({})).await.status, 200, "nobody else pays");
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_answer_pays_too() {
    let folder = scratch();
    let par = host(folder.path()).await;
    let client = tenant(&par, 2);
    let waiting = client.request(Method::POST, "/agents/later/waits/invoke").json(&json!({}));
    let waiting = tokio::spawn(waiting.send());
    par.wait_for_line("it runs", |line| line.event() == "agent_output" && line.mentions("waiting")).await;
    waiting.abort();
    is_charged(&client, "a call whose caller left").await;
}

#[tokio::test]
async fn a_call_that_fails_is_paid_before_its_answer() {
    let folder = scratch();
    let par = host(folder.path()).await;
    for (agent, number) in ["plain/raises", "plain/unsound", "later/raises"].into_iter().zip(2..) {
        let client = tenant(&par, number);
        client.invoke(agent, &json!({})).await.problem(500, "agent_error");
        client.invoke("plain/nothing", &json!({})).await.problem(429, "quota_exceeded");
    }
}

#[tokio::test]
async fn a_call_that_meets_its_deadline_is_paid() {
    let folder = scratch();
    let par = host(folder.path()).await;
    let client = tenant(&par, 2);
    let late = client.request(Method::POST, "/agents/later/late/invoke").header("x-par-timeout-ms", "300");
    late.json(&json!({})).answer().await.problem(504, "deadline_exceeded");
    is_charged(&client, "a call past its deadline").await;
}
