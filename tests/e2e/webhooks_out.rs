//! What PAR tells others: signed, in order, and not lost.

use std::{path::Path, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    Delivery, Index, Package, Par, ParBuilder, Receiver, eventually, eventually_within, par, scratch,
};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const NEXT: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Longer than the first steps of any back-off.
const PATIENCE: Duration = Duration::from_secs(60);

fn telling(receiver: &Receiver, folder: &Path, packages: &[Package]) -> ParBuilder {
    let url = Index::of(packages).in_folder(folder);
    par()
        .production()
        .env("REGISTRY_URL", url)
        .env("REGISTRY_POLL_INTERVAL", "1h")
        .env("WEBHOOK_URL", receiver.url())
        .env("WEBHOOK_SECRET", SECRET)
}

async fn reload(par: &Par, body: &Value) {
    par.operator().post("/runtime/reload", body).await.ok();
}

async fn switch(par: &Par, agent: &str, enabled: bool) {
    par.operator().post(&format!("/runtime/agents/{agent}/enable"), &json!({"enabled": enabled})).await.ok();
}

async fn deliveries(par: &Par) -> Value {
    par.operator().get("/runtime/webhooks/deliveries").await.ok()
}

#[tokio::test]
async fn everything_that_happens_is_told_signed_and_in_order() {
    let folder = scratch();
    let receiver = Receiver::start().await;
    let package = |version: &str| Package::saying("told", version, version);
    let other = Package::saying("other", "1.0.0", "x");
    let par = telling(&receiver, folder.path(), &[package("1.0.0"), other.clone()])
        .allow("package_failed")
        .allow("rolled_back")
        .start()
        .await;
    Index::of([&package("2.0.0"), &other]).in_folder(folder.path());
    reload(&par, &json!({})).await;
    let bad = Package::with_main("told", "3.0.0", "raise RuntimeError('not today')\n");
    Index::of([&bad, &other]).in_folder(folder.path());
    reload(&par, &json!({})).await;
    par.operator().post_empty("/runtime/packages/told/rollback").await.ok();
    switch(&par, "told", false).await;
    switch(&par, "told", true).await;
    Index::of([&other]).in_folder(folder.path());
    reload(&par, &json!({})).await;
    receiver.accepts("package.unmounted").await;

    let of_told = |value: &Value| value["data"].to_string().contains("told");
    let all: Vec<_> = receiver.deliveries().into_iter().filter(|one| of_told(&one.json())).collect();
    let kinds: Vec<String> = all.iter().map(Delivery::kind).collect();
    let expected = [
        "package.mounted",
        "package.updated",
        "package.failed",
        "package.rolled_back",
        "agent.disabled",
        "agent.enabled",
        "package.unmounted",
    ];
    assert_eq!(kinds, expected);
    let mut ids = vec![];
    for one in &all {
        assert!(one.is_signed_with(SECRET), "{one:?}");
        assert!(!one.is_signed_with(NEXT), "{one:?}");
        let body = one.json();
        assert!(body["timestamp"].as_str().is_some_and(|text| text.contains('T')), "{body}");
        ids.push(one.header("webhook-id").to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), expected.len(), "each has an id of its own");
    let data = |at: usize| all[at].json()["data"].clone();
    assert_eq!((&data(1)["package"], &data(1)["version"]), (&json!("told"), &json!("2.0.0")), "{}", data(1));
    assert_eq!(data(2)["step"], "template", "{}", data(2));
    assert!(data(2)["detail"].to_string().contains("not today"), "{}", data(2));
    assert!(data(3).to_string().contains("1.0.0") && data(3).to_string().contains("2.0.0"), "{}", data(3));
}

#[tokio::test]
async fn while_secrets_are_rotated_both_sign() {
    let folder = scratch();
    let receiver = Receiver::start().await;
    let par = telling(&receiver, folder.path(), &[Package::saying("one", "1.0.0", "x")])
        .env("WEBHOOK_SECRET", format!("{SECRET} {NEXT}"))
        .start()
        .await;
    let delivery = receiver.accepts("package.mounted").await;
    assert!(delivery.is_signed_with(SECRET) && delivery.is_signed_with(NEXT), "{delivery:?}");
    let told = format!("{} {}", par.everything_said(), deliveries(&par).await);
    assert!(!told.contains(&SECRET[6..]) && !told.contains(&NEXT[6..]), "secrets are not told");
}

#[tokio::test]
async fn a_receiver_that_fails_is_asked_again_and_order_is_kept() {
    let folder = scratch();
    let receiver = Receiver::start().await;
    receiver.answers([503]);
    let par =
        telling(&receiver, folder.path(), &[Package::saying("one", "1.0.0", "x")]).allow("*").start().await;
    for enabled in [false, true] {
        switch(&par, "one", enabled).await;
    }
    eventually_within(PATIENCE, "all are told in the end", async || {
        (receiver.accepted().len() >= 3).then_some(())
    })
    .await;
    assert_eq!(receiver.accepted(), ["package.mounted", "agent.disabled", "agent.enabled"]);
    let tries: Vec<_> =
        receiver.deliveries().into_iter().filter(|one| one.kind() == "package.mounted").collect();
    assert_eq!(tries.len(), 2);
    for one in &tries {
        assert_eq!(one.header("webhook-id"), tries[0].header("webhook-id"), "the id stays");
        assert_eq!(one.body, tries[0].body, "and so does the body");
        assert!(one.is_signed_with(SECRET), "each attempt is signed: {one:?}");
    }
}

#[tokio::test]
async fn what_was_not_told_is_told_after_a_kill_and_a_restart() {
    let folder = scratch();
    let receiver = Receiver::start().await;
    let port = receiver.port;
    let builder = telling(&receiver, folder.path(), &[Package::saying("one", "1.0.0", "x")]).allow("*");
    drop(receiver);
    let mut par = builder.clone().start().await;
    switch(&par, "one", false).await;
    eventually("it is in the outbox", async || {
        deliveries(&par).await.to_string().contains('2').then_some(())
    })
    .await;
    par.kill();
    par.exit().await;
    drop(par);
    let receiver = Receiver::listen(port).await;
    let par = builder.start().await;
    receiver.accepts("agent.disabled").await;
    assert_eq!(receiver.accepted()[..2], ["package.mounted", "agent.disabled"]);
    for one in receiver.deliveries() {
        assert!(one.is_signed_with(SECRET), "{one:?}");
    }
    eventually("nothing is pending", async || {
        let told = deliveries(&par).await;
        (told["pending"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_a_receiver_never_wants_is_a_dead_letter_that_people_see() {
    let folder = scratch();
    let receiver = Receiver::start().await;
    receiver.answers([410]);
    let par =
        telling(&receiver, folder.path(), &[Package::saying("gone", "1.0.0", "x")]).allow("*").start().await;
    let told = eventually("a dead letter", async || {
        let told = deliveries(&par).await;
        let dead = told["dead"].to_string().contains("package.mounted");
        dead.then_some(told)
    })
    .await;
    assert!(told.to_string().contains("410") && told.to_string().contains("gone"), "{told}");
    switch(&par, "gone", false).await;
    receiver.accepts("agent.disabled").await;
    par.http.request(Method::GET, "/runtime/webhooks/deliveries").send().await.map_or_else(
        |error| panic!("{error}"),
        |answer| assert_eq!(answer.status(), 401, "not for everybody"),
    );
}

#[tokio::test]
async fn a_receiver_that_is_silent_holds_nothing_up() {
    let folder = scratch();
    let receiver = Receiver::start().await;
    receiver.falls_silent();
    let one = |version: &str| Package::saying("one", version, version);
    let mut par = telling(&receiver, folder.path(), &[one("1.0.0")]).allow("*").start().await;
    for version in ["2.0.0", "3.0.0"] {
        Index::of([&one(version)]).in_folder(folder.path());
        reload(&par, &json!({})).await;
        assert_eq!(par.http.invoke("one", &json!({})).await.ok(), json!(version));
    }
    par.term();
    let begun = std::time::Instant::now();
    assert_eq!(par.exit().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn packages_do_not_wait_for_each_others_deliveries() {
    let folder = scratch();
    let receiver = Receiver::start().await;
    // The first one that comes is refused and waits for its next attempt; the other goes through at once.
    receiver.answers([500]);
    let packages = ["first", "second"].map(|name| Package::saying(name, "1.0.0", name));
    let par = telling(&receiver, folder.path(), &packages).allow("*").start().await;
    eventually_within(PATIENCE, "both are told", async || (receiver.accepted().len() == 2).then_some(()))
        .await;
    let order: Vec<(String, u16)> = receiver
        .deliveries()
        .iter()
        .map(|one| (one.json()["data"]["package"].as_str().unwrap_or_default().to_owned(), one.answered))
        .collect();
    assert_eq!(order.len(), 3, "{order:?}");
    assert_eq!((&order[0].0, order[0].1), (&order[2].0, 500), "{order:?}");
    assert_eq!(order[1].1, 204, "{order:?}");
    assert_ne!(order[1].0, order[0].0, "{order:?}");
    assert!(par.metrics().get("/metrics").await.text().contains("par_webhook"), "metrics count them");
}
