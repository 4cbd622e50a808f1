//! Ends at the worst moments.

use std::time::Duration;

use super::{Used, after, billing, minute, requests, settled};
use crate::harness::{Fault, Faults, Stripe, eventually_within};

#[tokio::test]
async fn a_crash_between_sending_and_the_answer_bills_nothing_twice() {
    let stripe = Stripe::start(&["cus_1"]).await;
    let faults = Faults::before(stripe.port).await;
    // Counted, and then silence.
    faults.script.then("meter_events", [Fault::Stall(0)]);
    let mut par = after(billing(faults.port), &[Used::calls("cus_1", 60, 7)]).await;
    let counted = async || (requests(&stripe, "cus_1") == 7).then_some(());
    eventually_within(Duration::from_secs(20), "it is counted", counted).await;
    par.kill();
    par.exit().await;
    let par = par.anew().start().await;
    settled(&par).await;
    assert_eq!(requests(&stripe, "cus_1"), 7);
    assert_eq!(faults.script.asked("meter_events").len(), 2, "sent again under the same name");
}

#[tokio::test]
async fn after_crashes_under_load_the_sum_there_is_the_ledger() {
    let stripe = Stripe::start(&["cus_1"]).await;
    let builder = billing(stripe.port).agent("echo").setting("billing.customers", "");
    let folder = crate::harness::scratch();
    let map = folder.path().join("customers.yaml");
    std::fs::write(&map, "\"127.0.0.1\": cus_1\n").expect("a file");
    let builder = builder.setting("billing.customers", map.to_str().expect("a path"));
    let began = minute();
    let mut par = builder.start().await;
    let mut answered = 0;
    for _ in 0..3 {
        for _ in 0..50 {
            par.http.invoke("echo", &serde_json::json!({"n": 1})).await.ok();
            answered += 1;
        }
        par.kill();
        par.exit().await;
        let again = par.anew();
        // Dropping takes down what is left of it; later that would be the new one.
        drop(par);
        par = again.start().await;
    }
    // Its minute has to be over, and sealed.
    let taken = async || (requests(&stripe, "cus_1") >= answered).then_some(());
    eventually_within(Duration::from_secs(200), "everything is billed", taken).await;
    settled(&par).await;
    assert_eq!(requests(&stripe, "cus_1"), answered, "every call that was answered, and no other");
    assert!(stripe.counted().iter().all(|one| one.at >= began * 60));
    let told = par.cli(&["usage", "verify"]).await;
    assert_eq!(told.code, 0, "{}", told.stdout);
}
