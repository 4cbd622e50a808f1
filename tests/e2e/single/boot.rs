//! Steps 1, 6, 7 and 9: the gate of readiness, the order of the boot, its log and its budget.

use std::{fs, time::Duration};

use serde_json::json;
use tokio::net::TcpStream;

use super::{ID, line, saying, serving, unready};
use crate::harness::{Line, Package, Par, eventually, scratch};

/// The events of a boot, in order.
const PHASES: [&str; 8] =
    ["config_read", "download", "verify", "extract", "install", "load", "serve", "ready"];

/// An agent whose import waits for a file.
fn waiting_for(file: &std::path::Path) -> Package {
    let place = file.to_string_lossy();
    let manifest = format!("entrypoint: main:run\npermissions: {{fs_read: [{:?}]}}", parent(file));
    let code = format!(
        "import os, time\nwhile not os.path.exists({place:?}):\n    time.sleep(0.02)\ndef run(input):\n    return 'here'\n"
    );
    Package::new("late", "1.0.0", &manifest).file("main.py", code)
}

fn parent(file: &std::path::Path) -> String {
    file.parent().expect("it lies somewhere").to_string_lossy().into_owned()
}

async fn accepts(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}

#[tokio::test]
async fn health_is_503_and_other_ports_are_shut_until_all_is_ready() {
    let place = scratch();
    let gate = place.path().join("gate");
    let par = serving(&waiting_for(&gate), place.path()).launch();
    eventually("REST answers from the first moment", async || unready(&par).await).await;
    par.wait_for_line("the package is being loaded", |line| line.event() == "install").await;
    for path in ["/health", "/runtime/health", "/agents/app-7f3a/health"] {
        let health = par.http.get(path).await;
        assert_eq!((health.status, &health.json()["status"]), (503, &json!("starting")), "{path}");
    }
    assert_eq!(par.http.get("/runtime/live").await.status, 200);
    par.http.invoke(ID, &json!({})).await.problem(503, "not_ready");
    assert!(!accepts(par.grpc_port).await && !accepts(par.ui_port).await);
    fs::write(&gate, "").expect("a file");
    par.wait_for_line("ready", |line| line.event() == "ready").await;
    let health = eventually("health says yes", async || {
        Some(par.http.get("/health").await).filter(|health| health.status == 200)
    })
    .await
    .ok();
    assert_eq!(health["ok"], true);
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["surfaces"], json!({"rest": true, "a2a": false, "ui": false}));
    assert_eq!(par.http.invoke(ID, &json!({})).await.ok(), json!("here"));
    assert_eq!(par.http.get("/agents/app-7f3a/health").await.ok()["agentId"], ID);
    let changed = line(&par, "health_changed");
    assert_eq!(
        (&changed["details"]["from"], &changed["details"]["to"]),
        (&json!("starting"), &json!("healthy"))
    );
    assert!(!changed["details"]["reason"].is_null());
}

#[tokio::test]
async fn the_log_tells_every_phase_in_order_with_its_time_and_whose_it_is() {
    let place = scratch();
    let builder = serving(&saying("x"), place.path()).env("DEPLOYMENT_ID", "d-42");
    let first = builder.start().await;
    assert_phases(&first);
    // What has nothing to do is told as well.
    let second = first.restart().await;
    assert_phases(&second);
    for line in second.lines() {
        assert_eq!(
            (&line["agentAppId"], &line["deploymentId"]),
            (&json!(ID), &json!("d-42")),
            "{}",
            line.text()
        );
        for member in ["ts", "level", "event"] {
            assert!(line[member].is_string(), "{member} in {}", line.text());
        }
    }
}

fn assert_phases(par: &Par) {
    let lines = par.lines();
    let told: Vec<&Line> = lines.iter().filter(|line| PHASES.contains(&line.event())).collect();
    let events: Vec<&str> = told.iter().map(|line| line.event()).collect();
    assert_eq!(events, PHASES, "{}", par.everything_said());
    for line in told {
        assert!(line["details"]["seconds"].is_number(), "{}", line.text());
    }
}

#[tokio::test]
async fn a_boot_over_its_budget_is_a_warning_with_the_time_of_each_phase() {
    let place = scratch();
    let par = serving(&saying("x"), place.path())
        .env("BOOT_BUDGET_MS", "1")
        .allow("boot_budget_exceeded")
        .start()
        .await;
    let warning = par.wait_for_line("the warning", |line| line.event() == "boot_budget_exceeded").await;
    assert_eq!(warning["level"].as_str().map(str::to_lowercase).as_deref(), Some("warn"));
    let phases = warning["details"]["phases"].as_str().expect("a text").to_owned();
    for phase in ["download", "extract", "install", "load"] {
        assert!(phases.contains(phase), "{phase} in {phases}");
    }
    assert_eq!(par.http.get("/health").await.status, 200, "a warning stops nothing");
}

#[tokio::test]
async fn a_boot_is_compared_with_the_budget_of_the_contract() {
    let place = scratch();
    let builder = serving(&saying("x"), place.path()).env("BOOT_BUDGET_MS", "5000");
    let par = builder.allow("boot_budget_exceeded").start().await;
    let seconds = line(&par, "ready")["details"]["seconds"].as_f64().expect("a number");
    par.wait_for_line("the end of the boot", |line| line.event() == "health_changed").await;
    let warned = par.lines().iter().any(|line| line.event() == "boot_budget_exceeded");
    assert_eq!(warned, seconds > 5.0, "{seconds} s");
    // With everything known from the first time, a busy machine is fast enough, too.
    let again = par.restart().await;
    let seconds = line(&again, "ready")["details"]["seconds"].as_f64().expect("a number");
    assert!(seconds > 0.0 && seconds < 5.0, "{seconds} s");
}

#[tokio::test]
async fn a_stop_during_the_boot_is_a_clean_one() {
    let place = scratch();
    let builder = serving(&waiting_for(&place.path().join("never")), place.path());
    // What was on its way is told as not mounted.
    let mut par = builder.allow("package_failed").launch();
    par.wait_for_line("the package is being loaded", |line| line.event() == "install").await;
    let begun = std::time::Instant::now();
    par.term();
    assert_eq!(par.exit().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
