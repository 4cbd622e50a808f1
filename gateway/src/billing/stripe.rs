//! The API of Stripe as far as it is needed: meter events, one by one (v1) or as a stream (v2), sums of what was counted,
//! and the notices of what was refused later. Sources: its reference of `billing/meter_events`,
//! `billing/meters/{id}/event_summaries`, `v2/billing/meter_event_session` and `v2/billing/meter_event_stream`.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error as _,
    io,
    time::{Duration, Instant, SystemTime},
};

use reqwest::{Client, RequestBuilder, header, redirect};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::{
    plan::Window,
    verdict::{Verdict, judge},
    windows::Width,
};
use crate::{config::Secret, observe::timestamp, webhooks::retry_after};

/// Version of the API that v2 wants to be named.
const VERSION: &str = "2025-03-31.basil";

/// Longest answer to a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of an answer that are read: pages of a hundred meters have about as many.
const LARGEST: usize = 1 << 20;

/// How long the token of a session is used: it is good for 15 minutes.
const SESSION: Duration = Duration::from_secs(14 * 60);

/// Most events of one request of a stream.
pub(super) const AT_ONCE: usize = 100;

/// An event as it is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent<'a> {
    /// The name of the meter's events there.
    pub(super) name: &'a str,
    pub(super) identifier: &'a str,
    pub(super) customer: &'a str,
    pub(super) value: i64,
    /// Seconds since 1970.
    pub(super) at: i64,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[error("the billing side does not answer: {0}")]
pub(crate) struct Unanswered(pub(super) String);

/// The API, by one key.
#[derive(Debug)]
pub(super) struct Stripe {
    client: Client,
    key: Secret,
    api: Url,
    stream: Url,
    session: Option<(Secret, Instant)>,
    /// Ids of meters by the names of their events.
    meters: HashMap<String, String>,
}

impl Stripe {
    /// Nothing is asked yet.
    pub(super) fn new(key: Secret, api: Url, stream: Url) -> io::Result<Self> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .timeout(PATIENCE)
            .user_agent(concat!("par/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(io::Error::other)?;
        Ok(Self { client, key, api, stream, session: None, meters: HashMap::new() })
    }

    /// A request for one event of v1; to be sent by whoever may wait.
    pub(super) fn one(&self, event: Sent<'_>) -> RequestBuilder {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("event_name", event.name)
            .append_pair("payload[stripe_customer_id]", event.customer)
            .append_pair("payload[value]", &event.value.to_string())
            .append_pair("identifier", event.identifier)
            .append_pair("timestamp", &event.at.to_string());
        self.client
            .post(at(&self.api, "v1/billing/meter_events"))
            .bearer_auth(self.key.reveal())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.finish())
    }

    /// Sends events of v2 at once. They are taken as they are, and looked at later: what is wrong with them comes as a
    /// notice.
    pub(super) async fn many(&mut self, events: &[Sent<'_>]) -> Verdict {
        for _ in 0..2 {
            let token = match self.token().await {
                Ok(token) => token,
                Err(verdict) => return verdict,
            };
            let written = events.iter().map(|event| {
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(event.at.unsigned_abs());
                json!({
                    "event_name": event.name,
                    "identifier": event.identifier,
                    "timestamp": timestamp::text(at),
                    "payload": {"stripe_customer_id": event.customer, "value": event.value.to_string()},
                })
            });
            let request = self
                .client
                .post(at(&self.stream, "v2/billing/meter_event_stream"))
                .bearer_auth(token.reveal())
                .header("stripe-version", VERSION)
                .json(&json!({"events": written.collect::<Vec<_>>()}));
            match told(request).await {
                Verdict::Expired => self.session = None,
                verdict @ (Verdict::Taken
                | Verdict::Later { .. }
                | Verdict::Refused { .. }
                | Verdict::Locked { .. }) => return verdict,
            }
        }
        Verdict::Later { reason: "every session is over at once".to_owned(), after: None }
    }

    async fn token(&mut self) -> Result<Secret, Verdict> {
        if let Some((token, since)) = &self.session
            && since.elapsed() < SESSION
        {
            return Ok(token.clone());
        }
        let request = self
            .client
            .post(at(&self.api, "v2/billing/meter_event_session"))
            .bearer_auth(self.key.reveal())
            .header("stripe-version", VERSION)
            .json(&json!({}));
        let (status, after, body) =
            answer(request).await.map_err(|Unanswered(reason)| Verdict::Later { reason, after: None })?;
        match judge(status, &body, after) {
            Verdict::Taken => {}
            verdict @ (Verdict::Later { .. }
            | Verdict::Refused { .. }
            | Verdict::Locked { .. }
            | Verdict::Expired) => return Err(verdict),
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let Some(token) = body.get("authentication_token").and_then(Value::as_str) else {
            return Err(Verdict::Later { reason: "the session has no token".to_owned(), after: None });
        };
        let token = Secret::new(token);
        self.session = Some((token.clone(), Instant::now()));
        Ok(token)
    }

    /// What was counted for a customer by events of a name in a window. Counted some time after it was taken.
    pub(super) async fn counted(
        &mut self,
        name: &str,
        customer: &str,
        window: Window,
    ) -> Result<i64, Unanswered> {
        let meter = self.meter(name).await?;
        let mut url = at(&self.api, &format!("v1/billing/meters/{meter}/event_summaries"));
        url.query_pairs_mut()
            .append_pair("customer", customer)
            .append_pair("start_time", &(window.from * 60).to_string())
            .append_pair("end_time", &(window.to * 60).to_string());
        let body = self.get(url).await?;
        Ok(list(&body).iter().map(sum).sum())
    }

    /// The same by windows of the clock, by the minute (since 1970) in which they begin; those in which nothing was counted
    /// may be missing. Both ends of `window` must be ends of such windows.
    pub(super) async fn counted_by(
        &mut self,
        name: &str,
        customer: &str,
        window: Window,
        width: Width,
    ) -> Result<BTreeMap<i64, i64>, Unanswered> {
        let mut counted = BTreeMap::new();
        if window.from >= window.to {
            return Ok(counted);
        }
        let meter = self.meter(name).await?;
        let mut last: Option<String> = None;
        loop {
            let mut url = at(&self.api, &format!("v1/billing/meters/{meter}/event_summaries"));
            url.query_pairs_mut()
                .append_pair("customer", customer)
                .append_pair("start_time", &(window.from * 60).to_string())
                .append_pair("end_time", &(window.to * 60).to_string())
                .append_pair("value_grouping_window", width.text())
                .append_pair("limit", "100");
            if let Some(last) = &last {
                url.query_pairs_mut().append_pair("starting_after", last);
            }
            let page = self.get(url).await?;
            let all = list(&page);
            for summary in all {
                let begin = summary.get("start_time").and_then(Value::as_i64);
                let begin = begin.ok_or_else(|| Unanswered("a sum has no start_time".to_owned()))?;
                *counted.entry(begin.div_euclid(60)).or_insert(0) += sum(summary);
            }
            last = all.last().and_then(|one| one.get("id")).and_then(Value::as_str).map(str::to_owned);
            if page.get("has_more") != Some(&Value::Bool(true)) || last.is_none() {
                return Ok(counted);
            }
        }
    }

    /// The id of the meter that counts events of a name.
    pub(super) async fn meter(&mut self, name: &str) -> Result<String, Unanswered> {
        if let Some(id) = self.meters.get(name) {
            return Ok(id.clone());
        }
        let mut last: Option<String> = None;
        loop {
            let mut url = at(&self.api, "v1/billing/meters");
            url.query_pairs_mut().append_pair("limit", "100");
            if let Some(last) = &last {
                url.query_pairs_mut().append_pair("starting_after", last);
            }
            let page = self.get(url).await?;
            let all = list(&page);
            for meter in all {
                let text = |name: &str| meter.get(name).and_then(Value::as_str);
                if let (Some(name), Some(id)) = (text("event_name"), text("id")) {
                    self.meters.insert(name.to_owned(), id.to_owned());
                    last = Some(id.to_owned());
                }
            }
            if let Some(id) = self.meters.get(name) {
                return Ok(id.clone());
            }
            if page.get("has_more") != Some(&Value::Bool(true)) || all.is_empty() {
                return Err(Unanswered(format!("there is no meter of events named {name}")));
            }
        }
    }

    /// What happened, by the id that a notice without details has.
    pub(super) async fn happened(&self, id: &str) -> Result<Value, Unanswered> {
        self.get(at(&self.api, &format!("v2/core/events/{id}"))).await
    }

    async fn get(&self, url: Url) -> Result<Value, Unanswered> {
        let request = self.client.get(url).bearer_auth(self.key.reveal()).header("stripe-version", VERSION);
        let (status, _, body) = answer(request).await?;
        if status != 200 {
            let reason = match judge(status, &body, None) {
                Verdict::Later { reason, .. } | Verdict::Refused { reason } | Verdict::Locked { reason } => {
                    reason
                }
                Verdict::Taken | Verdict::Expired => format!("status {status}"),
            };
            return Err(Unanswered(reason));
        }
        serde_json::from_slice(&body).map_err(|_| Unanswered("it is not JSON".to_owned()))
    }
}

/// What was counted. Sums are whole, as what was sent is; JSON writes them as fractions.
fn sum(summary: &Value) -> i64 {
    summary.get("aggregated_value").and_then(Value::as_f64).unwrap_or(0.0).round() as i64
}

/// What is in a page.
fn list(page: &Value) -> &[Value] {
    page.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Sends a request and judges its answer.
pub(super) async fn told(request: RequestBuilder) -> Verdict {
    match answer(request).await {
        Ok((status, after, body)) => judge(status, &body, after),
        Err(Unanswered(reason)) => Verdict::Later { reason, after: None },
    }
}

/// Status, what it asks to wait for, and the body.
async fn answer(request: RequestBuilder) -> Result<(u16, Option<Duration>, Vec<u8>), Unanswered> {
    let mut response = request.send().await.map_err(|error| Unanswered(failure(&error)))?;
    let status = response.status().as_u16();
    let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = after.and_then(|text| retry_after::parse(text, SystemTime::now()));
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| Unanswered(failure(&error)))? {
        if body.len() + part.len() > LARGEST {
            return Err(Unanswered("its answer is too long".to_owned()));
        }
        body.extend_from_slice(&part);
    }
    Ok((status, after, body))
}

/// What went wrong on the way; the address is known anyway.
fn failure(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("nothing came within {} s", PATIENCE.as_secs());
    }
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// A path below an address, which may have one of its own.
fn at(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}
