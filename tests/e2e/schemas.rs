//! Inputs and results fit the schemas of their agents, and neither schemas nor inputs do harm.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};

use crate::harness::{Answer, Answered, Package, Par, par, scratch};

/// One agent `run` that gives back its input and leaves a file beside its code when it is called.
fn guarded(version: &str, input_schema: &Value, more: &str) -> Package {
    let schema = if input_schema.is_null() { String::new() } else { format!("input_schema: {input_schema}") };
    Package::new(
        "guarded",
        version,
        &format!("exports:\n- id: run\n  handler: main:run\n  {schema}\n{more}"),
    )
    .file("main.py", "calls = 0\ndef run(input):\n    global calls\n    calls += 1\n    return {'calls': calls, 'input': input}\n")
}

async fn serving(input_schema: &Value) -> Par {
    let scratch = scratch();
    par().source(guarded("1.0.0", input_schema, "").directory(scratch.path())).start().await
}

async fn send(par: &Par, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    par.http.request(Method::POST, path).header(CONTENT_TYPE, "application/json").body(body).answer().await
}

const INVOKE: &str = "/agents/run/invoke";
const ENVELOPE: &str = "/runtime/agents/run/invoke";

/// `path schema_path` of every error of a 422.
fn places(answer: &Answer) -> Vec<String> {
    let problem = answer.problem(422, "input_invalid");
    let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("{problem}"));
    let mut places = vec![];
    for error in errors {
        let text = |name: &str| error[name].as_str().unwrap_or_else(|| panic!("{name} in {problem}"));
        assert!(!text("message").is_empty(), "{problem}");
        places.push(format!("{} {}", text("path"), text("schema_path")));
    }
    places.sort_unstable();
    places
}

fn order() -> Value {
    json!({
        "type": "object",
        "required": ["id", "lines"],
        "properties": {
            "id": {"type": "string", "pattern": "^[A-Z]{2}[0-9]+$"},
            "a/b~c": {"type": "integer"},
            "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/line"}},
            "notes": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "additionalProperties": false,
        "$defs": {"line": {
            "type": "object",
            "required": ["sku"],
            "properties": {"sku": {"type": "string"}, "count": {"type": "integer", "minimum": 1},
                "parts": {"type": "array", "items": {"$ref": "#/$defs/line"}}},
        }},
    })
}

#[tokio::test]
async fn every_fault_of_an_input_is_told_with_its_place_and_the_handler_is_not_called() {
    let par = serving(&order()).await;
    let right =
        json!({"id": "AB1", "lines": [{"sku": "x", "parts": [{"sku": "y", "count": 2.0}]}], "notes": null});
    assert_eq!(par.http.invoke("run", &right).await.ok(), json!({"calls": 1, "input": right}));
    let wrong = json!({
        "id": 5, "a/b~c": "x", "more": true, "notes": 1,
        "lines": [{"sku": "x", "count": 0}, {}, {"sku": "x", "parts": [{"sku": "y"}, {"sku": 7}]}],
    });
    let expected = [
        " /additionalProperties",
        "/a~1b~0c /properties/a~1b~0c/type",
        "/id /properties/id/type",
        "/lines/0/count /$defs/line/properties/count/minimum",
        "/lines/1 /$defs/line/required",
        "/lines/2/parts/1/sku /$defs/line/properties/sku/type",
        "/notes /properties/notes/anyOf",
    ];
    assert_eq!(places(&par.http.invoke("run", &wrong).await), expected);
    assert_eq!(places(&par.http.envelope("run", &json!({"input": wrong})).await), expected);
    for empty in
        [send(&par, INVOKE, "").await, send(&par, ENVELOPE, "").await, send(&par, ENVELOPE, "{}").await]
    {
        assert_eq!(places(&empty), [" /required", " /required"], "no body is {{}}");
    }
    for path in [INVOKE, ENVELOPE] {
        for broken in ["{", "{\"id\": NaN}", "{} {}", "[1,]"] {
            send(&par, path, broken).await.problem(400, "bad_json");
        }
        send(&par, path, b"{\"id\": \"\xff\"}".to_vec()).await.problem(400, "bad_json");
        let deep = format!("{{\"input\": {}", "[".repeat(100_000));
        send(&par, path, deep).await.problem(400, "bad_json");
    }
    let envelope = par.http.envelope("run", &json!({"input": right})).await.ok();
    assert_eq!(envelope["output"], json!({"calls": 2, "input": right}), "none of those was called");
}

#[tokio::test]
async fn the_schema_is_listed_as_it_was_written() {
    let mut written = order();
    written["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    written["$id"] = json!("https://example.com/order");
    written["$comment"] = json!("as it was written");
    let par = serving(&written).await;
    let listed = par.http.get("/agents/run").await.ok();
    assert_eq!(listed["input_schema"].to_string(), written.to_string(), "names stand in their order too");
    assert_eq!(listed["output_schema"], Value::Null);
}

#[tokio::test]
async fn what_is_told_of_an_input_repeats_none_of_it() {
    let par = serving(&json!({"items": {"const": "right"}, "maxItems": 3})).await;
    let secret = "hunter2-".repeat(10_000);
    let answer = par.http.invoke("run", &json!(vec![secret; 20])).await;
    assert_eq!(places(&answer).len(), 21);
    assert!(!answer.text().contains("hunter2") && answer.body.len() < 10_000, "{}", answer.body.len());
    let answer = par.http.invoke("run", &json!(vec![0; 5000])).await;
    assert_eq!(places(&answer).len(), 100, "and no more than a hundred");
    assert!(!par.everything_said().contains("hunter2"));
}

#[tokio::test]
async fn references_never_leave_the_document() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    std::thread::spawn(move || {
        while listener.accept().is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let secret = scratch();
    let file = secret.path().join("schema.json");
    std::fs::write(&file, "{}").expect("a file");
    let par = par().allow("package_failed").start().await;
    let scratch = scratch();
    for (version, reference) in [
        ("1.0.0", format!("http://{address}/schema.json")),
        ("1.0.1", format!("file://{}", file.display())),
        ("1.0.2", file.display().to_string()),
        ("1.0.3", "other.json".to_owned()),
        ("1.0.4", "https://json-schema.org/draft/2020-12/schema".to_owned()),
    ] {
        let schema = json!({"properties": {"a": {"items": {"$ref": reference}}}});
        let refused = load(&par, &guarded(version, &schema, ""), scratch.path()).await;
        let detail = refused_manifest(&refused);
        for words in ["exports[0].input_schema", "/properties/a/items/$ref", "out of this document"] {
            assert!(detail.contains(words), "{words} in {detail}");
        }
    }
    let based = json!({"$id": format!("http://{address}/base"), "$schema": format!("http://{address}/meta")});
    refused_manifest(&load(&par, &guarded("1.0.5", &based, ""), scratch.path()).await);
    let nested = json!({"$defs": {"a": {"$id": format!("http://{address}/base"), "$ref": "#/x"}}});
    refused_manifest(&load(&par, &guarded("1.0.6", &nested, ""), scratch.path()).await);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody was asked");
}

async fn load(par: &Par, package: &Package, directory: &std::path::Path) -> Answer {
    par.operator().post("/runtime/packages/load", &json!({"path": package.apkg(directory)})).await
}

/// The detail of a package that was refused for its manifest.
fn refused_manifest(answer: &Answer) -> String {
    let problem = answer.problem(422, "package_invalid");
    assert_eq!(problem["step"], "manifest", "{problem}");
    problem["detail"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_bad_schema_refuses_the_package_and_the_former_version_goes_on() {
    let par = par().allow("package_failed").start().await;
    let scratch = scratch();
    load(&par, &guarded("1.0.0", &json!({"type": "object"}), ""), scratch.path()).await.ok();
    let doubling: serde_json::Map<String, Value> = (0..30)
        .map(|n| {
            let next = json!({"$ref": format!("#/$defs/{}", n + 1)});
            (n.to_string(), json!({"anyOf": [next, next]}))
        })
        .chain([("30".to_owned(), json!({"type": "integer"}))])
        .collect();
    for (version, schema, words) in [
        ("2.0.0", json!({"properties": {"a": {"type": "strin"}}}), "/properties/a/type"),
        ("2.0.1", json!({"$ref": "#"}), "refers to itself without an end"),
        ("2.0.2", json!({"$ref": "#/$defs/0", "$defs": doubling}), "more than 10,000"),
        ("2.0.3", json!({"pattern": "(?=a)b"}), "look-around"),
        ("2.0.4", json!({"pattern": "(a{1000}){1000}"}), "too large"),
        ("2.0.5", json!({"title": "x".repeat(70_000)}), "at most 65536"),
        ("2.0.6", json!({"$schema": "http://json-schema.org/draft-03/schema"}), "not offered"),
    ] {
        let started = Instant::now();
        let package = guarded(version, &schema, "");
        let detail = refused_manifest(&load(&par, &package, scratch.path()).await);
        assert!(detail.contains("exports[0].input_schema") && detail.contains(words), "{detail}");
        assert!(started.elapsed() < Duration::from_secs(10), "{version}: {:?}", started.elapsed());
        let inspected = par.cli(&["inspect", &package.apkg(scratch.path()).display().to_string()]).await;
        assert_eq!(inspected.code, 65, "{inspected:?}");
        let answer = par.http.invoke("run", &json!({"v": version})).await;
        assert_eq!(answer.header("x-par-version"), "1.0.0", "{}", answer.text());
    }
    let probed = guarded("2.1.0", &json!({"required": ["a"]}), "healthcheck: {export: run, input: {b: 1}}");
    let detail = refused_manifest(&load(&par, &probed, scratch.path()).await);
    assert!(
        detail.contains("healthcheck.input") && detail.contains("\"a\" is a required property"),
        "{detail}"
    );
    load(
        &par,
        &guarded("2.2.0", &json!({"required": ["a"]}), "healthcheck: {export: run, input: {a: 1}}"),
        scratch.path(),
    )
    .await
    .ok();
    assert_eq!(places(&par.http.invoke("run", &json!({})).await), [" /required"], "the new schema counts");
}

#[tokio::test]
async fn a_pattern_without_an_end_does_no_harm() {
    let par = serving(&json!({"type": "string", "pattern": "^(a+)+$"})).await;
    for letters in [30, 60_000, 1 << 20] {
        let started = Instant::now();
        let answer = par.http.invoke("run", &json!(format!("{}!", "a".repeat(letters)))).await;
        assert_eq!(places(&answer), [" /pattern"]);
        println!("{letters} letters: {:?}", started.elapsed());
        assert!(started.elapsed() < Duration::from_secs(5), "{letters}: {:?}", started.elapsed());
    }
    assert_eq!(par.http.invoke("run", &json!("aaa")).await.ok()["input"], "aaa");
}

/// The edge has one thread here: what is checked on it holds up everybody.
#[tokio::test]
async fn inputs_that_take_long_are_bounded_and_hold_up_nobody() {
    let list = json!({"type": "array", "items": {"$ref": "#"}});
    let wide: Vec<Value> = (0..3000).map(|n| json!({"const": n})).collect();
    let step = |n: u32| {
        let next = json!({"x": {"$ref": format!("#/$defs/{}", n + 1)}});
        (n.to_string(), json!({"properties": next, "patternProperties": next}))
    };
    let steps: serde_json::Map<String, Value> =
        (0..100).map(step).chain([("100".to_owned(), json!(true))]).collect();
    let nested = format!("{}1{}", "[".repeat(120), "]".repeat(120));
    let numbers = format!("[{}5000]", "5000,".repeat(200_000));
    let many = format!("[{}1]", "1,".repeat(2_000_000));
    let properties = format!("{}1{}", "{\"x\":".repeat(100), "}".repeat(100));
    for (what, schema, input) in [
        ("doubling by depth", json!({"anyOf": [list, list]}), nested),
        ("3,000 branches for 200,000 items", json!({"items": {"anyOf": wide}}), numbers),
        ("two million values", json!({"items": {"type": "integer"}}), many),
        ("two ways at a hundred depths", json!({"$ref": "#/$defs/0", "$defs": steps}), properties),
    ] {
        let scratch = scratch();
        let source = guarded("1.0.0", &schema, "").directory(scratch.path());
        let par = par().source(source).agent("echo").setting("server.threads", 1).start().await;
        let started = Instant::now();
        let hard = tokio::spawn({
            let request = par.http.request(Method::POST, INVOKE).header(CONTENT_TYPE, "application/json");
            request.body(input).answer()
        });
        let mut slowest = Duration::ZERO;
        while !hard.is_finished() {
            let begin = Instant::now();
            assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
            slowest = slowest.max(begin.elapsed());
        }
        let places = places(&hard.await.expect("an answer"));
        println!("{what}: {:?}, others at most {slowest:?}, {places:?}", started.elapsed());
        assert!(started.elapsed() < Duration::from_secs(20), "{what}: {:?}", started.elapsed());
        assert!(slowest < Duration::from_secs(1), "{what} held up others for {slowest:?}");
        assert!(!places.is_empty(), "{what}");
    }
}

const RESULTS: &str = "\
def run(input):
    return input.get('result')
def octets(input):
    return b'[1]'
";

fn results() -> Package {
    let schema =
        json!({"type": "object", "properties": {"a/b": {"items": {"type": "integer"}}}, "required": ["c"]});
    let exports = format!(
        "exports:\n- {{id: run, handler: 'main:run', output_schema: {schema}}}\n\
         - {{id: octets, handler: 'main:octets', output_schema: {schema}}}\n"
    );
    Package::new("results", "1.0.0", &exports).file("main.py", RESULTS)
}

#[tokio::test]
async fn results_are_checked_in_dev() {
    let scratch = scratch();
    let par = par().source(results().directory(scratch.path())).start().await;
    let right = json!({"c": 1, "a/b": [1, 2]});
    assert_eq!(par.http.invoke("run", &json!({"result": right})).await.ok(), right);
    let wrong = json!({"result": {"c": "s3cr3t", "a/b": [1, "s3cr3t"]}});
    for answer in
        [par.http.invoke("run", &wrong).await, par.http.envelope("run", &json!({"input": wrong})).await]
    {
        let problem = answer.problem(500, "agent_error");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(
            detail.contains("\"/a~1b/1\"") && detail.contains("/properties/a~1b/items/type"),
            "{problem}"
        );
        assert_eq!(problem["error"]["type"], "OutputInvalid", "{problem}");
        let message = problem["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("is not of type \"integer\""), "{problem}");
        assert!(!answer.text().contains("s3cr3t"), "{problem}");
    }
    par.wait_for_line("it is logged", |line| line.event() == "access" && line.mentions("OutputInvalid"))
        .await;
    par.http.invoke("octets", &json!({})).await.problem_naming(500, "agent_error", &["application/json"]);
}

#[tokio::test]
async fn results_are_checked_in_production_only_if_asked_for() {
    let scratch = scratch();
    let source = results().directory(scratch.path());
    let wrong = json!({"result": {"a/b": ["x"]}});
    let par = self::par().production().source(&source).start().await;
    assert_eq!(par.http.invoke("run", &wrong).await.ok(), wrong["result"]);
    drop(par);
    let par = self::par()
        .production()
        .source(&source)
        .setting("validate_output", true)
        .setting("expose_errors", false)
        .start()
        .await;
    let problem = par.http.invoke("run", &wrong).await.problem(500, "agent_error");
    assert_eq!(problem["error"], json!({"type": "OutputInvalid"}), "the message is for operators");
    let told = par.operator().invoke("run", &wrong).await.problem(500, "agent_error");
    assert!(told["error"]["message"].as_str().is_some_and(|text| text.contains("/a~1b/0")), "{told}");
}
