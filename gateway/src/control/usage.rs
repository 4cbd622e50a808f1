//! What was used: sums for whoever pays, and single calls for whoever asks about one.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use par_proto::code::Code;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{ControlState, asker::Caller, body, refusal::Refusal};
use crate::{
    auth::Role,
    meter::{self, Question, minute, report},
};

/// What is asked for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// `tenant agent version outcome day hour`, separated by commas. Default: `agent`.
    by: Option<String>,
    /// From this time on: a date, RFC 3339, seconds since 1970, or so long ago like `24h`.
    since: Option<String>,
    /// Up to this time, in the same forms.
    until: Option<String>,
    /// Of this tenant alone; for viewers.
    tenant: Option<String>,
    /// `json` or `csv`. Default: what `Accept` says, else `json`.
    format: Option<String>,
}

/// Sums, by what was asked for.
#[derive(Serialize, ToSchema)]
pub(super) struct Sums {
    /// The values of `by`, then `requests, errors, input_tokens, output_tokens, compute_seconds, cpu_seconds,
    /// queue_seconds, duration_seconds, peak_rss_kb, bytes_in, bytes_out`.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Value>,
    /// Whole minutes, RFC 3339; `null`: from the begin.
    since: Option<String>,
    /// Whole minutes, RFC 3339; `null`: until now.
    until: Option<String>,
    /// As it was understood.
    by: Vec<String>,
}

/// What was recorded of one request.
#[derive(Serialize, ToSchema)]
pub(super) struct Records {
    /// Calls with this id, oldest first, and what was learned of them later: `ended, kind, request_id, tenant, subject,
    /// agent, version, surface, depth, outcome, duration_us, worker_us, queue_us, cpu_us, peak_rss_kb, bytes_in,
    /// bytes_out, tokens`.
    #[schema(value_type = Vec<Object>)]
    records: Vec<meter::Entry>,
}

/// Whose usage somebody may see: everybody's, or that of one tenant.
fn scope(caller: &Caller) -> Result<Option<String>, Refusal> {
    match &caller.who {
        _ if caller.role >= Role::Viewer => Ok(None),
        Some(who) => Ok(Some(who.tenant.to_string())),
        None => {
            let detail = "the operator token is needed, or the local socket";
            Err(Refusal::new(Code::Unauthenticated, detail))
        }
    }
}

fn folder(state: &ControlState) -> PathBuf {
    meter::folder(&state.config.data_dir)
}

/// `GET /runtime/usage`
#[utoipa::path(get, path = "/runtime/usage", tag = "runtime", params(Wanted),
    responses((status = 200, body = Sums, description = "or `text/csv`")))]
pub(super) async fn usage(
    caller: Caller,
    State(state): State<Arc<ControlState>>,
    headers: HeaderMap,
    query: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refusal> {
    let own = scope(&caller)?;
    let bad = |detail: String| Refusal::new(Code::BadRequest, detail);
    let Query(wanted) = query.map_err(|error| bad(error.body_text()))?;
    let is_csv = match wanted.format.as_deref() {
        Some("csv") => true,
        Some("json") => false,
        Some(other) => return Err(bad(format!("format: {other:?} is not json or csv"))),
        None => wants_csv(&headers),
    };
    let tenant = match (own, wanted.tenant) {
        (Some(own), Some(other)) if own != other => {
            return Err(Refusal::new(Code::Forbidden, "the usage of another tenant is for viewers"));
        }
        (own, wanted) => own.or(wanted),
    };
    let now = SystemTime::now();
    let time = |name: &str, text: Option<&str>, up| {
        text.map(|text| minute(text, now, up).map_err(|problem| bad(format!("{name}: {problem}"))))
            .transpose()
    };
    let by = wanted.by.as_deref().unwrap_or("agent");
    let question = Question {
        by: report::dimensions(by).map_err(|problem| bad(format!("by: {problem}")))?,
        since: time("since", wanted.since.as_deref(), false)?,
        until: time("until", wanted.until.as_deref(), true)?,
        tenant,
    };
    let folder = folder(&state);
    let rendered = tokio::task::spawn_blocking(move || {
        meter::answer(&folder, &question).map(|rows| {
            if is_csv { report::csv(&question, &rows) } else { report::json(&question, &rows).to_string() }
        })
    });
    let text = match rendered.await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            tracing::error!(event = "usage_not_read", %error, "what was used could not be summed up");
            return Err(Refusal::new(Code::Internal, "what was used cannot be summed up now"));
        }
        Err(_) => return Err(Refusal::new(Code::Internal, "what was used could not be summed up")),
    };
    let kind = if is_csv { "text/csv; charset=utf-8" } else { "application/json" };
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// `GET /runtime/usage/{request_id}`: for as long as its segment is kept.
#[utoipa::path(get, path = "/runtime/usage/{request_id}", tag = "runtime",
    params(("request_id" = String, Path, description = "`X-Request-ID` of the answer")),
    responses((status = 200, body = Records), (status = 404, description = "`not_found`")))]
pub(super) async fn request(
    caller: Caller,
    State(state): State<Arc<ControlState>>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let own = scope(&caller)?;
    let folder = folder(&state);
    let found = tokio::task::spawn_blocking(move || meter::request(&folder, &id, own.as_deref())).await;
    match found {
        Ok(Ok(records)) if records.is_empty() => {
            Err(Refusal::new(Code::NotFound, "nothing is recorded of this request, or it is kept no longer"))
        }
        Ok(Ok(records)) => Ok(body::answer(&Records { records })),
        Ok(Err(_)) | Err(_) => Err(Refusal::new(Code::Internal, "the journal cannot be read")),
    }
}

/// Whether `Accept` names CSV and no JSON before it.
fn wants_csv(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kinds = accepted.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kinds.into_iter().find(|kind| matches!(*kind, "text/csv" | "application/json")) == Some("text/csv")
}
