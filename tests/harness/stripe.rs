//! The billing side as Stripe documents it: meter events of v1 and v2, their rules, sums of what was counted, and signed
//! notices of what was refused later. A double, since the real one cannot run here: it refuses whatever the
//! documentation says is refused.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{net::TcpListener, task::JoinHandle};

use super::Client;

/// The key of the account.
pub(crate) const KEY: &str = "sk_test_aSecretThatNobodyPrints";

/// The secret of its notices.
pub(crate) const NOTICES: &str = "whsec_aSecretOfNotices";

/// Meters, by the names of their events.
const METERS: [&str; 4] = ["par_requests", "par_input_tokens", "par_output_tokens", "par_compute_seconds"];

/// How long one event of v1 keeps its customer and meter busy.
const BUSY: Duration = Duration::from_millis(20);

/// An event that was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) name: String,
    pub(crate) customer: String,
    pub(crate) identifier: String,
    pub(crate) value: i64,
    pub(crate) at: i64,
}

#[derive(Debug, Default)]
struct Account {
    customers: HashSet<String>,
    counted: Vec<Counted>,
    remembered: HashSet<String>,
    busy: HashSet<(String, String)>,
    crowded: usize,
    sessions: HashSet<String>,
    short: bool,
    made: usize,
    refused_later: Vec<(String, String)>,
    events: HashMap<String, Value>,
}

type Shared = Arc<Mutex<Account>>;

/// Runs until it is dropped.
pub(crate) struct Stripe {
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    account: Shared,
    task: JoinHandle<()>,
}

impl Drop for Stripe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stripe {
    /// An account with these customers.
    pub(crate) async fn start(customers: &[&str]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let account = Shared::default();
        account.lock().expect("no holder panics").customers = customers.iter().map(|&id| id.into()).collect();
        let routes = Router::new()
            .route("/v1/billing/meter_events", post(one))
            .route("/v1/billing/meters", get(meters))
            .route("/v1/billing/meters/{id}/event_summaries", get(summaries))
            .route("/v2/billing/meter_event_session", post(session))
            .route("/v2/billing/meter_event_stream", post(many))
            .route("/v2/core/events/{id}", get(event))
            .with_state(Arc::clone(&account));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { port, account, task }
    }

    fn look<T>(&self, look: impl FnOnce(&mut Account) -> T) -> T {
        look(&mut self.account.lock().expect("no holder panics"))
    }

    /// Somebody becomes a customer.
    pub(crate) fn welcome(&self, customer: &str) {
        self.look(|account| account.customers.insert(customer.into()));
    }

    /// A day has passed: names of events are remembered no more.
    pub(crate) fn forget(&self) {
        self.look(|account| account.remembered.clear());
    }

    /// What was counted for a customer at this minute is gone, as if it had never come.
    pub(crate) fn loses(&self, customer: &str, minute: i64) {
        let is_lost = |one: &Counted| one.customer == customer && one.at == minute * 60;
        let lost = self.look(|account| {
            let before = account.counted.len();
            account.counted.retain(|one| !is_lost(one));
            before - account.counted.len()
        });
        assert!(lost > 0, "nothing was counted there");
    }

    /// From now on a session is over after one request.
    pub(crate) fn ends_sessions(&self) {
        self.look(|account| account.short = true);
    }

    /// What was counted, by customer and name.
    pub(crate) fn totals(&self) -> BTreeMap<(String, String), i64> {
        self.look(|account| {
            let mut totals = BTreeMap::new();
            for one in &account.counted {
                *totals.entry((one.customer.clone(), one.name.clone())).or_insert(0) += one.value;
            }
            totals
        })
    }

    /// Every event that was counted, in order.
    pub(crate) fn counted(&self) -> Vec<Counted> {
        self.look(|account| account.counted.clone())
    }

    /// How often two events of one customer and meter came at once.
    pub(crate) fn crowded(&self) -> usize {
        self.look(|account| account.crowded)
    }

    /// Sends a signed notice of everything that was refused after it had been taken; `thin`: it only says where the
    /// details are. Gives the status of the answer.
    pub(crate) async fn notify(&self, to: &Client, thin: bool, secret: &str) -> u16 {
        let samples: Vec<Value> = self.look(|account| {
            let samples = account.refused_later.iter().map(|(identifier, message)| {
                json!({"error_message": message, "request": {"identifier": identifier}})
            });
            samples.collect()
        });
        let mut notice = json!({
            "id": "evt_test_1", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered",
            "data": {"developer_message_summary": "There is 1 invalid event", "reason": {
                "error_count": samples.len(),
                "error_types": [{"code": "meter_event_customer_not_found", "error_count": samples.len(),
                    "sample_errors": samples}],
            }},
        });
        self.look(|account| account.events.insert("evt_test_1".into(), notice.clone()));
        if thin {
            notice.as_object_mut().expect("an object").remove("data");
        }
        let body = notice.to_string();
        let sent = now().to_string();
        let key = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key is one");
        let code = key.chain_update(&sent).chain_update(".").chain_update(&body).finalize().into_bytes();
        let request = to
            .request(reqwest::Method::POST, "/runtime/webhooks/stripe")
            .header("stripe-signature", format!("t={sent},v1={}", hex::encode(code)))
            .header("content-type", "application/json")
            .body(body);
        request.send().await.expect("an answer").status().as_u16()
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("not yet")
}

fn refused(status: u16, code: &str, message: &str) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    let error = json!({"error": {"type": "invalid_request_error", "code": code, "message": message}});
    (status, Json(error)).into_response()
}

fn is_key(headers: &HeaderMap, key: &str) -> bool {
    headers.get("authorization").is_some_and(|value| value == &format!("Bearer {key}"))
}

/// An event of either version, or what is wrong with it.
fn checked(
    account: &Account,
    event: &BTreeMap<String, String>,
    at: i64,
) -> Result<Counted, (&'static str, String)> {
    let field = |name: &str| {
        let value = event.get(name).filter(|value| !value.is_empty());
        value.cloned().ok_or(("parameter_missing", format!("Missing required param: {name}.")))
    };
    let (name, identifier) = (field("event_name")?, field("identifier")?);
    let (customer, value) = (field("payload[stripe_customer_id]")?, field("payload[value]")?);
    if !METERS.contains(&name.as_str()) {
        return Err(("no_meter", format!("No active meter found for event name {name}.")));
    }
    if identifier.len() > 100 {
        return Err(("parameter_invalid", "identifier is longer than 100 characters".into()));
    }
    let whole = value.bytes().all(|byte| byte.is_ascii_digit());
    let value = value.parse().ok().filter(|_| whole);
    let value = value.ok_or(("meter_event_invalid_value", "value must be a whole number".to_owned()))?;
    if at < now() - 35 * 86_400 {
        return Err(("timestamp_too_far_in_past", "The timestamp is more than 35 days ago.".into()));
    }
    if at > now() + 300 {
        return Err(("timestamp_in_future", "The timestamp is in the future.".into()));
    }
    if !account.customers.contains(&customer) {
        return Err(("resource_missing", format!("No such customer: '{customer}'")));
    }
    Ok(Counted { name, customer, identifier, value, at })
}

async fn one(State(account): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    if !is_key(&headers, KEY) {
        return refused(401, "", "Invalid API Key provided");
    }
    if headers.get("content-type").is_none_or(|kind| kind != "application/x-www-form-urlencoded") {
        return refused(400, "", "v1 takes forms");
    }
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let Some(at) = form.get("timestamp").and_then(|at| at.parse().ok()) else {
        return refused(400, "parameter_invalid", "Invalid timestamp");
    };
    let counted = {
        let mut account = account.lock().expect("no holder panics");
        let counted = match checked(&account, &form, at) {
            Ok(counted) => counted,
            Err((code, message)) => return refused(400, code, &message),
        };
        if account.remembered.contains(&counted.identifier) {
            let message = format!("An event already exists with identifier {}.", counted.identifier);
            return refused(400, "", &message);
        }
        if !account.busy.insert((counted.customer.clone(), counted.name.clone())) {
            account.crowded += 1;
            return refused(
                409,
                "lock_timeout",
                "Another event of this customer and meter is being processed",
            );
        }
        counted
    };
    // Others may come meanwhile.
    tokio::time::sleep(BUSY).await;
    let mut account = account.lock().expect("no holder panics");
    account.busy.remove(&(counted.customer.clone(), counted.name.clone()));
    account.remembered.insert(counted.identifier.clone());
    let answer = json!({"object": "billing.meter_event", "identifier": counted.identifier});
    account.counted.push(counted);
    Json(answer).into_response()
}

async fn meters(
    State(_): State<Shared>,
    headers: HeaderMap,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Response {
    if !is_key(&headers, KEY) {
        return refused(401, "", "Invalid API Key provided");
    }
    // Pages of two, so that whoever looks for the last one has to turn them.
    let after = asked.get("starting_after").and_then(|id| id.strip_prefix("mtr_"));
    let begin = after.map_or(0, |name| METERS.iter().position(|one| *one == name).map_or(0, |at| at + 1));
    let page = METERS.iter().skip(begin).take(2);
    let data: Vec<Value> =
        page.map(|name| json!({"id": format!("mtr_{name}"), "event_name": name})).collect();
    Json(json!({"object": "list", "has_more": begin + 2 < METERS.len(), "data": data})).into_response()
}

async fn summaries(
    State(account): State<Shared>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Response {
    if !is_key(&headers, KEY) {
        return refused(401, "", "Invalid API Key provided");
    }
    let time = |name| asked.get(name).and_then(|text| text.parse::<i64>().ok()).filter(|time| time % 60 == 0);
    let (Some(from), Some(to), Some(customer)) =
        (time("start_time"), time("end_time"), asked.get("customer"))
    else {
        return refused(400, "parameter_invalid", "start_time and end_time must be aligned with minutes");
    };
    let width = match asked.get("value_grouping_window").map(String::as_str) {
        None => to - from,
        Some("hour") => 3600,
        Some("day") => 86_400,
        Some(_) => return refused(400, "parameter_invalid", "value_grouping_window is hour or day"),
    };
    if asked.contains_key("value_grouping_window") && (from % width != 0 || to % width != 0) {
        return refused(400, "parameter_invalid", "start_time and end_time must be aligned with windows");
    }
    let account = account.lock().expect("no holder panics");
    let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
    for one in &account.counted {
        if format!("mtr_{}", one.name) == id && one.customer == *customer && (from..to).contains(&one.at) {
            *sums.entry(from + (one.at - from) / width * width).or_default() += one.value;
        }
    }
    // The latest first, a few at a time.
    let most = asked.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(10_usize).min(100);
    let after = asked.get("starting_after").and_then(|id| id.strip_prefix("mtrusg_")?.parse::<i64>().ok());
    let rest: Vec<_> = sums.iter().rev().filter(|(at, _)| after.is_none_or(|after| **at < after)).collect();
    let data: Vec<Value> = rest
        .iter()
        .take(most)
        .map(|(at, sum)| {
            json!({"id": format!("mtrusg_{at}"), "start_time": at, "end_time": **at + width,
                "aggregated_value": **sum as f64})
        })
        .collect();
    Json(json!({"object": "list", "has_more": rest.len() > most, "data": data})).into_response()
}

async fn session(State(account): State<Shared>, headers: HeaderMap) -> Response {
    if !is_key(&headers, KEY) || headers.get("stripe-version").is_none() {
        return refused(401, "", "Invalid API Key provided");
    }
    let mut account = account.lock().expect("no holder panics");
    account.made += 1;
    let token = format!("token_{}", account.made);
    account.sessions.insert(token.clone());
    Json(json!({"object": "v2.billing.meter_event_session", "authentication_token": token})).into_response()
}

async fn many(State(account): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut account = account.lock().expect("no holder panics");
    if !account.sessions.iter().any(|token| is_key(&headers, token)) {
        return refused(401, "billing_meter_event_session_expired", "The session has expired");
    }
    let events = body["events"].as_array().cloned().unwrap_or_default();
    if events.is_empty() || events.len() > 100 {
        return refused(400, "", "between 1 and 100 events");
    }
    for event in events {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let fields = BTreeMap::from([
            ("event_name".to_owned(), text(&event["event_name"])),
            ("identifier".to_owned(), text(&event["identifier"])),
            ("payload[stripe_customer_id]".to_owned(), text(&event["payload"]["stripe_customer_id"])),
            ("payload[value]".to_owned(), text(&event["payload"]["value"])),
        ]);
        let at = unix(&text(&event["timestamp"])).expect("v2 wants RFC 3339");
        match checked(&account, &fields, at) {
            Ok(counted) if !account.remembered.contains(&counted.identifier) => {
                account.remembered.insert(counted.identifier.clone());
                account.counted.push(counted);
            }
            Ok(_) => {}
            Err((_, message)) => account.refused_later.push((text(&event["identifier"]), message)),
        }
    }
    if account.short {
        account.sessions.clear();
    }
    Json(json!({})).into_response()
}

/// Seconds since 1970 of a time of RFC 3339 in UTC.
fn unix(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Days from the civil calendar: years begin in March, so that leap days come last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    text.ends_with('Z')
        .then_some(days * 86_400 + number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?)
}

async fn event(State(account): State<Shared>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if !is_key(&headers, KEY) {
        return refused(401, "", "Invalid API Key provided");
    }
    let found = account.lock().expect("no holder panics").events.get(&id).cloned();
    found.map_or_else(
        || refused(404, "resource_missing", "No such event"),
        |event| Json(event).into_response(),
    )
}
