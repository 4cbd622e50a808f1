//! Readiness and liveness.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ControlState, Readiness};
use crate::observe::timestamp;

/// Whether calls are taken.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// Whether `status` is `healthy`.
    ok: bool,
    /// `healthy`, `starting` or `stopping`.
    status: &'static str,
    /// Whether each surface of the runtime answers.
    surfaces: BTreeMap<&'static str, bool>,
    /// Version of the runtime.
    version: &'static str,
    /// Now: milliseconds since 1970 at `/health`, RFC 3339 at `/runtime/health`, as either's clients expect.
    #[schema(value_type = Object)]
    timestamp: serde_json::Value,
}

fn health(state: &ControlState, timestamp: serde_json::Value) -> Response {
    let (ok, status, code) = match state.lifecycle.ready() {
        Readiness::Ready => (true, "healthy", StatusCode::OK),
        Readiness::Starting => (false, "starting", StatusCode::SERVICE_UNAVAILABLE),
        Readiness::Stopping => (false, "stopping", StatusCode::SERVICE_UNAVAILABLE),
    };
    let health = Health {
        ok,
        status,
        surfaces: BTreeMap::from([("rest", ok)]),
        version: env!("CARGO_PKG_VERSION"),
        timestamp,
    };
    (code, axum::Json(health)).into_response()
}

/// `GET /health`
#[utoipa::path(get, path = "/health", tag = "health", responses(
    (status = 200, body = Health), (status = 503, body = Health, description = "Not ready yet, or stopping")
))]
pub(super) async fn ready_in_milliseconds(State(state): State<Arc<ControlState>>) -> Response {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    health(&state, (since.as_millis() as u64).into())
}

/// `GET /runtime/health`
#[utoipa::path(get, path = "/runtime/health", tag = "health", responses(
    (status = 200, body = Health), (status = 503, body = Health, description = "Not ready yet, or stopping")
))]
pub(super) async fn ready(State(state): State<Arc<ControlState>>) -> Response {
    health(&state, timestamp::text(SystemTime::now()).into())
}

/// `GET /runtime/live`: answers as long as the process does.
#[utoipa::path(get, path = "/runtime/live", tag = "health", responses((status = 200)))]
pub(super) async fn live() -> Response {
    axum::Json(serde_json::json!({"ok": true})).into_response()
}
