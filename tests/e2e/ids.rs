//! By which names an agent is reached, and who wins when two have the same.

use serde_json::{Value, json};

use crate::harness::{Package, Par, eventually, par, scratch};

/// A package whose exports say their full name.
fn naming(name: &str, version: &str, exports: &[&str]) -> Package {
    let list: Vec<String> = exports
        .iter()
        .map(|id| format!("  - {{id: {id}, handler: \"main:say_{}\"}}", id.replace('-', "_")))
        .collect();
    let code: Vec<String> = exports
        .iter()
        .map(|id| format!("def say_{}(input):\n    return '{name}@{version}/{id}'\n", id.replace('-', "_")))
        .collect();
    Package::new(name, version, &format!("exports:\n{}", list.join("\n"))).file("main.py", code.join("\n"))
}

async fn who(par: &Par, id: &str) -> Value {
    par.http.invoke(id, &json!({})).await.ok()
}

#[tokio::test]
async fn every_form_of_an_id_reaches_the_agent_raw_or_encoded() {
    let scratch = scratch();
    let par = par()
        .source(naming("alpha", "1.2.3", &["first", "second"]).directory(scratch.path()))
        .source(naming("beta", "2.0.0", &["only"]).directory(scratch.path()))
        .agent("hello")
        .start()
        .await;
    for id in [
        "alpha@1.2.3/first",
        "alpha%401.2.3/first",
        "alpha@1.2.3%2Ffirst",
        "alpha%401.2.3%2ffirst",
        "alpha/first",
        "alpha%2Ffirst",
        "first@1.2.3",
        "first%401.2.3",
        "first",
    ] {
        assert_eq!(who(&par, id).await, "alpha@1.2.3/first", "{id}");
        let enveloped = par.http.envelope(id, &json!({})).await.ok();
        assert_eq!(enveloped["agent_id"], "alpha@1.2.3/first", "{id}");
    }
    for id in ["beta", "beta@2.0.0", "beta%402.0.0", "beta/only", "only"] {
        assert_eq!(who(&par, id).await, "beta@2.0.0/only", "{id}: the only agent of its package");
    }
    for id in ["hello", "hello@1.0.0", "hello/default", "hello@1.0.0/default"] {
        assert_eq!(who(&par, id).await, json!({"message": "Hello, world!"}), "{id}: the entrypoint");
    }
    for id in [
        "default",
        "alpha",
        "alpha@1.2.3",
        "alpha@9.9.9/first",
        "first@9.9.9",
        "alpha/third",
        "alpha@1.2.3/first/x",
    ] {
        par.http.invoke(id, &json!({})).await.problem(404, "agent_not_found");
    }
}

#[tokio::test]
async fn full_beats_package_and_export_beats_export_beats_package() {
    let scratch = scratch();
    // A package `word` with the agent `other`, and a package `shop` with an agent `word`.
    let par = par()
        .source(naming("word", "1.0.0", &["other"]).directory(scratch.path()))
        .source(naming("shop", "1.0.0", &["word"]).directory(scratch.path()))
        .start()
        .await;
    assert_eq!(who(&par, "word").await, "shop@1.0.0/word", "an export's id beats a package's");
    assert_eq!(who(&par, "word@1.0.0").await, "shop@1.0.0/word");
    assert_eq!(who(&par, "word/other").await, "word@1.0.0/other");
    assert_eq!(who(&par, "word@1.0.0/other").await, "word@1.0.0/other");
}

#[tokio::test]
async fn sub_agents_are_agents_that_call_the_entrypoint() {
    let par = par().agent("subagents").start().await;
    for id in ["summarise", "translate", "subagents/summarise", "subagents@0.2.0/translate"] {
        assert_eq!(who(&par, id).await, json!({"message": "Hello from handler", "received": {}}), "{id}");
    }
    par.http.invoke("inner", &json!({})).await.problem(404, "agent_not_found");
    assert_eq!(par.http.invoke("subagents", &json!({"a": 1})).await.ok()["received"], json!({"a": 1}));
}

#[tokio::test]
async fn of_two_agents_with_one_id_the_first_source_wins_and_the_other_is_told() {
    let scratch = scratch();
    let first = naming("first", "1.0.0", &["shared"]).directory(scratch.path());
    let second = naming("second", "1.0.0", &["shared", "own"]).directory(scratch.path());
    let par = par().source(&first).source(&second).allow("agent_conflict").start().await;
    assert_eq!(who(&par, "shared").await, "first@1.0.0/shared");
    assert_eq!(who(&par, "second/shared").await, "second@1.0.0/shared", "reachable by its longer id");
    assert_eq!(who(&par, "own").await, "second@1.0.0/own");

    let agents = par.http.get("/agents").await.ok();
    let agents = agents["agents"].as_array().expect("a list").clone();
    let conflict = |id: &str| {
        let agent = agents.iter().find(|agent| agent["id"] == id).expect("it is listed");
        agent.get("conflict").cloned()
    };
    assert_eq!(conflict("first@1.0.0/shared"), None);
    assert_eq!(conflict("second@1.0.0/own"), None);
    assert!(conflict("second@1.0.0/shared").is_some_and(|text| text.to_string().contains("first@1.0.0")));
    let warnings =
        par.lines().into_iter().filter(|line| line.is_alarm() && line.mentions("second@1.0.0/shared"));
    assert_eq!(warnings.count(), 1, "said once");

    let gone = par.operator().delete("/runtime/packages/first@1.0.0").await;
    assert_eq!(gone.status, 200, "{}", gone.text());
    eventually("the id falls to the second", async || {
        let answer = par.http.invoke("shared", &json!({})).await;
        (answer.status == 200 && answer.json() == "second@1.0.0/shared").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_id_stays_with_its_owner_over_a_restart_whatever_the_order() {
    let scratch = scratch();
    let first = naming("first", "1.0.0", &["shared"]).directory(scratch.path());
    let second = naming("second", "1.0.0", &["shared"]).directory(scratch.path());
    let mut par = par().source(&first).source(&second).allow("agent_conflict").start().await;
    assert_eq!(who(&par, "shared").await, "first@1.0.0/shared");
    par.term();
    par.exit().await;
    let par = par.anew().without_sources().source(&second).source(&first).start().await;
    assert_eq!(who(&par, "shared").await, "first@1.0.0/shared");
}

#[tokio::test]
async fn two_agents_with_one_id_in_one_package_are_refused() {
    let scratch = scratch();
    let manifest = "exports:\n  - {id: twin, handler: main:a}\n  - {id: twin, handler: main:b}\n";
    let twins = Package::new("twins", "1.0.0", manifest).file("main.py", "a = b = lambda input: 1\n");
    let par =
        par().agent("echo").source(twins.directory(scratch.path())).allow("package_failed").start().await;
    let failure = par.failure("twins").await.expect("it is listed as failed");
    assert_eq!(failure["step"], "manifest");
    assert!(failure["detail"].as_str().is_some_and(|text| text.contains("exports[1].id")), "{failure}");
    assert_eq!(who(&par, "echo").await, json!({}));
}

#[tokio::test]
async fn packages_with_the_same_module_names_do_not_meet() {
    let scratch = scratch();
    let module = |word: &str| {
        Package::new(word, "1.0.0", "entrypoint: src.main:handler")
            .file("src/__init__.py", "")
            .file("src/main.py", "from src.words import WORD\nimport shared\ndef handler(input):\n    return [WORD, shared.WORD]\n")
            .file("src/words.py", format!("WORD = '{word}'\n"))
            .file("shared.py", format!("WORD = '{word} too'\n"))
    };
    let par = par()
        .source(module("one").directory(scratch.path()))
        .source(module("two").apkg(scratch.path()))
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(who(&par, "one").await, json!(["one", "one too"]));
        assert_eq!(who(&par, "two").await, json!(["two", "two too"]));
    }
}
