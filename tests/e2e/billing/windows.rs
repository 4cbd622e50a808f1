//! Hour by hour: what differs is named, and what ends with an hour is billed by the round of that hour.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use super::{Used, after, billing, minute, requests};
use crate::harness::{DayClock, Par, Stripe, eventually, eventually_within, scratch};

/// The middle of the hour that ended so many hours ago, as minutes before now.
fn ago(hours: i64) -> i64 {
    minute().rem_euclid(60) + hours * 60 + 30
}

/// The minute in which that hour began.
fn hour(hours: i64) -> i64 {
    minute() / 60 * 60 - hours * 60 - 60
}

/// Differences by tenant or customer, and the begin of the window.
fn differing(told: &serde_json::Value, list: &str, who: &str) -> Vec<(String, String)> {
    let all = told["windows"][list].as_array().expect("a list").iter();
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    all.map(|one| (text(&one[who]), text(&one["from"]))).collect()
}

/// A minute as it is told.
fn of(minute: i64) -> String {
    let seconds = minute.rem_euclid(24 * 60) * 60;
    format!("T{:02}:{:02}:", seconds / 3600, seconds / 60 % 60)
}

async fn verified(par: &Par, by: &str) -> (i32, serde_json::Value) {
    let told = par.cli(&["usage", "verify", "--by", by, "--json"]).await;
    (told.code, told.json())
}

#[tokio::test]
async fn the_hour_in_which_something_differs_is_named() {
    let stripe = Stripe::start(&["cus_1", "cus_2"]).await;
    // An hour must not end between two looks at the clock.
    let (earlier, later) = (hour(3), hour(2));
    let builder = billing(stripe.port).setting("billing.window", "1h");
    let builder = builder.setting("billing.since", (hour(4) * 60).to_string());
    let used = [
        Used::calls("cus_1", ago(3), 7),
        Used { worker_us: 1_700_000, ..Used::calls("cus_1", ago(2), 5) },
        Used { worker_us: 1_700_000, ..Used::calls("cus_2", ago(3), 3) },
        Used { worker_us: 1_700_000, ..Used::calls("cus_2", ago(2), 3) },
    ];
    let par = after(builder, &used).await;
    eventually("everything is sent", async || {
        let told = par.operator().get("/runtime/usage/billing").await.ok();
        let all = (requests(&stripe, "cus_1"), requests(&stripe, "cus_2")) == (12, 6);
        (all && told["unsent"] == 0).then_some(())
    })
    .await;
    let (code, told) = verified(&par, "hour").await;
    assert!(code == 0 && told["windows"]["compared"].as_u64() >= Some(3), "{told}");
    let text = par.cli(&["usage", "verify", "--by", "hour"]).await.stdout;
    assert!(text.contains("windows of a hour agree"), "{text}");

    // In sum nothing is missing: it was moved from one hour into another.
    let ledger = Connection::open(par.data_dir().join("usage/ledger.db")).expect("the ledger");
    ledger.busy_timeout(Duration::from_secs(10)).expect("a setting");
    let moved = ledger.execute(
        "UPDATE usage SET minute = minute - 60, tenant = 'cus_2', agent = 'c/d' WHERE tenant = 'cus_2' AND minute >= ?1",
        [later],
    );
    assert_eq!(moved, Ok(1));
    assert_eq!(par.cli(&["usage", "verify"]).await.code, 0);
    let (code, told) = verified(&par, "hour").await;
    assert_eq!((code, &told["balanced"]), (1, &json!(false)));
    assert_eq!(told["windows"]["accounts"], json!([]));
    let lines = differing(&told, "lines", "tenant");
    assert!(lines.iter().all(|(tenant, _)| tenant == "cus_2"), "{told}");
    for begin in [earlier, later] {
        assert!(lines.iter().any(|(_, from)| from.contains(&of(begin))), "{told}");
    }

    // The other side has lost something.
    stripe.loses("cus_1", later);
    let (_, told) = verified(&par, "hour").await;
    let accounts = differing(&told, "accounts", "customer");
    assert!(
        accounts.iter().all(|(customer, from)| customer == "cus_1" && from.contains(&of(later))),
        "{told}"
    );
    let requests = &told["windows"]["accounts"].as_array().expect("a list").iter();
    let lost = requests.clone().find(|one| one["measure"] == "requests").expect("requests are missing");
    assert_eq!((&lost["taken"], &lost["counted"]), (&json!(5), &json!(0)));
    let text = par.cli(&["usage", "verify", "--by", "hour"]).await;
    assert!(
        text.code == 1 && text.stdout.contains("these differ") && text.stdout.contains(&of(later)),
        "{text:?}"
    );
    assert_eq!(par.cli(&["usage", "verify", "--by", "week"]).await.code, 64);
    par.operator().get("/runtime/usage/verify?by=week").await.problem(400, "bad_request");
    par.operator().get("/runtime/usage/verify?by=day").await.ok();
}

#[tokio::test]
async fn what_ends_with_an_hour_is_billed_by_the_round_of_that_hour() {
    let stripe = Stripe::start(&["cus_1"]).await;
    let folder = scratch();
    let map = folder.path().join("customers.yaml");
    std::fs::write(&map, "\"127.0.0.1\": cus_1\n").expect("a file");
    let end = minute() / 60 * 3600;
    let (par, clock) = loop {
        // Shortly before the end of an hour.
        let clock = DayClock::ahead(0);
        clock.shift(end - 50 - clock.now());
        let builder = clock.of(billing(stripe.port)).agent("echo");
        let builder = builder.setting("billing.every", "1h").setting("billing.window", "1h");
        let builder = builder.setting("billing.since", (end - 3600).to_string());
        let par = builder.setting("billing.customers", map.to_str().expect("a path")).start().await;
        if clock.now() < end - 10 {
            break (par, clock);
        }
        // It took too long to start: the hour is over.
    };
    for _ in 0..20 {
        par.http.invoke("echo", &json!({})).await.ok();
    }
    assert_eq!(requests(&stripe, "cus_1"), 0);
    // Not so far that it would not be believed.
    clock.shift(end + 61 - clock.now());
    let billed = async || (requests(&stripe, "cus_1") == 20).then_some(());
    eventually_within(Duration::from_secs(90), "the hour is billed", billed).await;
    let counted = stripe.counted();
    assert!(counted.iter().all(|one| one.at == end - 3600), "{counted:?}");
    let told = par.operator().get("/runtime/usage/billing").await.ok();
    assert!(told["planned_until"].as_str().is_some_and(|text| text.contains(&of(end / 60))), "{told}");
}
