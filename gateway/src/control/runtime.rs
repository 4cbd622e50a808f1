//! The runtime itself: what it is, how it does, and its end.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ControlState,
    asker::{Caller, Operator, Viewer},
    body,
};
use crate::observe::timestamp;

/// What runs here.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Info {
    /// Version of the runtime.
    version: &'static str,
    /// `host` or `single`.
    mode: &'static str,
    /// Whether this is a development run.
    dev: bool,
    /// RFC 3339.
    start_time: String,
    /// `healthy`, `starting` or `stopping`.
    status: &'static str,
    /// Mounted packages.
    packages_loaded: usize,
    /// Their agents, private ones included.
    agents_mounted: usize,
    /// Sources that could not be mounted.
    packages_failed: usize,
    /// Calls answered since the start.
    total_invocations: u64,
    /// Calls that run or wait.
    in_flight: usize,
    /// Why the last upgrade that was begun has not become one.
    #[serde(skip_serializing_if = "Option::is_none")]
    upgrade_failed: Option<String>,
}

/// `GET /runtime/info`
#[utoipa::path(get, path = "/runtime/info", tag = "runtime", responses((status = 200, body = Info)))]
pub(super) async fn info(_: Caller, State(state): State<Arc<ControlState>>) -> Response {
    body::answer(&Info {
        version: env!("CARGO_PKG_VERSION"),
        mode: if state.config.single.is_some() { "single" } else { "host" },
        dev: state.config.dev,
        start_time: timestamp::text(state.started),
        status: state.lifecycle.ready().text(),
        packages_loaded: state.pool.packages().len(),
        agents_mounted: state.pool.agents().len(),
        packages_failed: state.pool.failures().len(),
        total_invocations: state.pool.answered(),
        in_flight: state.pool.in_flight(),
        upgrade_failed: state.upgrade.as_ref().and_then(|upgrade| upgrade.failed()),
    })
}

/// `GET /metrics`: viewers; the metrics port is open.
#[utoipa::path(get, path = "/metrics", tag = "runtime", responses(
    (status = 200, content_type = "text/plain", body = String, description = "Prometheus text")
))]
pub(super) async fn metrics(_: Viewer, State(state): State<Arc<ControlState>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (state.metrics)()).into_response()
}

/// `POST /runtime/shutdown`: begins the graceful stop and answers at once.
#[utoipa::path(post, path = "/runtime/shutdown", tag = "runtime", responses((status = 202)))]
pub(super) async fn shutdown(_: Operator, State(state): State<Arc<ControlState>>) -> Response {
    tracing::info!(event = "shutdown_requested", "asked over the management API");
    state.lifecycle.begin();
    (StatusCode::ACCEPTED, axum::Json(serde_json::json!({"status": "stopping"}))).into_response()
}
