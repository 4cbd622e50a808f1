//! What happens when much time has passed: names that are forgotten, windows that are too old.

use rusqlite::Connection;
use serde_json::json;

use super::{Used, after, billing, requests, settled};
use crate::harness::{Fault, Faults, Par, ParBuilder, Stripe, eventually};

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
