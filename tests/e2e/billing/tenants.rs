//! Very many tenants.

use super::{Used, after, billing, settled};
use crate::harness::Stripe;

#[tokio::test]
async fn ten_thousand_tenants_are_billed_once_each() {
    let names: Vec<String> = (0..10_000).map(|number| format!("cus_{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stripe = Stripe::start(&names).await;
    let used: Vec<Used<'_>> =
        names.iter().zip(1..).map(|(name, calls)| Used::calls(name, 60, calls)).collect();
    let par = after(billing(stripe.port), &used).await;
    settled(&par).await;
    let totals = stripe.totals();
    assert_eq!((totals.len(), stripe.counted().len()), (10_000, 10_000));
    for one in used {
        let billed = totals.get(&(one.tenant.to_owned(), "par_requests".to_owned()));
        assert_eq!(billed, Some(&one.requests), "{}", one.tenant);
    }
    assert_eq!(stripe.crowded(), 0);
}
