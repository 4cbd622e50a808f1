//! What handlers in JavaScript ask of the host: calls of other agents, files, and what they have used.

use reqwest::{
    Method,
    multipart::{Form, Part},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::with_node;
use crate::harness::{Answered, Package, Par, Streamed, scratch};

const CODE: &str = r#"
export async function ask({ agent, input = {} }, context) {
  try { return { result: await context.call(agent, input) }; } catch (error) {
    return { name: error.name, code: error.code, error: error.error, errors: error.errors };
  }
}
export async function* follow({ agent, input = {} }, context) {
  for await (const item of context.stream(agent, input)) yield item;
}
export const again = (input, context) => context.call("asking/again");
export async function spends(input, { usage }) {
  usage.record({ model: "small", inputTokens: 100, outputTokens: 20 });
  return "spent";
}
export async function sums({ title, doc, pictures }) {
  let size = 0;
  for (const picture of pictures) for await (const piece of picture) size += piece.length;
  return { title, doc, text: await doc.text(), size };
}
export const gives = ({ size }, context) => context.file({
  data: Buffer.alloc(size, "x"), name: "given.txt", contentType: "text/plain", disposition: "inline",
});
export const makes = ({ count }, context) => context.file({
  chunks: (async function* () { for (let n = 0; n < count; n++) yield Buffer.alloc(100_000, n); })(), name: "made.bin",
});
"#;

const NAMES: [&str; 7] = ["ask", "follow", "again", "spends", "sums", "gives", "makes"];

fn asking() -> Package {
    let export = |name: &str| format!("  - {{id: {name}, handler: 'main:{name}', timeout: 20s}}\n");
    let exports: String = NAMES.map(export).concat();
    Package::new("asking", "1.0.0", &format!("runtime: node20\nexports:\n{exports}")).file("main.mjs", CODE)
}

/// The package in JavaScript beside those in Python that call and are called.
async fn host() -> (TempDir, Par) {
    let folder = scratch();
    let builder = with_node().source(asking().apkg(folder.path()));
    let builder = builder.agent("calling").agent("called").allow("agent_call").allow("agent_conflict");
    (folder, builder.start().await)
}

async fn ask(par: &Par, agent: &str, input: Value) -> Value {
    par.http.invoke("asking/ask", &json!({"agent": agent, "input": input})).await.ok()
}

#[tokio::test]
async fn an_agent_in_javascript_calls_others_and_is_called_by_them() {
    let (_folder, par) = host().await;
    assert_eq!(ask(&par, "called/double", json!({"number": 4})).await["result"], json!({"double": 8}));
    let secret = ask(&par, "called/secret", json!({})).await;
    assert_eq!(secret["result"], "known to agents of this host only");
    assert_eq!(
        ask(&par, "called/octets", json!({})).await["result"],
        json!({"type": "Buffer", "data": [0, 1, 2]})
    );
    let twice = ask(&par, "asking/ask", json!({"agent": "double", "input": {"number": 3}})).await;
    assert_eq!(twice["result"]["result"], json!({"double": 6}), "one behind the other in the same language");
    let back = json!({"agent": "asking/spends"});
    assert_eq!(par.http.invoke("calling/ask", &back).await.ok()["result"], "spent");
}

#[tokio::test]
async fn what_fails_is_told_to_javascript_by_its_code() {
    let (_folder, par) = host().await;
    for (agent, input, code) in [
        ("nobody", json!({}), "agent_not_found"),
        ("double", json!({"number": "four"}), "input_invalid"),
        ("raises", json!({}), "agent_error"),
        ("billing", json!({}), "unauthenticated"),
    ] {
        let told = ask(&par, agent, input).await;
        assert_eq!((&told["name"], &told["code"]), (&json!("CallFailed"), &json!(code)), "{agent}: {told}");
    }
    assert_eq!(ask(&par, "raises", json!({})).await["error"]["type"], "KeyError");
    assert_eq!(ask(&par, "double", json!({"number": 1.5})).await["errors"][0]["path"], "/number");
    par.http.invoke("again", &json!({})).await.problem_naming(500, "agent_error", &["nested"]);
}

#[tokio::test]
async fn items_pass_through_javascript_one_by_one_and_who_leaves_ends_what_is_behind_it() {
    let (_folder, par) = host().await;
    let follow = |to: u64, size: u64| {
        let request = par.http.request(Method::POST, "/agents/asking%2Ffollow/invoke");
        let request = request.header("accept", "application/x-ndjson");
        Streamed::open(request.json(&json!({"agent": "count", "input": {"to": to, "size": size}})))
    };
    // More than may wait anywhere on the way.
    let items = follow(200, 10_000).await.of_kind("application/x-ndjson").items().await;
    let numbers: Vec<_> = items.iter().map(|item| item["number"].as_u64()).collect();
    assert_eq!(numbers, (0..200).map(Some).collect::<Vec<_>>());
    let mut left = follow(1_000_000_000, 1000).await;
    assert!(left.item().await.is_some());
    drop(left);
    par.wait_for_line("the end of the generator", |line| line.mentions("counting ended")).await;
}

#[tokio::test]
async fn tokens_of_javascript_are_charged_to_who_made_the_first_call() {
    let folder = scratch();
    let builder = with_node().source(asking().apkg(folder.path())).agent("calling");
    let par = builder.setting("limits.tenant_daily_tokens", 200).allow("agent_conflict").start().await;
    for _ in 0..2 {
        let asked = json!({"agent": "asking/spends"});
        assert_eq!(par.http.invoke("calling/ask", &asked).await.ok()["result"], "spent");
    }
    par.http.invoke("asking/spends", &json!({})).await.problem(429, "quota_exceeded");
}

#[tokio::test]
async fn files_reach_handlers_in_javascript_and_leave_them_as_downloads() {
    let (_folder, par) = host().await;
    let part = |content: Vec<u8>, name: &'static str| {
        Part::bytes(content).file_name(name).mime_str("text/plain").expect("a type")
    };
    let form = Form::new()
        .text("title", "two and one")
        .part("doc", part(b"hello".to_vec(), "doc.txt"))
        .part("pictures", part(vec![1; 70_000], "a.png"))
        .part("pictures", part(vec![2; 5], "b.png"));
    let request = par.http.request(Method::POST, "/agents/asking%2Fsums/invoke").multipart(form);
    let doc = json!({"name": "doc.txt", "content_type": "text/plain", "size": 5});
    assert_eq!(
        request.answer().await.ok(),
        json!({"title": "two and one", "doc": doc, "text": "hello", "size": 70_005})
    );
    let given = par.http.invoke("gives", &json!({"size": 11})).await;
    assert_eq!((given.status, given.text()), (200, "x".repeat(11)));
    assert_eq!(given.header("content-type"), "text/plain");
    assert_eq!(given.header("content-disposition"), "inline; filename=\"given.txt\"");
    let made = par.http.invoke("makes", &json!({"count": 7})).await;
    assert_eq!((made.status, made.body.len()), (200, 700_000));
    assert!(made.header("content-disposition").contains("made.bin"), "{:?}", made.headers);
}
