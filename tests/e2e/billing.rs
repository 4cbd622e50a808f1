//! What tenants have used is billed: once each, whatever happens on the way. The billing side is a double that enforces
//! the rules that Stripe documents; usage of former hours is written into the ledger as the runtime itself writes it.

mod crash;
mod customers;
mod later;
mod streams;
mod tenants;
mod windows;

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::harness::{
    Answered, Client, Fault, Faults, Par, ParBuilder, Stripe, eventually, eventually_within, par, scratch,
    stripe::{KEY, NOTICES},
};

/// The minute that is now, since 1970.
fn minute() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs() / 60).expect("not yet")
}

/// Usage of a tenant in a former minute.
#[derive(Debug, Clone, Copy)]
struct Used<'a> {
    tenant: &'a str,
    ago: i64,
    requests: i64,
    tokens: i64,
    worker_us: i64,
    outcome: &'a str,
}

impl<'a> Used<'a> {
    fn calls(tenant: &'a str, ago: i64, requests: i64) -> Self {
        Self { tenant, ago, requests, tokens: 0, worker_us: 0, outcome: "ok" }
    }
}

/// Writes usage of former minutes into the ledger of a `par` that does not run.
fn write(data_dir: &Path, used: &[Used<'_>]) {
    let mut ledger = Connection::open(data_dir.join("usage/ledger.db")).expect("the ledger");
    let transaction = ledger.transaction().expect("nobody else writes");
    for one in used {
        transaction
            .execute(
                "INSERT INTO usage VALUES (?1, ?2, 'a/b', '1.0.0', ?3, ?4, ?5, 0, 0, ?6, 0, 0, 0, 0, 0)",
                params![minute() - one.ago, one.tenant, one.outcome, one.requests, one.tokens, one.worker_us],
            )
            .expect("a row");
    }
    transaction.commit().expect("they are written");
}

/// A builder that bills at this port, every second, and the last three hours.
fn billing(port: u16) -> ParBuilder {
    let since = (minute() - 180) * 60;
    par()
        .env("STRIPE_KEY", KEY)
        .env("STRIPE_API_URL", format!("http://127.0.0.1:{port}"))
        .env("STRIPE_WEBHOOK_SECRET", NOTICES)
        .setting("billing.every", "1s")
        .setting("billing.window", "1m")
        .setting("billing.since", since.to_string())
}

/// Starts a `par` of this builder on a ledger with this usage.
async fn after(builder: ParBuilder, used: &[Used<'_>]) -> Par {
    // Without a key nothing is billed, and the ledger is made.
    let first = builder.clone().env("STRIPE_KEY", "").start().await;
    let place = first.data_dir().to_owned();
    first.stop().await;
    write(&place, used);
    builder.start().await
}

/// Waits until everything up to now is in events and nothing waits to be taken.
async fn settled(par: &Par) -> Value {
    settled_for(&par.operator()).await
}

/// The same, as this operator sees it.
async fn settled_for(operator: &Client) -> Value {
    let settled = async || {
        let told = operator.get("/runtime/usage/billing").await.ok();
        let planned = told["planned_until"].as_str().map_or(-1000, of_day);
        let behind = (minute() - planned).rem_euclid(24 * 60);
        let is_planned = planned >= 0 && behind < 4;
        (told["unsent"] == 0 && is_planned).then_some(told)
    };
    eventually_within(Duration::from_secs(90), "everything is sent", settled).await
}

/// The minute of the day in RFC 3339.
fn of_day(text: &str) -> i64 {
    let part = |from| text.get(from..from + 2).and_then(|digits| digits.parse::<i64>().ok()).expect("a time");
    part(11) * 60 + part(14)
}

fn requests(stripe: &Stripe, customer: &str) -> i64 {
    stripe.totals().get(&(customer.into(), "par_requests".into())).copied().unwrap_or(0)
}

#[tokio::test]
async fn usage_of_windows_that_are_over_is_billed_once() {
    let stripe = Stripe::start(&["cus_1", "cus_2"]).await;
    let used = [
        Used::calls("cus_1", 170, 7),
        Used { tokens: 40, worker_us: 1_700_000, ..Used::calls("cus_1", 100, 5) },
        Used { worker_us: 1_400_000, ..Used::calls("cus_1", 90, 1) },
        Used::calls("cus_2", 90, 3),
        // What the runtime has done wrong nobody pays for.
        Used { outcome: "worker_crashed", ..Used::calls("cus_2", 90, 50) },
        // Before billing began.
        Used::calls("cus_2", 300, 1000),
    ];
    let par = after(billing(stripe.port), &used).await;
    settled(&par).await;
    let totals = stripe.totals();
    let total = |customer: &str, name: &str| totals.get(&(customer.into(), name.into())).copied();
    assert_eq!(total("cus_1", "par_requests"), Some(13));
    assert_eq!(total("cus_1", "par_input_tokens"), Some(40));
    assert_eq!(total("cus_1", "par_output_tokens"), None, "nothing is sent for nothing");
    assert_eq!(total("cus_1", "par_compute_seconds"), Some(3), "parts of a second are carried on");
    assert_eq!(total("cus_2", "par_requests"), Some(3));
    assert_eq!(stripe.counted().len(), 7, "{:?}", stripe.counted());
    let told = par.cli(&["usage", "verify"]).await;
    assert!(told.code == 0 && told.stdout.contains("cus_1"), "{}", told.stdout);
    let text = par.metrics().get("/metrics").await.text();
    assert!(
        text.contains("\npar_usage_unsent 0\n") && text.contains("\npar_usage_oldest_unsent_seconds 0\n")
    );
    // A restart finds everything done.
    let par = par.restart().await;
    settled(&par).await;
    assert_eq!(stripe.counted().len(), 7);
    assert!(!par.everything_said().contains(KEY), "the key is nowhere in the log");
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_sent_again_and_counted_once() {
    let stripe = Stripe::start(&["cus_1"]).await;
    let faults = Faults::before(stripe.port).await;
    faults.script.then(
        "meter_events",
        [
            Fault::Status(500, None),
            Fault::Status(429, Some(1)),
            Fault::Status(409, None),
            // Counted, and the answer is lost.
            Fault::Reset(0),
        ],
    );
    let par = after(billing(faults.port), &[Used::calls("cus_1", 60, 7)]).await;
    settled(&par).await;
    assert_eq!(requests(&stripe, "cus_1"), 7);
    let asked = faults.script.asked("meter_events");
    assert_eq!(asked.len(), 5, "each of them was tried again: {asked:?}");
    assert_eq!(asked.last().expect("the last one").status, 400, "it was there already");
}

#[tokio::test]
async fn events_of_one_customer_and_meter_never_meet() {
    let customers: Vec<String> = (0..6).map(|n| format!("cus_{n}")).collect();
    let names: Vec<&str> = customers.iter().map(String::as_str).collect();
    let stripe = Stripe::start(&names).await;
    let used: Vec<Used<'_>> =
        names.iter().flat_map(|name| (10..30).map(|ago| Used::calls(name, ago, 1))).collect();
    let par = after(billing(stripe.port), &used).await;
    settled(&par).await;
    assert_eq!(stripe.counted().len(), 120);
    assert_eq!(stripe.crowded(), 0);
}

#[tokio::test]
async fn a_tenant_that_is_nobodys_customer_waits_until_it_is() {
    let stripe = Stripe::start(&["cus_1", "cus_2"]).await;
    let folder = scratch();
    let map = folder.path().join("customers.yaml");
    std::fs::write(&map, "acme: cus_1\n").expect("a file");
    let builder = billing(stripe.port).setting("billing.customers", map.to_str().expect("a path"));
    let par = after(builder, &[Used::calls("acme", 60, 7), Used::calls("evil", 60, 5)]).await;
    let operator = par.operator();
    let told = eventually("one waits", async || {
        let told = operator.get("/runtime/usage/billing").await.ok();
        (told["unsent"] == 1 && !told["troubled"][0].is_null()).then_some(told)
    })
    .await;
    let waits = &told["troubled"][0];
    assert_eq!(
        (&waits["tenant"], &waits["value"], &waits["state"]),
        (&json!("evil"), &json!(5), &json!("open"))
    );
    assert!(waits["reason"].as_str().is_some_and(|text| text.contains("nobody's customer")), "{waits}");
    let verified = par.cli(&["usage", "verify"]).await;
    assert!(verified.code == 1 && verified.stdout.contains("evil"), "{}", verified.stdout);
    // Written at another second than before: it is read when it has changed.
    std::fs::write(&map, "acme: cus_1\nevil: cus_2\n").expect("a file");
    settled(&par).await;
    assert_eq!((requests(&stripe, "cus_1"), requests(&stripe, "cus_2")), (7, 5));
}

#[tokio::test]
async fn what_is_refused_is_told_and_can_be_tried_again() {
    let stripe = Stripe::start(&["cus_1"]).await;
    let builder = billing(stripe.port).allow("usage_refused");
    let par = after(builder, &[Used::calls("cus_1", 60, 7), Used::calls("cus_9", 60, 5)]).await;
    let told = settled(&par).await;
    let refused = &told["troubled"][0];
    assert_eq!((&refused["state"], &refused["customer"]), (&json!("refused"), &json!("cus_9")));
    assert!(refused["reason"].as_str().is_some_and(|text| text.contains("No such customer")), "{refused}");
    assert_eq!(requests(&stripe, "cus_1"), 7, "others are not held up");
    let identifier = json!({"identifier": refused["identifier"]});
    let foreign = par.http.request(reqwest::Method::POST, "/runtime/usage/billing/retry");
    let foreign = foreign.header("origin", "https://evil.example").json(&identifier);
    foreign.answer().await.problem(401, "unauthenticated");
    stripe.welcome("cus_9");
    par.operator().post("/runtime/usage/billing/retry", &identifier).await.ok();
    settled(&par).await;
    assert_eq!(requests(&stripe, "cus_9"), 5);
    let again = par.operator().post("/runtime/usage/billing/retry", &identifier).await;
    again.problem(404, "not_found");
}

#[tokio::test]
async fn a_key_that_is_not_good_loses_nothing() {
    let stripe = Stripe::start(&["cus_1"]).await;
    let builder = billing(stripe.port).env("STRIPE_KEY", "sk_test_wrong").allow("billing_failed");
    let par = after(builder, &[Used::calls("cus_1", 60, 7)]).await;
    par.wait_for_line("billing_failed", |line| line.event() == "billing_failed").await;
    let par = par.stop().await.env("STRIPE_KEY", KEY).start().await;
    settled(&par).await;
    assert_eq!(requests(&stripe, "cus_1"), 7);
}
