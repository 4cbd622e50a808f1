//! The dashboard in a real browser: every view with real data, changes that ask first, calls from forms, tokens, a
//! runtime that goes and comes back.

use std::{path::PathBuf, process::Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::harness::{
    Answered, Client, Package, Par, ParBuilder, eventually, free_ports, par, scratch, shared_cache,
};

/// Where pictures of the pages are kept: beside the binary under test.
fn pictures() -> PathBuf {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_par"));
    let directory = binary.parent().expect("it lies somewhere").join("pictures/dashboard");
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/runtime/dashboard")
}

/// Does a deed in the browser. `meanwhile` does what the deed asks for in between, by its word.
async fn visit(deed: &str, port: u16, token: &str, mut meanwhile: impl AsyncFnMut(&str)) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/harness/browser/dashboard.mjs");
    let facts = json!({"url": url(port), "token": token, "pictures": pictures()}).to_string();
    let mut browser = tokio::process::Command::new("node")
        .arg(script)
        .arg(shared_cache().with_file_name("tools").join("browser"))
        .args([deed, &facts])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node");
    let mut answer = browser.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(browser.stdout.take().expect("a pipe")).lines();
    let mut seen = Value::Null;
    while let Some(line) = lines.next_line().await.expect("a line") {
        let said: Value = serde_json::from_str(&line).expect("JSON");
        match said["word"].as_str() {
            Some(word) => {
                meanwhile(word).await;
                answer.write_all(b"done\n").await.expect("it listens");
            }
            None => seen = said,
        }
    }
    assert!(browser.wait().await.expect("it ends").success(), "{deed} in the browser");
    assert_eq!(seen["trouble"], json!([]), "{deed}: {}", serde_json::to_string_pretty(&seen).expect("text"));
    seen
}

async fn look(deed: &str, par: &Par) -> Value {
    visit(deed, par.port, &par.operator_token(), async |word: &str| panic!("nobody waits for {word}")).await
}

/// A package that streams, with a schema.
fn teller() -> Package {
    let manifest = "
exports:
  - id: tell
    handler: main:run
    description: Says a word again and again
    input_schema:
      type: object
      required: [times]
      properties:
        times: {type: integer, minimum: 1, description: How often}
        word: {type: string, default: tock}
        mood: {enum: [calm, hasty]}
";
    let code = "import time\n\n\ndef run(times, word='tock', mood=None):\n    for number in range(times):\n        \
                yield {'number': number, 'word': word, 'mood': mood}\n        time.sleep(0.4)\n";
    Package::new("teller", "1.0.0", manifest).file("main.py", code)
}

fn production() -> ParBuilder {
    par().production().agent("echo").agent("faulty")
}

#[tokio::test]
async fn the_shell_is_open_and_empty_small_and_bound_to_itself() {
    let par = production().start().await;
    let page = par.http.get("/runtime/dashboard").await;
    assert_eq!(page.status, 200);
    assert!(page.body.len() <= 300 << 10, "{} bytes", page.body.len());
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(policy.contains("connect-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    assert_eq!(page.header("x-frame-options"), "DENY");
    let text = page.text();
    for secret in ["echo@1.0.0", "faulty", &par.operator_token()] {
        assert!(!text.contains(secret), "{secret} is in the shell");
    }
    let known =
        par.http.request(Method::GET, "/runtime/dashboard").header("if-none-match", page.header("etag"));
    assert_eq!(known.answer().await.status, 304);
    assert_eq!(par.http.get("/runtime/dashboard/stream").await.status, 401);
}

#[tokio::test]
async fn figures_come_once_a_second_to_who_watches_and_to_nobody_else() {
    let par = production().start().await;
    let mut stream =
        par.operator().request(Method::GET, "/runtime/dashboard/stream").send().await.expect("a stream");
    assert_eq!(stream.headers()["content-type"], "application/x-ndjson");
    for _ in 0..20 {
        par.http.invoke("echo", &json!({"a": 1})).await.ok();
    }
    let mut text = String::new();
    let mut line = async || -> Value {
        loop {
            if let Some((line, rest)) = text.split_once('\n') {
                let said = serde_json::from_str(line).expect("JSON");
                text = rest.to_owned();
                return said;
            }
            let chunk = stream.chunk().await.expect("it goes on").expect("it goes on");
            text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    };
    assert_eq!(line().await["history"], json!([]));
    let counted = loop {
        let said = line().await;
        assert_eq!(said["status"], "healthy", "{said}");
        if said["agents"][0]["total"] == 20.0 && said["agents"][0]["rate"].as_f64() > Some(0.0) {
            break said;
        }
    };
    assert_eq!(counted["agents"][0]["id"], "echo@1.0.0/echo");
    assert!(counted["agents"][0]["p99"].as_f64() > Some(0.0), "{counted}");
    assert!(counted["point"]["workers"].as_u64() >= Some(1), "{counted}");
    // Who comes later is told what was seen before.
    let mut second =
        par.operator().request(Method::GET, "/runtime/dashboard/stream").send().await.expect("one more");
    let first = second.chunk().await.expect("a line").expect("a line");
    assert!(String::from_utf8_lossy(&first).matches("\"at\":").count() >= 1);
}

#[tokio::test]
async fn a_development_run_prints_a_link_that_signs_in() {
    let par = par().agent("echo").start().await;
    let link = eventually("the link", async || {
        let said = par.everything_said();
        said.lines().find_map(|line| Some(line.strip_prefix("dashboard: ")?.to_owned()))
    })
    .await;
    assert_eq!(link, format!("{}#token={}", url(par.port), par.operator_token()));
    assert!(
        par.lines().iter().all(|line| !line.mentions(&par.operator_token())),
        "a line of the log has the token"
    );
}

#[tokio::test]
async fn every_view_shows_real_data_in_light_and_dark_and_on_a_narrow_screen() {
    let par = production().agent("sessions").agent("slow").allow("worker_died").allow("access").start().await;
    let request = par.http.request(Method::POST, "/agents/chat/invoke").header("x-par-session", "guest-7");
    assert_eq!(request.json(&json!({"text": "hello"})).answer().await.status, 200);
    let crash =
        par.http.request(Method::POST, "/agents/segfaults/invoke").header("x-request-id", "crashed-1");
    assert_eq!(crash.json(&json!({})).answer().await.status, 502);
    let http = par.http.clone();
    let load = tokio::spawn(async move {
        loop {
            http.invoke("echo", &json!({"question": "how are you?"})).await.ok();
            http.invoke("raises", &json!({})).await;
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    });
    let seen = look("tour", &par).await;
    load.abort();
    let has = |view: &str, words: &[&str]| {
        let text = seen["texts"][view].as_str().unwrap_or_default();
        for word in words {
            assert!(text.contains(word), "{word} in {view}: {text}");
        }
    };
    has("Overview", &["Requests", "p99", "echo@1.0.0/echo", "agent_error"]);
    has("Packages", &["faulty@1.0.0", "active", "Rollouts", "live", "sessions@1.0.0/chat"]);
    has("Workers", &["template", "worker", "MiB", "signal"]);
    has("Sessions", &["guest-7", "sticky"]);
    has("Usage", &["127.0.0.1"]);
    has("Errors", &["worker_crashed", "crashed-1"]);
    has("Try it", &["Input, as JSON", "Call"]);
    has("error", &["SIGSEGV", "in segfaults", "Queue at that moment", "Its lines in the log"]);
    has("ended", &["segfaults", "SIGSEGV"]);
    has("receipt", &["template", "receipt"]);
    assert!(seen["bytes"].as_u64() <= Some(300 << 10), "{seen}");
    // The promise is half a second on a machine that has time; tests share theirs.
    assert!(seen["paint"].as_f64().is_some_and(|paint| paint > 0.0 && paint < 5_000.0), "{}", seen["paint"]);
}

#[tokio::test]
async fn a_wrong_token_is_told_and_a_link_leaves_no_trace_of_its_token() {
    let par = production().start().await;
    let seen = look("token", &par).await;
    assert_eq!((&seen["refused"], &seen["empty"]), (&json!("This token is not valid."), &json!(0)));
    assert_eq!(seen["kept"], json!({"address": url(par.port), "stored": 0, "cookie": ""}));
    assert!(!seen["after"].as_str().unwrap_or_default().contains("echo@1.0.0"), "{seen}");
}

#[tokio::test]
async fn changes_ask_first_and_can_be_made_with_the_keyboard_alone() {
    let scratch = scratch();
    let version = |version: &str| {
        let code = format!("def run(input):\n    return '{version}'\n");
        Package::with_main("hello", version, &code).apkg(scratch.path())
    };
    let par = par()
        .production()
        .agent("echo")
        .source(version("1.0.0"))
        .setting("packages.load_roots", json!([scratch.path()]))
        .allow("access")
        .allow("rolled_back")
        .start()
        .await;
    let newer = json!({"path": version("1.1.0")});
    let loaded = par.operator().post("/runtime/packages/load", &newer).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    assert_eq!(par.http.invoke("hello", &json!({})).await.ok(), "1.1.0");
    let undone = async |word: &str| {
        assert_eq!(word, "undone");
        assert_eq!(par.http.invoke("hello", &json!({})).await.ok(), "1.1.0", "Escape changes nothing");
    };
    let seen = visit("change", par.port, &par.operator_token(), undone).await;
    let text = seen["texts"].to_string();
    for word in ["Roll back hello?", "hello@1.0.0 serves again", "Disable echo@1.0.0/echo?", "is disabled"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert_eq!(par.http.invoke("hello", &json!({})).await.ok(), "1.0.0");
    par.http.invoke("echo", &json!({})).await.problem(503, "agent_disabled");
}

#[tokio::test]
async fn a_rollout_is_seen_step_by_step_and_taken_back() {
    let scratch = scratch();
    let version = |version: &str, pause: f64| {
        let code = format!("import time\ntime.sleep({pause})\ndef run(input):\n    return '{version}'\n");
        Package::with_main("hello", version, &code).apkg(scratch.path())
    };
    let par = par()
        .production()
        .source(version("1.0.0", 0.0))
        .setting("packages.load_roots", json!([scratch.path()]))
        .allow("access")
        .allow("rolled_back")
        .start()
        .await;
    let (operator, newer) = (par.operator(), json!({"path": version("1.1.0", 4.0)}));
    let mut loading = None;
    let seen = visit("rollout", par.port, &par.operator_token(), async |word: &str| match word {
        // It takes its time, and somebody watches meanwhile.
        "load" => {
            let (operator, newer) = (operator.clone(), newer.clone());
            loading =
                Some(tokio::spawn(async move { operator.post("/runtime/packages/load", &newer).await }));
        }
        "undone" => assert_eq!(par.http.invoke("hello", &json!({})).await.ok(), "1.1.0"),
        "disabled" => drop(par.http.invoke("hello", &json!({})).await.problem(503, "agent_disabled")),
        other => panic!("nobody waits for {other}"),
    })
    .await;
    assert_eq!(loading.expect("it was asked for").await.expect("no panic").status, 200);
    let lists = seen["seen"].as_array().expect("lists");
    assert!(seen["underWay"].as_u64() >= Some(1), "steps are seen while it is under way: {lists:?}");
    assert!(lists[0].as_array().expect("steps").iter().all(|step| step != "switch"), "{lists:?}");
    let text = |what: &str| seen[what].as_str().unwrap_or_default();
    for word in ["live", "unpack", "template", "switch", "from hello@1.0.0 to hello@1.1.0", "receipt"] {
        assert!(text("receipt").contains(word), "{word} in {}", text("receipt"));
    }
    assert!(text("asked").contains("Roll back hello?") && text("told").contains("hello@1.0.0"), "{seen}");
    assert!(text("disabled").contains("Disable") && text("enabled").contains("Enable"), "{seen}");
    assert_eq!(par.http.invoke("hello", &json!({})).await.ok(), "1.0.0");
}

#[tokio::test]
async fn usage_is_shown_by_tenant_and_in_other_ways() {
    let par = production().start().await;
    for (number, calls) in [(7, 3), (8, 1)] {
        let client = Client::from_address(par.port, std::net::IpAddr::from([127, 0, 0, number]));
        for _ in 0..calls {
            client.invoke("echo", &json!({})).await.ok();
        }
    }
    let seen = look("usage", &par).await;
    let rows: Vec<Vec<&str>> = seen["tenants"]
        .as_str()
        .expect("a table")
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for (tenant, calls) in [("127.0.0.7", "3"), ("127.0.0.8", "1")] {
        assert!(rows.iter().any(|row| row.starts_with(&[tenant, calls])), "{tenant}: {rows:?}");
    }
    let agents = seen["agents"].as_str().unwrap_or_default();
    assert!(agents.contains("echo") && !agents.contains("127.0.0.7"), "{agents}");
}

#[tokio::test]
async fn a_page_that_is_open_for_a_day_keeps_ten_minutes() {
    let par = production().start().await;
    let seen = look("day", &par).await;
    assert_eq!(seen["told"], 86_400, "{seen}");
    // A day of lines has 40 MB as text alone.
    assert!(seen["heap"].as_u64().is_some_and(|bytes| bytes < 24 << 20), "{seen}");
    assert!(seen["nodes"].as_u64() < Some(3_000), "{seen}");
}

#[tokio::test]
async fn agents_are_tried_from_a_form_of_their_schema_and_stream_their_items() {
    let scratch = scratch();
    let par = production().source(teller().apkg(scratch.path())).start().await;
    let seen = look("try", &par).await;
    let has = |what: &str, words: &[&str]| {
        let text = seen[what].as_str().unwrap_or_default();
        for word in words {
            assert!(text.contains(word), "{word} in {what}: {text}");
        }
    };
    has("streamed", &["4 items", "\"number\":3", "\"word\":\"tick\"", "\"mood\":\"calm\""]);
    has("stopped", &["stopped"]);
    assert_eq!(seen["held"], true, "a field that is needed holds the form back");
    has("whole", &["1 item", "\"ü\""]);
    has("wrong", &["the input is not JSON"]);
    has("failed", &["agent_error"]);
    has("explained", &["ValueError: the handler's own message", "faulty.py"]);
}

#[tokio::test]
async fn an_open_page_comes_back_with_the_runtime() {
    let [port, ..] = free_ports();
    let start = || production().env("PAR_OPERATOR_TOKEN", "the-same-token-for-both-lives");
    let launch = async |builder: ParBuilder| builder.env("PORT", port.to_string()).start().await;
    let mut running = Some(launch(start()).await);
    visit("restart", port, "the-same-token-for-both-lives", async |word: &str| match word {
        "stop" => drop(running.take().expect("it runs").stop().await),
        "start" => running = Some(launch(start()).await),
        other => panic!("nobody waits for {other}"),
    })
    .await;
}
