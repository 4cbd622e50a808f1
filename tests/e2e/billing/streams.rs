//! Streams of v2: taken by the hundred, looked at later, refused by a notice.

use serde_json::json;

use super::{Used, after, billing, requests, settled};
use crate::harness::{Stripe, stripe::NOTICES};

#[tokio::test]
async fn a_stream_takes_events_by_the_hundred_and_begins_a_new_session_when_one_is_over() {
    let stripe = Stripe::start(&["cus_1"]).await;
    let used: Vec<Used<'_>> = (10..160).map(|ago| Used::calls("cus_1", ago, 1)).collect();
    // A hundred and fifty events are two requests, and the second one finds its session ended.
    stripe.ends_sessions();
    let par = after(billing(stripe.port).setting("billing.api", "v2"), &used).await;
    settled(&par).await;
    assert_eq!(requests(&stripe, "cus_1"), 150);
    assert!(
        stripe.counted().iter().any(|one| one.at < (super::minute() - 100) * 60),
        "in the time of its use"
    );
}

#[tokio::test]
async fn what_is_refused_later_is_closed_by_its_notice() {
    for thin in [false, true] {
        let stripe = Stripe::start(&["cus_1"]).await;
        let builder = billing(stripe.port).setting("billing.api", "v2").allow("usage_rejected");
        let par = after(builder, &[Used::calls("cus_1", 60, 7), Used::calls("cus_9", 60, 5)]).await;
        let told = settled(&par).await;
        assert_eq!(told["troubled"], json!([]), "a stream takes everything at first");
        assert_eq!(stripe.notify(&par.http, thin, "whsec_wrong").await, 401);
        assert_eq!(
            settled(&par).await["troubled"],
            json!([]),
            "whoever does not know the secret changes nothing"
        );
        assert_eq!(stripe.notify(&par.http, thin, NOTICES).await, 200);
        let told = settled(&par).await;
        let refused = &told["troubled"][0];
        assert_eq!((&refused["state"], &refused["customer"]), (&json!("refused"), &json!("cus_9")));
        let reason = refused["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("meter_event_customer_not_found"), "{reason}");
        assert_eq!(requests(&stripe, "cus_1"), 7);
        let verified = par.cli(&["usage", "verify"]).await;
        assert!(verified.code == 1 && verified.stdout.contains("cus_9"), "{}", verified.stdout);
    }
}
