//! Every 5xx explains itself to whoever runs the host, and tells the client no more than it may know.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answered, Package, Par, eventually, par, scratch};

async fn fail(par: &Par, agent: &str, id: &str) -> Value {
    let path = format!("/agents/{agent}/invoke");
    let request = par.http.request(Method::POST, &path).header("x-request-id", id);
    request.json(&json!({})).answer().await.json()
}

/// The one failure of a request, as soon as it is as it should be.
async fn explained(par: &Par, id: &str, whole: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{id} is explained"), async || {
        let answer = par.operator().get(&format!("/runtime/errors/{id}")).await;
        let answer = (answer.status == 200).then(|| answer.json())?;
        assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1), "{answer}");
        whole(&answer).then_some(answer)
    })
    .await
}

fn text(lines: &Value) -> String {
    let lines = lines.as_array().into_iter().flatten();
    lines.filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_worker_that_crashes_or_hangs_explains_its_call_with_its_stack() {
    let par = par().agent("faulty").allow("worker_died").allow("worker_stuck").allow("access").start().await;
    for (agent, id, code, cause, status) in [
        ("segfaults", "crash-1", "worker_crashed", "signal", 502),
        ("hangs", "stuck-1", "deadline_exceeded", "timeout", 504),
    ] {
        let told = fail(&par, agent, id).await;
        assert_eq!((&told["code"], &told["request_id"]), (&json!(code), &json!(id)));
        assert!(!told.to_string().contains("faulty.py"), "the client is told too much: {told}");
        let answer = explained(&par, id, |answer| {
            let lines = answer["log"].as_array().into_iter().flatten();
            !answer["errors"][0]["death"].is_null()
                && lines.map(|line| &line["event"]).any(|event| event == "access")
        })
        .await;
        let one = &answer["errors"][0];
        assert_eq!((&one["code"], &one["status"]), (&json!(code), &json!(status)), "{one}");
        assert_eq!(one["agent_id"], format!("faulty@1.0.0/{agent}"));
        assert_eq!(one["death"]["cause"], cause);
        assert_eq!((&one["death"]["worker"], one["worker"].is_u64()), (&one["worker"], true));
        assert_eq!(one["death"]["generation"], one["generation"]);
        let stack = text(&one["death"]["stack"]);
        assert!(stack.contains("faulty.py") && stack.contains(&format!("in {agent}")), "{stack}");
        for key in ["waiting", "oldest_ms", "busy", "workers"] {
            assert!(one["queue"][key].is_number(), "{key} in {one}");
        }
        // The log has it, too, by the id of the request.
        let line = par
            .wait_for_line(id, |line| line.event() == "call_explained" && line["details"]["request_id"] == id)
            .await;
        assert!(line.mentions("faulty.py"), "{}", line.text());
    }
    let workers = par.operator().get("/runtime/workers").await.ok();
    let ended = workers["ended"].as_array().expect("ends").clone();
    assert_eq!(ended.len(), 2, "{workers}");
    assert!(text(&ended[1]["stack"]).contains("segfaults"), "{workers}");
}

#[tokio::test]
async fn an_error_of_an_agent_is_kept_with_its_traceback_and_what_was_printed() {
    let scratch = scratch();
    let code = "def run(input):\n    print('about to fail')\n    raise ValueError('the secret reason')\n";
    let package = Package::with_main("shaky", "1.0.0", code);
    let par =
        par().production().source(package.apkg(scratch.path())).setting("expose_errors", false).start().await;
    let told = fail(&par, "shaky", "raised-1").await;
    assert!(!told.to_string().contains("secret reason"), "{told}");
    let answer = explained(&par, "raised-1", |_| true).await;
    let one = &answer["errors"][0];
    assert_eq!(one["cause"], "ValueError: the secret reason");
    let traceback = one["traceback"].as_str().expect("a traceback");
    assert!(traceback.contains("in run") && traceback.contains("raise ValueError"), "{traceback}");
    assert!(one["death"].is_null(), "{one}");
    eventually("what it printed is among its lines", async || {
        let answer = par.operator().get("/runtime/errors/raised-1").await.ok();
        answer["log"].to_string().contains("about to fail").then_some(())
    })
    .await;
    // Only viewers may look, and what is not there is not there.
    assert_eq!(par.http.get("/runtime/errors/raised-1").await.status, 401);
    assert_eq!(par.http.get("/runtime/workers").await.status, 401);
    par.operator().get("/runtime/errors/nobody").await.problem(404, "not_found");
}

#[tokio::test]
async fn what_does_not_fail_leaves_nothing_and_what_does_is_listed_by_agent_and_code() {
    let par = par().agent("echo").agent("faulty").start().await;
    par.http.invoke("echo", &json!({"a": 1})).await.ok();
    fail(&par, "nobody", "unknown-1").await;
    fail(&par, "raises", "raised-1").await;
    fail(&par, "nan", "nan-1").await;
    let list = async |query: &str| -> Vec<Value> {
        let answer = par.operator().get(&format!("/runtime/errors{query}")).await.ok();
        answer["errors"].as_array().expect("a list").iter().map(|one| one["request_id"].clone()).collect()
    };
    eventually("both failures are listed", async || (list("").await == ["nan-1", "raised-1"]).then_some(()))
        .await;
    assert_eq!(list("?agent=faulty@1.0.0/nan").await, ["nan-1"]);
    assert_eq!(list("?agent=faulty&code=agent_error").await, ["nan-1", "raised-1"]);
    assert_eq!(list("?code=worker_crashed").await, [""; 0]);
    par.operator().get("/runtime/errors?code=odd").await.problem(400, "bad_request");
    par.operator().get("/runtime/errors?odd=1").await.problem(400, "bad_request");
}

#[tokio::test]
async fn a_call_that_waited_in_vain_says_how_many_were_before_it() {
    let par = par().agent("slow").setting("limits.max_concurrent", 1).allow("access").start().await;
    let first = par.http.clone();
    let running = tokio::spawn(async move { first.invoke("sleep", &json!({"seconds": 3})).await.status });
    par.wait_for_line("the first runs", |line| line.mentions("sleep began 3")).await;
    assert_eq!(fail(&par, "sleep", "full-1").await["code"], "queue_full");
    let answer = eventually("it is explained", async || {
        let answer = par.operator().get("/runtime/errors/full-1").await;
        (answer.status == 200).then(|| answer.json())
    })
    .await;
    let one = &answer["errors"][0];
    assert_eq!((&one["queue"]["busy"], &one["status"]), (&json!(1), &json!(503)), "{one}");
    assert_eq!(running.await.expect("no panic"), 200);
}
