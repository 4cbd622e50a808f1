//! Webhooks as a whole, with a real receiver on loopback.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::SystemTime,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use par_pool::fleet::{Event, EventKind};
use prometheus::TextEncoder;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use self::receiver::{Answer, Receiver};
use super::*;
use crate::observe::{Redactor, timestamp};

mod receiver;

/// Long enough for whatever must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// `agent.enabled` of `package@1.0/export`, now.
pub(super) fn switched(package: &str, export: &str) -> Event {
    let agent = format!("{package}@1.0/{export}").parse().unwrap();
    let kind = EventKind::Switched { agent, enabled: true };
    Event { package: package.to_owned(), at: SystemTime::now(), kind }
}

/// Settings with `retries` pauses of a millisecond.
fn settings(url: &Url, retries: usize) -> WebhookSettings {
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut settings =
        WebhookSettings::new(url.clone(), vec![Secret::new("a plain secret")], Redactor::new());
    settings.schedule = Schedule::new(vec![Duration::from_millis(1); retries], Duration::from_secs(3600));
    settings
}

fn start(settings: WebhookSettings, folder: &TempDir) -> Webhooks {
    Webhooks::start(settings, folder.path(), &Registry::new()).unwrap()
}

fn tell(webhooks: &Webhooks, package: &str, exports: &[&str]) {
    let sink = webhooks.sink();
    for export in exports {
        (sink.0)(switched(package, export));
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// What is on disk after a stop.
fn on_disk(folder: &TempDir) -> Deliveries {
    Outbox::open(folder.path()).unwrap().deliveries().unwrap()
}

/// HMAC-SHA256 as RFC 2104 writes it, for keys of up to 64 bytes: nothing of it is shared with what signs.
fn hmac(key: &[u8], text: &[u8]) -> String {
    let pad = |with: u8| -> Vec<u8> {
        let mut block = [0_u8; 64];
        block[..key.len()].copy_from_slice(key);
        block.iter().map(|byte| byte ^ with).collect()
    };
    let inner = Sha256::digest([pad(0x36), text.to_vec()].concat());
    STANDARD.encode(Sha256::digest([pad(0x5c), inner.to_vec()].concat()))
}

#[tokio::test]
async fn an_event_arrives_with_a_signature_by_each_secret() {
    let mut receiver = Receiver::start(|_| Answer::Status(204)).await;
    let folder = folder();
    let keys: [&[u8]; 2] = [b"the new key, 24 bytes...", b"the old key as plain text"];
    let mut settings = settings(&receiver.url, 0);
    settings.secrets = vec![
        Secret::new(format!("whsec_{}", STANDARD.encode(keys[0]))),
        Secret::new(String::from_utf8(keys[1].to_vec()).unwrap()),
    ];
    let webhooks = start(settings, &folder);
    let before = SystemTime::now();
    tell(&webhooks, "billing", &["sum"]);
    let arrived = receiver.next().await;
    assert_eq!(arrived.path, "/hook");
    assert_eq!(arrived.header("content-type"), "application/json");
    assert!(arrived.header("user-agent").starts_with("par/"));
    assert!(arrived.id().starts_with("msg_"));
    let seconds: u64 = arrived.header("webhook-timestamp").parse().unwrap();
    let unix = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!((unix(before)..=unix(SystemTime::now())).contains(&seconds));
    let signed = [format!("{}.{seconds}.", arrived.id()).as_bytes(), &arrived.bytes].concat();
    let wanted = keys.map(|key| format!("v1,{}", hmac(key, &signed))).join(" ");
    assert_eq!(arrived.header("webhook-signature"), wanted);
    let body = arrived.body();
    assert_eq!((&body["type"], &body["data"]["package"]), (&"agent.enabled".into(), &"billing".into()));
    assert!(body["timestamp"].as_str().unwrap() >= timestamp::text(before).as_str());
    webhooks.stop(PATIENCE).await;
    assert_eq!(on_disk(&folder), Deliveries::default());
}

#[tokio::test]
async fn a_package_waits_for_its_first_event_and_others_do_not() {
    let tries = AtomicUsize::new(0);
    let permits = Arc::new(Semaphore::new(0));
    let hold = Arc::clone(&permits);
    let mut receiver = Receiver::start(move |arrived| {
        if arrived.agent() != "a/first" {
            Answer::Status(200)
        } else if tries.fetch_add(1, Ordering::SeqCst) < 3 {
            Answer::Status(500)
        } else {
            Answer::Hold(Arc::clone(&hold))
        }
    })
    .await;
    let folder = folder();
    let webhooks = start(settings(&receiver.url, 5), &folder);
    tell(&webhooks, "a", &["first", "second", "third"]);
    let mut ids = HashSet::new();
    for _ in 0..4 {
        let arrived = receiver.next().await;
        assert_eq!(arrived.agent(), "a/first");
        ids.insert(arrived.id().to_owned());
    }
    assert_eq!(ids.len(), 1, "a repeat has the id of the first attempt");
    tell(&webhooks, "b", &["first"]);
    assert_eq!(receiver.next().await.agent(), "b/first", "another package goes past");
    permits.add_permits(1);
    assert_eq!(receiver.next().await.agent(), "a/second");
    assert_eq!(receiver.next().await.agent(), "a/third");
    webhooks.stop(PATIENCE).await;
    assert_eq!((on_disk(&folder), receiver.rest()), (Deliveries::default(), 0));
}

#[tokio::test]
async fn order_holds_with_a_receiver_that_fails_now_and_then() {
    let requests = AtomicUsize::new(0);
    let fails = |number: usize| number % 4 == 1;
    let mut receiver = Receiver::start(move |_| {
        Answer::Status(if fails(requests.fetch_add(1, Ordering::SeqCst)) { 503 } else { 200 })
    })
    .await;
    let folder = folder();
    let webhooks = start(settings(&receiver.url, 100), &folder);
    let exports: Vec<String> = (100..110).map(|number| format!("e{number}")).collect();
    for export in &exports {
        for package in ["a", "b", "c"] {
            tell(&webhooks, package, &[export]);
        }
    }
    let mut seen: Vec<String> = Vec::new();
    while seen.iter().collect::<HashSet<_>>().len() < 30 {
        seen.push(receiver.next().await.agent());
    }
    for package in ["a", "b", "c"] {
        let mut of_one: Vec<_> =
            seen.iter().filter_map(|agent| agent.strip_prefix(&format!("{package}/"))).collect();
        of_one.dedup();
        assert_eq!(of_one, exports, "{package}");
    }
    assert!(seen.len() > 30, "some were repeated");
}

#[tokio::test]
async fn what_is_pending_survives_a_sudden_end() {
    let mut hanging = Receiver::start(|_| Answer::Never).await;
    let (before, after) = (folder(), folder());
    let webhooks = start(settings(&hanging.url, 3), &before);
    tell(&webhooks, "a", &["first", "second"]);
    let first = hanging.next().await;
    webhooks.status().await.unwrap();
    // What a process that is killed now leaves behind.
    for file in ["outbox.db", "outbox.db-wal"] {
        std::fs::copy(before.path().join(file), after.path().join(file)).unwrap();
    }
    let mut receiver = Receiver::start(|_| Answer::Status(200)).await;
    let webhooks = start(settings(&receiver.url, 3), &after);
    let again = receiver.next().await;
    assert_eq!((again.id(), &again.bytes), (first.id(), &first.bytes));
    assert_eq!(receiver.next().await.agent(), "a/second");
    webhooks.stop(PATIENCE).await;
    assert_eq!(on_disk(&after), Deliveries::default());
}

#[tokio::test]
async fn webhooks_that_are_dropped_and_started_again_go_on() {
    let folder = folder();
    let mut hanging = Receiver::start(|_| Answer::Never).await;
    let webhooks = start(settings(&hanging.url, 3), &folder);
    tell(&webhooks, "a", &["first"]);
    let first = hanging.next().await;
    drop(webhooks);
    let mut receiver = Receiver::start(|_| Answer::Status(200)).await;
    let _webhooks = start(settings(&receiver.url, 3), &folder);
    assert_eq!(receiver.next().await.id(), first.id());
}

#[tokio::test]
async fn a_stop_lets_running_attempts_end_and_begins_no_others() {
    let folder = folder();
    let permits = Arc::new(Semaphore::new(0));
    let hold = Arc::clone(&permits);
    let mut receiver = Receiver::start(move |_| Answer::Hold(Arc::clone(&hold))).await;
    let webhooks = start(settings(&receiver.url, 3), &folder);
    tell(&webhooks, "a", &["first", "second"]);
    receiver.next().await;
    let stop = webhooks.stop(PATIENCE);
    tokio::pin!(stop);
    assert!(futures_util::poll!(&mut stop).is_pending(), "an attempt runs");
    permits.add_permits(1);
    stop.await;
    webhooks.stop(PATIENCE).await;
    assert!(matches!(webhooks.status().await, Err(DeskError::Closed)));
    let left = on_disk(&folder);
    assert_eq!((left.pending, left.oldest.unwrap().attempts, receiver.rest()), (1, 0, 0));
    permits.add_permits(1);
    let _webhooks = start(settings(&receiver.url, 3), &folder);
    assert_eq!(receiver.next().await.agent(), "a/second");
}

#[tokio::test]
async fn a_stop_without_grace_cuts_attempts_and_keeps_their_letters() {
    let folder = folder();
    let mut receiver = Receiver::start(|_| Answer::Never).await;
    let webhooks = start(settings(&receiver.url, 3), &folder);
    tell(&webhooks, "a", &["first"]);
    receiver.next().await;
    webhooks.stop(Duration::ZERO).await;
    let left = on_disk(&folder);
    assert_eq!((left.pending, left.oldest.unwrap().attempts), (1, 0));
}

#[tokio::test]
async fn an_event_is_dead_when_its_schedule_ends_and_the_next_one_goes_on() {
    let mut receiver =
        Receiver::start(|arrived| Answer::Status(if arrived.agent() == "a/first" { 500 } else { 200 })).await;
    let folder = folder();
    let registry = Registry::new();
    let webhooks = Webhooks::start(settings(&receiver.url, 2), folder.path(), &registry).unwrap();
    tell(&webhooks, "a", &["first", "second"]);
    let first = receiver.next().await;
    for agent in ["a/first", "a/first", "a/second"] {
        assert_eq!(receiver.next().await.agent(), agent);
    }
    let status = webhooks.status().await.unwrap();
    let [dead] = &status.dead[..] else { panic!("{status:?}") };
    assert_eq!(
        (dead.id.as_str(), dead.event.as_str(), dead.package.as_str()),
        (first.id(), "agent.enabled", "a")
    );
    assert_eq!(
        (dead.attempts, dead.last_error.as_str()),
        (3, "the receiver answered 500 Internal Server Error")
    );
    assert_eq!(status.receiver.as_deref(), Some(receiver.url.as_str().trim_end_matches("/hook")));
    webhooks.stop(PATIENCE).await;
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for line in [
        "par_webhooks_pending 0",
        "par_webhook_deliveries_total{outcome=\"delivered\"} 1",
        "par_webhook_deliveries_total{outcome=\"failed\"} 2",
        "par_webhook_deliveries_total{outcome=\"dead\"} 1",
        "par_webhook_deliveries_total{outcome=\"lost\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}

#[tokio::test]
async fn a_receiver_that_wants_no_more_is_not_asked_again() {
    let mut receiver =
        Receiver::start(|arrived| Answer::Status(if arrived.agent() == "a/first" { 410 } else { 200 })).await;
    let folder = folder();
    let webhooks = start(settings(&receiver.url, 5), &folder);
    tell(&webhooks, "a", &["first", "second"]);
    assert_eq!(receiver.next().await.agent(), "a/first");
    assert_eq!(receiver.next().await.agent(), "a/second");
    let status = webhooks.status().await.unwrap();
    assert_eq!((status.dead.len(), status.dead[0].attempts), (1, 1));
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_one_timeout() {
    let requests = AtomicUsize::new(0);
    let mut receiver = Receiver::start(move |_| match requests.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::Never,
        _ => Answer::Status(200),
    })
    .await;
    let folder = folder();
    let mut settings = settings(&receiver.url, 1);
    settings.timeout = Duration::from_millis(200);
    let webhooks = start(settings, &folder);
    tell(&webhooks, "a", &["first"]);
    let first = receiver.next().await;
    assert_eq!(receiver.next().await.id(), first.id());
    webhooks.stop(PATIENCE).await;
    assert_eq!(on_disk(&folder), Deliveries::default());
}

#[tokio::test]
async fn redirects_are_failures() {
    let mut receiver = Receiver::start(|_| Answer::With(307, "location", "/elsewhere")).await;
    let folder = folder();
    let webhooks = start(settings(&receiver.url, 0), &folder);
    tell(&webhooks, "a", &["first", "second"]);
    assert_eq!((receiver.next().await.path, receiver.next().await.path), ("/hook".into(), "/hook".into()));
    let status = webhooks.status().await.unwrap();
    assert_eq!(
        status.dead[0].last_error,
        "the receiver answered 307 Temporary Redirect; redirects are not followed"
    );
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_is_left_alone() {
    let mut receiver = Receiver::start(|_| Answer::With(503, "retry-after", "600")).await;
    let folder = folder();
    let webhooks = start(settings(&receiver.url, 5), &folder);
    let begin = SystemTime::now();
    tell(&webhooks, "a", &["first"]);
    receiver.next().await;
    webhooks.stop(PATIENCE).await;
    let oldest = on_disk(&folder).oldest.unwrap();
    let least = timestamp::text(begin + Duration::from_secs(599));
    assert!(oldest.next_attempt > least, "{} > {least}", oldest.next_attempt);
    assert_eq!((oldest.attempts, receiver.rest()), (1, 0));
    assert_eq!(oldest.last_error.as_deref(), Some("the receiver answered 503 Service Unavailable"));
}

#[tokio::test]
async fn packages_are_told_side_by_side_but_not_more_than_eight() {
    let permits = Arc::new(Semaphore::new(0));
    let hold = Arc::clone(&permits);
    let mut receiver = Receiver::start(move |_| Answer::Hold(Arc::clone(&hold))).await;
    let folder = folder();
    let webhooks = start(settings(&receiver.url, 0), &folder);
    for number in 0..20 {
        tell(&webhooks, &format!("p{number}"), &["first", "second"]);
    }
    for _ in 0..8 {
        assert!(receiver.next().await.agent().ends_with("/first"));
    }
    permits.add_permits(40);
    for _ in 8..40 {
        receiver.next().await;
    }
    assert_eq!(receiver.most_at_once(), 8);
    webhooks.stop(PATIENCE).await;
    assert_eq!(on_disk(&folder), Deliveries::default());
}

#[tokio::test]
async fn nothing_of_the_receivers_address_but_its_origin_is_shown() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://user:hunter2@127.0.0.1:{port}/hunter2?token=hunter2").parse().unwrap();
    let folder = folder();
    let webhooks = start(settings(&url, 0), &folder);
    tell(&webhooks, "a", &["first"]);
    let look = async {
        loop {
            let status = webhooks.status().await.unwrap();
            if !status.dead.is_empty() {
                return status;
            }
        }
    };
    let status = timeout(PATIENCE, look).await.unwrap();
    let error = &status.dead[0].last_error;
    assert!(error.starts_with("the receiver could not be reached: "), "{error}");
    assert_eq!(status.receiver, Some(format!("http://127.0.0.1:{port}")));
    assert!(!serde_json::to_string(&status).unwrap().contains("hunter2"));
}

#[tokio::test]
async fn without_a_secret_or_an_address_of_the_web_nothing_is_started() {
    let folder = folder();
    for (address, secrets, text) in [
        ("http://127.0.0.1:1", vec![], "webhooks need at least one secret"),
        (
            "ftp://127.0.0.1:1",
            vec![Secret::new("secret")],
            "the receiver of webhooks must have an http:// or https:// address",
        ),
    ] {
        let mut settings = settings(&address.parse().unwrap(), 0);
        settings.secrets = secrets;
        let error = Webhooks::start(settings, folder.path(), &Registry::new()).err().unwrap();
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::InvalidInput, text));
    }
    assert!(!folder.path().join("outbox.db").exists());
}
