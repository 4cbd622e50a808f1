//! Sessions and calls between agents: the session is that of the first call, and each package keeps its own state in it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Answer, Answered, Package, Par, par, scratch};

/// Counts in the state of its session, and calls on.
const CODE: &str = "
from pixell_runtime import errors, runtime

def visit(*, context, then=()):
    named = context.session
    n = None
    if named is not None:
        n = named.state['n'] = named.state.get('n', 0) + 1
    told = [[context.agent_id.partition('@')[0], named and named.id, n]]
    if then:
        try:
            told += runtime.call(then[0], then=then[1:])
        except errors.CallFailed as failed:
            told.append([then[0], failed.code, failed.detail])
    return told
";

async fn host(mode: &str) -> (TempDir, Par) {
    let folder = scratch();
    let package = |name: &str, mode: &str| {
        let manifest = format!("session: {{mode: {mode}}}\nexports: [{{id: {name}, handler: 'main:visit'}}]");
        Package::new(name, "1.0.0", &manifest).file("main.py", CODE).directory(folder.path())
    };
    let par = par().source(package("first", mode)).source(package("second", mode));
    let par = par.source(package("plain", "none")).allow("agent_call").start().await;
    (folder, par)
}

async fn visit(par: &Par, agent: &str, then: &[&str]) -> Answer {
    let request = par.http.request(reqwest::Method::POST, &format!("/agents/{agent}/invoke"));
    request.header("x-par-session", "s").json(&json!({"then": then})).answer().await
}

#[tokio::test]
async fn an_agent_that_is_called_is_in_the_session_of_the_first_call_with_a_state_of_its_own() {
    for mode in ["sticky", "isolated"] {
        let (_folder, par) = host(mode).await;
        assert_eq!(visit(&par, "first", &[]).await.ok(), json!([["first", "s", 1]]), "{mode}");
        for n in 1..=2 {
            let told = visit(&par, "first", &["second"]).await.ok();
            assert_eq!(told, json!([["first", "s", n + 1], ["second", "s", n]]), "{mode}");
        }
        assert_eq!(
            visit(&par, "second", &[]).await.ok(),
            json!([["second", "s", 3]]),
            "it is the same session"
        );
        let through = visit(&par, "plain", &["second"]).await.ok();
        assert_eq!(
            through[1],
            json!(["second", "s", 4]),
            "{mode}: also through one that keeps none: {through}"
        );
    }
}

#[tokio::test]
async fn a_session_that_comes_back_to_itself_is_told_so_at_once() {
    for mode in ["sticky", "isolated"] {
        let (_folder, par) = host(mode).await;
        let began = Instant::now();
        let told = visit(&par, "first", &["second", "first"]).await.ok();
        assert!(began.elapsed() < Duration::from_secs(5), "it waited for itself");
        assert_eq!(told[1], json!(["second", "s", 1]), "{told}");
        assert_eq!((&told[2][0], &told[2][1]), (&json!("first"), &json!("conflict")), "{told}");
        assert!(told[2][2].as_str().is_some_and(|text| text.contains("session")), "{told}");
        // Nobody is the worse for it.
        assert_eq!(visit(&par, "first", &["second"]).await.ok()[1], json!(["second", "s", 2]));
    }
}

#[tokio::test]
async fn an_agent_that_calls_one_of_its_own_package_does_so_outside_of_its_session() {
    let (_folder, par) = host("isolated").await;
    let told = visit(&par, "first", &["first"]).await.ok();
    assert_eq!(told, json!([["first", "s", 1], ["first", Value::Null, Value::Null]]));
}
