//! Customers that tokens name.

use std::path::Path;

use rusqlite::Connection;
use serde_json::json;

use super::{Used, billing, requests, settled_for, write};
use crate::harness::{IdentityProvider, Stripe, eventually};

/// Nothing was used so far, so nothing is billed twice if former windows are looked at again.
fn look_again(data_dir: &Path) {
    let book = Connection::open(data_dir.join("usage/billing.db")).expect("the book");
    let events: i64 = book.query_row("SELECT COUNT(*) FROM events", [], |row| row.get(0)).expect("a number");
    let moved = book.execute("UPDATE meta SET value = value - 120 WHERE key = 'planned'", []).expect("a row");
    assert_eq!((events, moved), (0, 1));
}

#[tokio::test]
async fn a_tenant_is_billed_to_the_customer_that_its_token_names() {
    let stripe = Stripe::start(&["cus_1", "cus_2"]).await;
    let issuer = IdentityProvider::start().await;
    issuer.knows("ann", json!({"tenant": "acme", "stripe": {"customer": "cus_1"}})).await;
    issuer.knows("bob", json!({"tenant": "umbrella", "payer": "cus_2"})).await;
    issuer.knows("mallory", json!({"tenant": "umbrella", "payer": ["cus_1", "cus_2"]})).await;
    issuer.knows("eve", json!({"tenant": "ops", "roles": ["par-operator"]})).await;
    let builder =
        billing(stripe.port).setting("billing.customer_claims", json!(["stripe.customer", "payer"]));
    let par = issuer.believed_by(builder).start().await;
    par.http.with_bearer(&issuer.token("ann").await).get("/agents").await.ok();
    let line = par.wait_for_line("it is noted", |line| line.event() == "customer_named").await;
    assert!(line.mentions("acme") && line.mentions("cus_1"), "{}", line.text());
    settled_for(&par.http.with_bearer(&issuer.token("eve").await)).await;

    // Whatever it has used is billed after a restart as well, without a token.
    let place = par.data_dir().to_owned();
    let builder = par.stop().await;
    write(&place, &[Used::calls("acme", 60, 7), Used::calls("umbrella", 60, 5)]);
    look_again(&place);
    let par = builder.start().await;
    let operator = par.http.with_bearer(&issuer.token("eve").await);
    let told = eventually("only the other one waits", async || {
        let told = operator.get("/runtime/usage/billing").await.ok();
        (told["unsent"] == 1 && !told["troubled"][0].is_null()).then_some(told)
    })
    .await;
    assert_eq!(told["troubled"][0]["tenant"], "umbrella");
    assert_eq!((requests(&stripe, "cus_1"), requests(&stripe, "cus_2")), (7, 0));

    // Who says it in a form that means nothing is nobody, and changes nothing.
    let mallory = par.http.with_bearer(&issuer.token("mallory").await);
    mallory.get("/agents").await.problem(401, "unauthenticated");
    par.http.with_bearer(&issuer.token("bob").await).get("/agents").await.ok();
    settled_for(&operator).await;
    assert_eq!((requests(&stripe, "cus_1"), requests(&stripe, "cus_2")), (7, 5));
}
