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
    /// Whether each surface answers: in host mode the runtime's, in single mode those that the agent has.
    surfaces: BTreeMap<&'static str, bool>,
    /// Single mode: whose health it is.
    #[serde(rename = "agentId", skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
    /// Single mode: whether its package is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    loaded: Option<bool>,
    /// Version of the runtime.
    version: &'static str,
    /// Now: milliseconds since 1970 at `/health`, RFC 3339 at `/runtime/health`, as either's clients expect.
    #[schema(value_type = Object)]
    timestamp: serde_json::Value,
}

fn health(state: &ControlState, timestamp: serde_json::Value) -> Response {
    let readiness = state.lifecycle.ready();
    let (ok, code) = match readiness {
        Readiness::Ready | Readiness::Leaving => (true, StatusCode::OK),
        Readiness::Starting | Readiness::Stopping => (false, StatusCode::SERVICE_UNAVAILABLE),
    };
    let status = readiness.text();
    let surfaces = match &state.container {
        None => BTreeMap::from([("rest", ok)]),
        Some(container) => {
            // A container that goes sends nobody to its surfaces, although they answer still.
            let answering = Some(container.answering()).filter(|_| status != "stopping").unwrap_or_default();
            BTreeMap::from([("a2a", answering.a2a), ("rest", answering.rest), ("ui", answering.ui)])
        }
    };
    let health = Health {
        ok,
        status,
        surfaces,
        agent_id: state.container.as_ref().map(|container| container.id().to_owned()),
        loaded: state.container.as_ref().map(|container| container.generation().is_some()),
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
    in_milliseconds(&state)
}

/// The health with the time as `/health` tells it.
pub(super) fn in_milliseconds(state: &ControlState) -> Response {
    health(state, milliseconds(SystemTime::now()).into())
}

/// Milliseconds since 1970.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_millis() as u64
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
