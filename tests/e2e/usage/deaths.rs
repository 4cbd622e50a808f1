//! Calls whose workers die with them: what they had told until then counts.

use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;

use super::{call, host, once, recorded};
use crate::harness::{
    Answered, Package, eventually, eventually_within,
    process::Process,
    scratch,
    telemetry::{Collector, named},
};

const CODE: &str = "
import os, time
from pixell_runtime import usage

def exits(*, word, context):
    with context.span('asked a model'):
        usage.record(model='m', input_tokens=60, output_tokens=40)
        time.sleep(0.02)
    os._exit(3)

def hangs(*, word):
    usage.record(model='m', input_tokens=7)
    print('spent by', os.getpid(), flush=True)
    while True:
        time.sleep(1)
";

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn deadly() -> Package {
    let exports =
        "exports:\n  - {id: exits, handler: 'main:exits'}\n  - {id: hangs, handler: 'main:hangs'}\n";
    Package::new("deadly", "1.0.0", exports).file("main.py", CODE)
}

#[tokio::test]
async fn what_a_call_had_told_before_its_worker_died_counts() {
    let folder = scratch();
    let collector = Collector::start().await;
    let builder = collector.told_by(host(folder.path())).source(deadly().directory(folder.path()));
    let par = builder.start().await;
    let word = json!({"word": "w"});

    // By itself.
    let exits = call(&par.http, "exits", "deadly/exits", &word);
    let exits = exits.header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"));
    exits.answer().await.problem(502, "worker_crashed");
    let record = once(&par, "exits").await;
    assert_eq!(record["outcome"], "worker_crashed");
    let tokens = &record["tokens"][0];
    assert_eq!((&tokens["input_tokens"], &tokens["output_tokens"]), (&60.into(), &40.into()), "{record}");
    let spans = collector.trace(TRACE, 6).await;
    assert_eq!(named(&spans, "asked a model").text("parent"), named(&spans, "worker").text("id"));
    assert_eq!(named(&spans, "invoke_agent exits").attribute("gen_ai.usage.input_tokens"), &json!(60));

    // By somebody else, while its caller waits.
    let killed = tokio::spawn(call(&par.http, "killed", "deadly/hangs", &word).send());
    let spent = |id: &'static str| {
        let par = &par;
        async move {
            let line = par
                .wait_for_line("it has spent", |line| {
                    line.event() == "agent_output" && line.mentions("spent by") && line.mentions(id)
                })
                .await;
            let text = line.text();
            let pid = text.split("spent by ").nth(1).expect("a process");
            pid.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().expect("a number")
        }
    };
    let pid = spent("killed").await;
    Process::running(pid).expect("a worker").signal(Signal::KILL);
    assert_eq!(killed.await.expect("no panic").expect("an answer").status(), 502);
    let record = once(&par, "killed").await;
    assert_eq!(
        (&record["outcome"], &record["tokens"][0]["input_tokens"]),
        (&"worker_crashed".into(), &7.into())
    );

    // By the runtime, when its caller has long had its answer.
    let late = call(&par.http, "late", "deadly/hangs", &word).header("x-par-timeout-ms", "1500");
    late.answer().await.problem(504, "deadline_exceeded");
    let told = async || recorded(&par, "late").await.1.pop();
    let amendment = eventually_within(std::time::Duration::from_secs(30), "its worker is gone", told).await;
    assert_eq!(amendment["tokens"][0]["input_tokens"], 7, "{amendment}");

    let all = par.operator().request(Method::GET, "/runtime/usage?by=outcome").answer().await.ok();
    let sum = |outcome: &str| {
        let rows = all["rows"].as_array().expect("rows").iter();
        rows.filter(|row| row["outcome"] == outcome)
            .map(|row| row["input_tokens"].as_i64().unwrap_or(0))
            .sum::<i64>()
    };
    assert_eq!((sum("worker_crashed"), sum("deadline_exceeded")), (67, 7), "{all}");
    eventually("they are in the metrics", async || {
        let text = par.metrics().get("/metrics").await.text();
        text.contains(r#"par_tokens_total{agent="deadly/exits",kind="input"} 60"#).then_some(())
    })
    .await;
}
