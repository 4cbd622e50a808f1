//! One container, one agent: configuration, boot, readiness, surfaces and ends of single mode.

mod boot;
mod configuration;
mod exits;
mod failures;
mod sources;

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Line, Package, Par, ParBuilder, eventually_within, par};

/// The identity that the tests use.
const ID: &str = "app-7f3a";

/// An agent that answers with a word.
fn saying(word: &str) -> Package {
    Package::saying("tiny", "1.0.0", word)
}

/// `par` for one package that lies in a file.
fn serving(package: &Package, place: &std::path::Path) -> ParBuilder {
    par().single(ID, package.apkg(place).to_string_lossy())
}

/// Events of boots that fail.
const FAILURES: [&str; 3] = ["boot_failed", "package_failed", "download_refused"];

/// The same, with the lines of a boot that fails.
fn failing(builder: ParBuilder) -> ParBuilder {
    FAILURES.iter().fold(builder, |builder, event| builder.allow(event))
}

/// The first line of an event, or the end of the test.
fn line(par: &Par, event: &str) -> Line {
    let found = par.lines().into_iter().find(|line| line.event() == event);
    found.unwrap_or_else(|| panic!("no {event} in {}", par.everything_said()))
}

/// What `/health` says while something is missing, if anybody answers.
async fn unready(par: &Par) -> Option<Value> {
    let request = par.http.request(reqwest::Method::GET, "/health");
    let answer = crate::harness::Answered::try_answer(request).await.ok()?;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let health = answer.json();
    assert_eq!(health["ok"], false, "{health}");
    assert_eq!(health["surfaces"], serde_json::json!({"rest": false, "a2a": false, "ui": false}), "{health}");
    assert!(health["timestamp"].is_u64(), "{health}");
    Some(health)
}

/// Waits for the end of a boot that fails: health is never anything but 503. Returns the exit code.
async fn fails(par: &mut Par) -> i32 {
    let status = eventually_within(Duration::from_secs(60), "the failed boot ends", async || {
        unready(par).await;
        par.exited()
    })
    .await;
    par.exit().await;
    status.code().unwrap_or_else(|| panic!("it was killed: {status}"))
}
