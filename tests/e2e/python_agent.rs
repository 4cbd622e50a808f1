//! Packages that expose Python execution the way `pixell-python-agent` does: an adapter executes, its state by session.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{Answer, Answered, Package, Par, ParBuilder, Streamed, agent, par, scratch};

/// As clients of the agent write it.
const EXECUTOR: &str = "pixell-python-agent@0.1.0%2Fcode-executor";

fn python_agent() -> ParBuilder {
    par().agent("python_agent").env("REQUEST_TIMEOUT_SECONDS", "60")
}

async fn answer(par: &Par, session: &str, code: &str) -> Answer {
    par.http.envelope(EXECUTOR, &json!({"input": {"code": code, "session_id": session}})).await
}

/// What the agent said.
async fn execute(par: &Par, session: &str, code: &str) -> Value {
    answer(par, session, code).await.ok()["output"].take()
}

/// The example in another version, with more lines in its manifest.
fn changed(version: &str, more: &str) -> Package {
    let read = |name: &str| std::fs::read_to_string(agent("python_agent").join(name)).expect("a file");
    let manifest = read("agent.yaml").replacen("version: 0.1.0", &format!("version: {version}"), 1);
    Package::bare("pixell-python-agent", version)
        .file("agent.yaml", format!("{manifest}{more}\n"))
        .file("src/__init__.py", "")
        .file("src/pixell_adapter.py", read("src/pixell_adapter.py"))
}

#[tokio::test]
async fn code_is_executed_and_its_output_state_and_value_come_back() {
    let par = python_agent().start().await;
    let said = execute(&par, "one", "print('hello')\nx = 20\nx * 2 + 2").await;
    assert_eq!(said["status"], "success", "{said}");
    assert_eq!(said["stdout"], "hello\n");
    assert_eq!(said["stderr"], "");
    assert_eq!(said["result"], 42);
    assert_eq!(said["results"]["x"], 20);
    assert_eq!(said["session_id"], "one");
    let later =
        execute(&par, "one", "import subprocess\nx += 1\nsubprocess.run(['echo', 'from a child'])\nx").await;
    assert_eq!(later["result"], 21, "{later}");
    assert_eq!(later["stdout"], "from a child\n");
}

#[tokio::test]
async fn sessions_see_nothing_of_each_other_and_calls_without_one_leave_nothing() {
    let par = python_agent().start().await;
    execute(&par, "left", "import math, os\nmath.pi = 3\nsecret = 'mine'\npid = os.getpid()").await;
    let look = "import math, os\n('secret' in globals(), math.pi > 3, os.getpid())";
    let other = execute(&par, "right", look).await;
    assert_eq!((&other["result"][0], &other["result"][1]), (&json!(false), &json!(true)), "{other}");
    let own = execute(&par, "left", "pid").await;
    assert_ne!(own["result"], other["result"][2], "each has a process");
    for _ in 0..2 {
        let stateless = par.http.envelope(EXECUTOR, &json!({"input": {"code": look}})).await.ok();
        assert_eq!(stateless["output"]["result"][0], false, "{stateless}");
        let marks = json!({"input": {"code": "secret = 'left behind'"}});
        assert_eq!(par.http.envelope(EXECUTOR, &marks).await.ok()["output"]["status"], "success");
    }
}

#[tokio::test]
async fn errors_come_with_their_lines_and_keep_the_session() {
    let par = python_agent().start().await;
    execute(&par, "s", "kept = 1\ndef divide(n):\n    return 1 / n").await;
    let said = execute(&par, "s", "print('before')\ndivide(0)").await;
    assert_eq!((&said["status"], &said["message"]), (&json!("error"), &json!("division by zero")), "{said}");
    assert_eq!(said["stdout"], "before\n");
    assert_eq!((&said["error"]["type"], &said["error"]["line"]), (&json!("ZeroDivisionError"), &json!(2)));
    let shown = said["stderr"].as_str().expect("text");
    for line in ["Traceback", "divide(0)", "return 1 / n", "ZeroDivisionError"] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    let said = execute(&par, "s", "x = 1\nif x\n    pass").await;
    assert_eq!((&said["status"], &said["error"]["line"]), (&json!("error"), &json!(2)), "{said}");
    assert!(said["message"].as_str().is_some_and(|text| text.starts_with("Syntax error: ")), "{said}");
    assert!(said["stderr"].as_str().is_some_and(|text| text.contains("SyntaxError")), "{said}");
    assert_eq!(execute(&par, "s", "kept").await["result"], 1);
}

#[tokio::test]
async fn inputs_that_are_no_request_are_refused() {
    let par = python_agent().start().await;
    for input in [json!({}), json!({"code": 1}), json!("print(1)"), json!({"action": "format"})] {
        par.http.envelope(EXECUTOR, &json!({"input": input})).await.problem(422, "input_invalid");
    }
}

#[tokio::test]
async fn code_that_never_ends_is_ended_by_its_deadline_and_costs_only_its_session() {
    let par = python_agent().allow("worker_stuck").allow("worker_died").start().await;
    execute(&par, "bystander", "kept = 1").await;
    execute(&par, "endless", "kept = 1").await;
    let body = json!({"input": {"code": "while True: pass", "session_id": "endless"}});
    let path = format!("/runtime/agents/{EXECUTOR}/invoke");
    let request = par.http.request(Method::POST, &path).header("x-par-timeout-ms", "1000");
    let began = Instant::now();
    request.json(&body).answer().await.problem(504, "deadline_exceeded");
    assert!(began.elapsed() < Duration::from_secs(10));
    lost(&par, "endless").await;
    assert_eq!(execute(&par, "bystander", "kept").await["result"], 1);
}

/// The next call of a session that ended badly is told so, once.
async fn lost(par: &Par, session: &str) {
    answer(par, session, "kept").await.problem(410, "session_lost");
    let fresh = execute(par, session, "'kept' in globals()").await;
    assert_eq!(fresh["result"], false, "{fresh}");
}

#[tokio::test]
async fn code_that_takes_too_much_memory_is_ended_and_costs_only_its_session() {
    let scratch = scratch();
    let package = changed("0.1.0", "workers: {memory_mb: 300}");
    let par =
        par().source(package.apkg(scratch.path())).allow("worker_died").allow("package_ended").start().await;
    execute(&par, "bystander", "kept = 1").await;
    execute(&par, "greedy", "kept = 1").await;
    let hog = "import time\nkept = []\nfor _ in range(80):\n    kept.append(b'\\xff' * (16 << 20))\n    time.sleep(0.05)";
    let told = answer(&par, "greedy", hog).await;
    // Where the kernel refuses the memory, it is the code's own failure and the session lives.
    if told.status == 200 {
        assert_eq!(told.ok()["output"]["error"]["type"], "MemoryError", "{}", told.text());
    } else {
        told.problem_naming(502, "worker_crashed", &["memory"]);
        lost(&par, "greedy").await;
    }
    assert_eq!(execute(&par, "bystander", "kept").await["result"], 1);
}

#[tokio::test]
async fn code_that_ends_the_process_loses_its_session_and_says_so() {
    let par = python_agent().allow("worker_died").start().await;
    execute(&par, "bystander", "kept = 1").await;
    execute(&par, "gone", "kept = 1").await;
    answer(&par, "gone", "import os\nos._exit(3)").await.problem(502, "worker_crashed");
    lost(&par, "gone").await;
    assert_eq!(execute(&par, "bystander", "kept").await["result"], 1);
}

#[tokio::test]
async fn what_code_does_to_its_output_is_over_with_the_call() {
    let par = python_agent().start().await;
    for harm in [
        "import io, sys\nsys.stdout = io.StringIO()",
        "import os\nos.close(1)\nos.close(2)",
        "import os\nif os.fork() == 0:\n    print('a child')\nelse:\n    os.wait()",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    ] {
        assert_eq!(execute(&par, "s", harm).await["status"], "success", "{harm}");
        let said = execute(&par, "s", "print('still here')").await;
        assert_eq!(said["stdout"], "still here\n", "{harm}");
    }
}

fn streaming(par: &Par, session: &str, code: &str) -> RequestBuilder {
    let request = par.http.request(Method::POST, "/agents/stream-executor/invoke");
    let request = request.header("accept", "application/x-ndjson").header("x-par-session", session);
    request.json(&json!({"code": code}))
}

#[tokio::test]
async fn output_is_streamed_while_it_is_printed_and_the_result_comes_last() {
    let par = python_agent().start().await;
    let code = "import os, sys, time\nprint('one', end='')\ntime.sleep(2)\nprint('two', file=sys.stderr)\n\
                os.write(1, b'three')\nx = 7\nx";
    let mut stream = Streamed::open(streaming(&par, "s", code)).await;
    assert_eq!(stream.item().await, Some(json!({"type": "stdout", "text": "one"})));
    let first = Instant::now();
    let mut rest = stream.items().await;
    assert!(first.elapsed() > Duration::from_millis(1500), "the first text came with the last one");
    let last = rest.pop().expect("a result");
    assert_eq!((&last["type"], &last["status"]), (&json!("result"), &json!("success")), "{last}");
    assert_eq!((&last["result"], &last["session_id"]), (&json!(7), &json!("s")), "{last}");
    // One `print` may be two writes, and so two events.
    let told = |name: &str| {
        let texts = rest.iter().filter(|event| event["type"] == name);
        texts.filter_map(|event| event["text"].as_str()).collect::<String>()
    };
    assert_eq!((told("stdout"), told("stderr")), ("three".to_owned(), "two\n".to_owned()));
    let stateless = par.http.request(Method::POST, "/agents/stream-executor/invoke");
    let stateless = stateless
        .header("accept", "application/x-ndjson")
        .json(&json!({"code": "print('x' in globals(), end='')"}));
    let items = Streamed::open(stateless).await.items().await;
    assert_eq!(items[0], json!({"type": "stdout", "text": "False"}));
    let whole = par.http.invoke("stream-executor", &json!({"code": "print(1, end='')\n1 / 0"})).await.ok();
    assert_eq!((&whole[0]["text"], &whole[1]["status"]), (&json!("1"), &json!("error")), "{whole}");
}

#[tokio::test]
async fn code_whose_caller_leaves_is_interrupted_and_its_session_lives_on() {
    let par = python_agent().start().await;
    let code = "kept = 1\nimport time\nprint('begun', end='')\nwhile True: time.sleep(0.01)";
    let mut stream = Streamed::open(streaming(&par, "s", code)).await;
    assert_eq!(stream.item().await, Some(json!({"type": "stdout", "text": "begun"})));
    drop(stream);
    // Calls of a session take turns: this one is answered because the other has ended.
    assert_eq!(execute(&par, "s", "kept").await["result"], 1);
}

#[tokio::test]
async fn figures_and_tables_come_from_the_data_kit_which_is_loaded_already() {
    let par = python_agent().start().await;
    let loaded = "import sys\n[name in sys.modules for name in ('numpy', 'pandas', 'matplotlib.pyplot')]";
    assert_eq!(execute(&par, "s", loaded).await["result"], json!([true, true, true]));
    let code = "import pandas as pd, matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\n\
                pd.DataFrame({'a': [1, 2], 'b': ['x', None]})";
    let said = execute(&par, "s", code).await;
    assert_eq!(said["status"], "success", "{said}");
    let (figure, table) = (&said["displays"][0], &said["displays"][1]);
    assert_eq!((&figure["kind"], &figure["content_type"]), (&json!("figure"), &json!("image/png")));
    // The first bytes of every PNG in base64.
    assert!(figure["data"].as_str().is_some_and(|data| data.starts_with("iVBORw0KGgo")), "{figure}");
    assert_eq!(table["kind"], "dataframe");
    assert_eq!(table["records"], json!([{"a": 1, "b": "x"}, {"a": 2, "b": null}]));
    assert!(table["html"].as_str().is_some_and(|html| html.contains("<table")), "{table}");
    assert_eq!(said["result"], table["records"]);
}

#[tokio::test]
async fn the_data_analyzer_describes_a_table() {
    let par = python_agent().start().await;
    let input = json!({"data": "a,b\n1,x\n3,\n", "operations": ["shape", "missing", "describe"]});
    let said = par.http.invoke("data-analyzer", &input).await.ok();
    assert_eq!(said["analysis"]["shape"], json!({"rows": 2, "columns": 2}), "{said}");
    assert_eq!(said["analysis"]["missing"], json!({"a": 0, "b": 1}));
    assert_eq!(said["analysis"]["describe"]["a"]["mean"], 2.0);
    par.http.invoke("data-analyzer", &json!({"data": 1})).await.problem(422, "input_invalid");
}

#[tokio::test]
async fn private_agents_are_not_there_for_callers_from_outside() {
    let par = python_agent().start().await;
    for id in ["ml-runner", "pixell-python-agent/ml-runner", "pixell-python-agent@0.1.0%2Fml-runner"] {
        par.http.invoke(id, &json!({"code": "1"})).await.problem(404, "agent_not_found");
        par.http.envelope(id, &json!({"input": {"code": "1"}})).await.problem(404, "agent_not_found");
    }
}

#[tokio::test]
async fn private_agents_are_called_by_other_agents_of_the_host() {
    let scratch = scratch();
    let code = "from pixell_runtime import runtime\n\
                def run(*, code):\n    return runtime.call('pixell-python-agent/ml-runner', code=code)['result']\n";
    let caller = Package::with_main("caller", "1.0.0", code);
    let par = python_agent().source(caller.apkg(scratch.path())).start().await;
    assert_eq!(par.http.invoke("caller", &json!({"code": "6 * 7"})).await.ok(), json!(42));
}

#[tokio::test]
async fn an_adapter_is_chosen_by_the_manifest_or_by_a_rule_and_by_nothing_else() {
    let scratch = scratch();
    // By the manifest alone: no class, no entrypoint, another name.
    let notebook = par().agent("notebook").start().await;
    assert_eq!(notebook.http.invoke("cell", &json!({"code": "6 * 7"})).await.ok()["result"], 42);
    // Without a rule, or against one, the package's own code is imported, which this host cannot.
    let refused = changed("0.2.0", "adapter: none");
    let par = par()
        .production()
        .agent("python_agent")
        .source(refused.apkg(scratch.path()))
        .setting("packages.adapters", json!({"SomethingElse": "python-executor"}))
        .allow("package_failed")
        .start()
        .await;
    for words in ["python_agent", "0.2.0"] {
        let failure = par.failure(words).await.unwrap_or_else(|| panic!("{words} is mounted"));
        assert_eq!(failure["step"], "template", "{failure}");
    }
    let unknown = Package::new("unknown", "1.0.0", "adapter: ruby-executor\nsub_agents: [{name: a}]");
    let path = unknown.apkg(scratch.path());
    let told = par.cli(&["inspect", &path.to_string_lossy()]).await;
    assert_eq!(told.code, 65, "{told:?}");
    assert!(told.stderr.contains("ruby-executor") && told.stderr.contains("python-executor"), "{told:?}");
}

#[tokio::test]
async fn a_data_kit_that_cannot_be_installed_is_a_failed_install() {
    let scratch = scratch();
    let wheels = scratch.path().join("wheels");
    std::fs::create_dir(&wheels).expect("a directory");
    let par = par()
        .own_environments()
        .agent("python_agent")
        .env("WHEELHOUSE_DIR", wheels.to_string_lossy())
        .allow("package_failed")
        .start()
        .await;
    let failure = par.failure("python_agent").await.expect("it is not mounted");
    assert_eq!(failure["step"], "environment", "{failure}");
    assert!(failure["detail"].as_str().is_some_and(|text| text.contains("data kit")), "{failure}");
}
