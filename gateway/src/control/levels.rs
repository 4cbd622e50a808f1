//! Levels of the log, changed while the process runs.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};
use par_proto::code::Code;
use serde::Deserialize;
use tracing_subscriber::filter::LevelFilter;
use utoipa::ToSchema;

use super::{
    ControlState,
    asker::{Operator, Viewer},
    body,
    refusal::Refusal,
};

/// Longest time of a change that falls back: who wants it for longer can leave the time out.
const LONGEST: u64 = 7 * 24 * 3600;

/// A change of what is logged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// `off error warn info debug trace`; `default`: as configured.
    level: String,
    /// A module (`par_pool::fleet`), `access` or `agent_output`; none: all that has no level of its own.
    target: Option<String>,
    /// Seconds after which it falls back to what is configured.
    for_seconds: Option<u64>,
}

/// `GET /runtime/logs/level`
#[utoipa::path(get, path = "/runtime/logs/level", tag = "runtime",
    responses((status = 200, body = Object, description = "`level, falls_back_in, configured, targets`")))]
pub(super) async fn shown(_: Viewer, State(state): State<Arc<ControlState>>) -> Response {
    body::answer(&state.levels.shown())
}

/// `PUT /runtime/logs/level`: takes effect at once, lasts until the process ends or for so many seconds.
#[utoipa::path(put, path = "/runtime/logs/level", tag = "runtime", request_body = Change,
    responses((status = 200, body = Object), (status = 400, description = "`bad_request`")))]
pub(super) async fn change(
    _: Operator,
    State(state): State<Arc<ControlState>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let bad = |detail: String| Refusal::new(Code::BadRequest, detail);
    let change: Change =
        body::json(&headers, body).await?.ok_or_else(|| bad("level is missing".to_owned()))?;
    let level = match change.level.to_ascii_lowercase().as_str() {
        "default" => None,
        "off" => Some(LevelFilter::OFF),
        "error" => Some(LevelFilter::ERROR),
        "warn" => Some(LevelFilter::WARN),
        "info" => Some(LevelFilter::INFO),
        "debug" => Some(LevelFilter::DEBUG),
        "trace" => Some(LevelFilter::TRACE),
        other => {
            return Err(bad(format!(
                "level: {other:?} is not one of off, error, warn, info, debug, trace, default"
            )));
        }
    };
    let lasts = match change.for_seconds {
        None => None,
        Some(seconds @ 1..=LONGEST) => Some(Duration::from_secs(seconds)),
        Some(_) => return Err(bad(format!("for_seconds: must be 1 to {LONGEST}"))),
    };
    let target = change.target.as_deref();
    state.levels.change(target, level, lasts).map_err(|error| bad(error.to_string()))?;
    let (level, seconds) = (change.level.as_str(), change.for_seconds);
    tracing::info!(
        event = "log_level",
        of = target.unwrap_or("all"),
        level,
        seconds,
        "an operator has changed it"
    );
    Ok(body::answer(&state.levels.shown()))
}

/// `DELETE /runtime/logs/level`: everything as configured.
#[utoipa::path(delete, path = "/runtime/logs/level", tag = "runtime", responses((status = 200, body = Object)))]
pub(super) async fn reset(_: Operator, State(state): State<Arc<ControlState>>) -> Response {
    state.levels.reset();
    tracing::info!(event = "log_level", "an operator has set the levels back to what is configured");
    body::answer(&state.levels.shown())
}
