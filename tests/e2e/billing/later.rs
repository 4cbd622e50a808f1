//! What happens when much time has passed: names that are forgotten, windows that are too old.

use rusqlite::Connection;
use serde_json::json;

use super::{Used, after, billing, requests, settled};
use crate::harness::{Fault, Faults, Par, ParBuilder, Stripe, eventually, free_ports};

/// Lets a day pass for what was sent and never answered, in the book of a `par` that does not run.
async fn a_day_later(par: Par) -> ParBuilder {
    let place = par.data_dir().join("usage/billing.db");
    let builder = par.stop().await;
    let book = Connection::open(place).expect("the book");
    let moved = book
        .execute(
            "UPDATE events SET first_sent = first_sent - 86400, next_try = 0 WHERE state = 'sending'",
            [],
        )
        .expect("rows");
    assert_eq!(moved, 1, "one event has no answer");
    builder
}

/// Waits until the event of a `par` was sent once and has no answer.
async fn unanswered(par: &Par) {
    let operator = par.operator();
    eventually("it was sent", async || {
        let told = operator.get("/runtime/usage/billing").await.ok();
        (told["troubled"][0]["state"] == "sending").then_some(())
    })
    .await;
}

#[tokio::test]
async fn after_a_day_what_was_counted_is_not_sent_again() {
    let stripe = Stripe::start(&["cus_1"]).await;
    let faults = Faults::before(stripe.port).await;
    faults.script.then("meter_events", [Fault::Reset(0)]);
    let par = after(billing(faults.port), &[Used::calls("cus_1", 60, 7)]).await;
    unanswered(&par).await;
    let builder = a_day_later(par).await;
    stripe.forget();
    let par = builder.start().await;
    settled(&par).await;
    assert_eq!(requests(&stripe, "cus_1"), 7, "its name is forgotten: sent again, it would count twice");
    assert_eq!(faults.script.asked("meter_events").len(), 1);
    assert_eq!(faults.script.asked("event_summaries").len(), 1);
}

#[tokio::test]
async fn two_days_without_the_billing_side_lose_nothing_and_wake_somebody() {
    let stripe = Stripe::start(&["cus_1"]).await;
    let [nobody, ..] = free_ports();
    let par = after(billing(nobody), &[Used::calls("cus_1", 60, 7), Used::calls("cus_1", 50, 5)]).await;
    let tried = async || {
        let told = par.operator().get("/runtime/usage/billing").await.ok();
        (told["unsent"] == 2 && told["troubled"][0]["tries"].as_u64() >= Some(1)).then_some(())
    };
    eventually("it was tried", tried).await;
    let place = par.data_dir().join("usage/billing.db");
    let builder = par.stop().await;
    // As it would stand there by then.
    let book = Connection::open(&place).expect("the book");
    let moved = book.execute(
        "UPDATE events SET due = due - 172800, first_sent = first_sent - 172800, next_try = 0,
         window_from = window_from - 2880, window_to = window_to - 2880",
        [],
    );
    assert_eq!(moved, Ok(2));
    let par = builder.allow("usage_unsent").start().await;
    let line = par.wait_for_line("it is told", |line| line.event() == "usage_unsent").await;
    assert!(line["details"]["seconds"].as_i64() >= Some(172_800), "{}", line.text());
    eventually("it is in the metrics", async || {
        let text = par.metrics().get("/metrics").await.text();
        let age = text.lines().find_map(|line| line.strip_prefix("par_usage_oldest_unsent_seconds "));
        age.and_then(|age| age.parse::<f64>().ok()).filter(|age| *age >= 172_800.0)
    })
    .await;
    // It is there again; whether something was counted before is asked for every quarter of an hour.
    let address = format!("http://127.0.0.1:{}", stripe.port);
    let builder = par.stop().await.env("STRIPE_API_URL", address);
    book.execute("UPDATE events SET next_try = 0", []).expect("rows");
    let par = builder.start().await;
    eventually("everything is sent", async || (requests(&stripe, "cus_1") == 12).then_some(())).await;
    settled(&par).await;
    assert_eq!((stripe.counted().len(), requests(&stripe, "cus_1")), (2, 12), "once each");
}

#[tokio::test]
async fn after_a_day_what_was_lost_is_sent_again() {
    let stripe = Stripe::start(&["cus_1"]).await;
    let faults = Faults::before(stripe.port).await;
    faults.script.then("meter_events", [Fault::Status(503, Some(60))]);
    let par = after(billing(faults.port), &[Used::calls("cus_1", 60, 7)]).await;
    unanswered(&par).await;
    let builder = a_day_later(par).await;
    stripe.forget();
    let par = builder.start().await;
    settled(&par).await;
    assert_eq!(requests(&stripe, "cus_1"), 7);
}

#[tokio::test]
async fn what_is_older_than_five_weeks_is_not_sent_and_told() {
    let stripe = Stripe::start(&["cus_1"]).await;
    let since = (super::minute() - 36 * 24 * 60) * 60;
    let builder = billing(stripe.port).setting("billing.since", since.to_string());
    let builder = builder.setting("billing.window", "1d");
    let par = after(builder, &[Used::calls("cus_1", 36 * 24 * 60, 7), Used::calls("cus_1", 3000, 5)]).await;
    let operator = par.operator();
    let told = eventually("both are through", async || {
        let told = operator.get("/runtime/usage/billing").await.ok();
        (told["unsent"] == 0 && requests(&stripe, "cus_1") == 5).then_some(told)
    });
    let told = told.await;
    let dead = &told["troubled"][0];
    assert_eq!((&dead["state"], &dead["value"]), (&json!("dead"), &json!(7)));
}
