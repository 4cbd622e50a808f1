//! Sessions: what callers keep between their calls, whose it is, and how its end is told.

mod ends;
mod isolated;
mod keys;
mod nested;
mod rollouts;
mod surfaces;

use serde_json::{Value, json};

use crate::harness::{Answer, Answered, Client, Package, Par, ParBuilder, eventually, par, scratch};

/// Counts in the state of its session and in its module, and does what a test asks for.
const CODE: &str = "
import os, time

CALLS = []


def count(input, context):
    CALLS.append(1)
    if input.get('exit'):
        os._exit(3)
    if input.get('fill'):
        context.session.state['ballast'] = os.urandom(1 << 20) * input['fill']
    if input.get('begin'):
        print('began', input['begin'], flush=True)
    time.sleep(input.get('sleep', 0))
    if input.get('anew'):
        # What a call that the worker reads only now would get.
        from pixell_runtime.context import current
        context = current()
    if context.session is None:
        return {'pid': os.getpid(), 'calls': len(CALLS), 'n': None, 'id': None}
    state = context.session.state
    state['n'] = state.get('n', 0) + 1
    state.setdefault('order', []).append(input.get('mark'))
    return {'pid': os.getpid(), 'calls': len(CALLS), 'n': state['n'], 'id': context.session.id,
            'order': state['order']}


async def later(input, context):
    import asyncio
    await asyncio.sleep(input.get('sleep', 0))
    state = context.session.state
    state['n'] = state.get('n', 0) + 1
    return {'pid': os.getpid(), 'n': state['n']}
";

/// A package of that code; `more` are further lines of its manifest.
fn counting(version: &str, session: &str, more: &str) -> Package {
    let exports = "exports: [{id: count, handler: 'main:count'}]";
    Package::new("kept", version, &format!("session: {session}\n{exports}\n{more}")).file("main.py", CODE)
}

async fn serving(package: &Package) -> Par {
    started(par(), package).await
}

async fn started(builder: ParBuilder, package: &Package) -> Par {
    let folder = scratch();
    builder.source(package.apkg(folder.path())).start().await
}

/// A call of a session, by the header.
async fn call(client: &Client, session: &str, input: &Value) -> Answer {
    let request = client.request(reqwest::Method::POST, "/agents/count/invoke");
    request.header("x-par-session", session).json(input).answer().await
}

/// A call of a session that counts: what it answered.
async fn count(client: &Client, session: &str) -> Value {
    call(client, session, &json!({})).await.ok()
}

/// The sessions that live, by their ids.
async fn listed(par: &Par) -> Vec<Value> {
    let told = par.operator().get("/runtime/sessions").await.ok();
    told["sessions"].as_array().cloned().expect("sessions")
}

/// The session of an id, as it is listed.
async fn one(par: &Par, id: &str) -> Option<Value> {
    listed(par).await.into_iter().find(|session| session["id"] == id)
}

/// Waits until a session is over. To look at it keeps none alive.
async fn over(par: &Par, id: &str) {
    eventually(&format!("{id} is over"), async || one(par, id).await.is_none().then_some(())).await;
}

/// The end is told once, and then the id begins anew.
async fn lost(client: &Client, session: &str, cause: &str) {
    call(client, session, &json!({})).await.problem_naming(410, "session_lost", &[cause]);
    assert_eq!(count(client, session).await["n"], 1, "told once, then the id is free");
}

#[tokio::test]
async fn a_sticky_session_keeps_its_state_and_its_worker() {
    let par = serving(&counting("1.0.0", "{mode: sticky}", "workers: {min: 3}")).await;
    let first = call(&par.http, "a", &json!({})).await;
    assert_eq!(first.header("x-par-session"), "a", "the session that was used stands in the answer");
    let home = first.ok()["pid"].clone();
    for n in 2..=5 {
        let now = count(&par.http, "a").await;
        assert_eq!((&now["n"], &now["pid"], &now["id"]), (&json!(n), &home, &json!("a")));
        // Others go where there is room, and have no part in it.
        assert_eq!(par.http.invoke("count", &json!({})).await.ok()["n"], Value::Null);
    }
    assert_eq!(count(&par.http, "b").await["n"], 1, "another session is another state");
    let told = one(&par, "a").await.expect("it is listed");
    assert_eq!((&told["worker"], &told["calls"], &told["mode"]), (&home, &json!(5), &json!("sticky")));
    assert_eq!((&told["package"], &told["agent"]), (&json!("kept@1.0.0"), &json!("kept@1.0.0/count")));
    assert!(told["age"].as_f64() >= told["idle"].as_f64() && told["pss_bytes"].as_u64() > Some(0), "{told}");
}

#[tokio::test]
async fn sessions_are_spread_over_workers_and_keep_them_alive() {
    let package = counting("1.0.0", "{mode: sticky}", "workers: {min: 1, max: 4}");
    let par = started(par().setting("pool.idle_ttl", "300ms"), &package).await;
    // Both at once need two workers.
    let wait = json!({"sleep": 0.5});
    let (a, b) = tokio::join!(call(&par.http, "a", &wait), call(&par.http, "b", &wait));
    let (a, b) = (a.ok()["pid"].clone(), b.ok()["pid"].clone());
    assert_ne!(a, b, "a worker that is busy takes no session that another has room for");
    let workers = async || par.package("kept@1.0.0").await.expect("mounted")["workers"].clone();
    // A third one without a session is reaped, those two are not.
    let busy = (0..3).map(|_| par.http.invoke("count", &wait));
    futures_util::future::join_all(busy).await;
    let reaped = async || (workers().await.as_array().map(Vec::len) == Some(2)).then_some(());
    eventually("workers without sessions are reaped", reaped).await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert_eq!(
        (count(&par.http, "a").await["pid"].clone(), count(&par.http, "b").await["pid"].clone()),
        (a, b)
    );
}

#[tokio::test]
async fn calls_of_one_session_run_in_order_one_at_a_time() {
    for mode in ["sticky", "isolated"] {
        let par = serving(&counting("1.0.0", &format!("{{mode: {mode}}}"), "workers: {min: 2}")).await;
        count(&par.http, "s").await;
        let (http, held) = (par.http.clone(), json!({"sleep": 1.0, "mark": 0, "begin": "first"}));
        let first = tokio::spawn(async move { call(&http, "s", &held).await });
        par.wait_for_line("it runs", |line| line.event() == "agent_output" && line.mentions("began first"))
            .await;
        let mut waiting = Vec::new();
        for mark in 1..=4 {
            let http = par.http.clone();
            waiting.push(tokio::spawn(async move { call(&http, "s", &json!({"mark": mark})).await }));
            // One after the other at the gateway, too.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        first.await.expect("a task").ok();
        let mut last = Value::Null;
        for call in waiting {
            last = call.await.expect("a task").ok();
        }
        assert_eq!(last["order"], json!([null, 0, 1, 2, 3, 4]), "{mode}");
    }
}

#[tokio::test]
async fn a_call_that_could_not_start_in_its_session_says_so_and_costs_nothing() {
    let par = started(par().allow("access"), &counting("1.0.0", "{mode: isolated}", "")).await;
    count(&par.http, "s").await;
    let (http, held) = (par.http.clone(), json!({"sleep": 1.5, "begin": "long"}));
    let first = tokio::spawn(async move { call(&http, "s", &held).await });
    par.wait_for_line("it runs", |line| line.event() == "agent_output" && line.mentions("began long")).await;
    let request = par.http.request(reqwest::Method::POST, "/agents/count/invoke").json(&json!({}));
    let late = request.header("x-par-session", "s").header("x-par-timeout-ms", "200").answer().await;
    late.problem(503, "queue_full");
    assert!(!late.header("retry-after").is_empty());
    assert_eq!(first.await.expect("a task").ok()["n"], 2);
    assert_eq!(count(&par.http, "s").await["n"], 3, "the session is as it was");
}

#[tokio::test]
async fn without_a_mode_an_id_is_passed_on_and_nothing_is_kept() {
    let par = serving(&counting("1.0.0", "{mode: none}", "")).await;
    for _ in 0..2 {
        let now = count(&par.http, "s").await;
        assert_eq!((&now["n"], &now["id"]), (&json!(1), &json!("s")));
    }
    assert!(listed(&par).await.is_empty());
}

#[tokio::test]
async fn live_sessions_are_counted_by_package() {
    let par = serving(&counting("1.0.0", "{mode: sticky}", "")).await;
    for id in ["a", "b"] {
        count(&par.http, id).await;
    }
    let shown = async |wanted: &str| {
        let text = par.metrics().get("/metrics").await.text();
        text.contains(&format!("par_sessions{{package=\"kept@1.0.0\"}} {wanted}\n")).then_some(())
    };
    eventually("two live", async || shown("2").await).await;
    par.operator().delete("/runtime/sessions/a").await.ok();
    eventually("one lives", async || shown("1").await).await;
}

#[tokio::test]
async fn the_example_remembers_what_was_said() {
    let par = par().agent("sessions").start().await;
    let say = async |text: &str| {
        let request = par.http.request(reqwest::Method::POST, "/agents/chat/invoke");
        request.header("x-par-session", "me").json(&json!({"text": text})).answer().await.ok()
    };
    say("hello").await;
    assert_eq!(say("again").await, json!({"session": "me", "said": ["hello", "again"]}));
    assert_eq!(par.http.invoke("chat", &json!({"text": "hi"})).await.ok(), json!({"said": ["hi"]}));
}
