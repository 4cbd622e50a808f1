//! The one agent of single mode: what it is, and whether its surfaces answer. They are really asked.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use par_proto::code::Code;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{body, health::milliseconds, refusal::Refusal};
use crate::{observe::timestamp, single::Container};

/// What runs here.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Meta {
    /// Name of the package.
    name: String,
    /// Its version.
    version: String,
    /// For people.
    description: String,
    /// For people.
    author: Option<String>,
    /// When it was loaded, RFC 3339; null while it is on its way.
    build_time: Option<String>,
    /// Which surfaces it has.
    surfaces: BTreeMap<&'static str, bool>,
    /// How long the boot took: `total_ms` and `phases_ms`; null while it goes on.
    #[schema(value_type = Option<Object>)]
    boot_stats: Option<serde_json::Value>,
}

/// Whether a surface answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SurfaceHealth {
    /// Whether it does.
    ok: bool,
    /// `a2a` or `ui`.
    service: &'static str,
    /// Milliseconds since 1970.
    timestamp: u64,
}

/// The routes that only single mode has.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(container: Arc<Container>) -> Router<S> {
    Router::new()
        .route("/", get(description))
        .route("/meta", get(meta))
        .route("/a2a/health", get(a2a))
        .route("/ui/health", get(ui))
        .with_state(container)
}

/// `GET /`: what to ask, unless the agent or its UI has taken the place.
async fn description() -> Response {
    body::answer(&json!({
        "service": "Pixell Agent Runtime",
        "version": env!("CARGO_PKG_VERSION"),
        "endpoints": {
            "health": "/health",
            "metadata": "/meta",
            "a2a_health": "/a2a/health",
            "ui_health": "/ui/health",
        },
    }))
}

/// `GET /meta`: single mode
#[utoipa::path(get, path = "/meta", tag = "health", responses(
    (status = 200, body = Meta), (status = 503, description = "`not_ready`: the package is not loaded yet")
))]
pub(super) async fn meta(State(container): State<Arc<Container>>) -> Result<Response, Refusal> {
    let Some(generation) = container.generation() else {
        return Err(Refusal::new(Code::NotReady, "the package is not loaded yet"));
    };
    let package = &generation.installed.package;
    let declared = container.declared();
    let booted = container.booted();
    Ok(body::answer(&Meta {
        name: package.id.name.to_string(),
        version: package.id.version.to_string(),
        description: package.description.clone(),
        author: package.author.clone(),
        build_time: booted.map(|booted| timestamp::text(booted.at)),
        surfaces: BTreeMap::from([("a2a", declared.a2a), ("rest", declared.rest), ("ui", declared.ui)]),
        boot_stats: booted.map(|booted| {
            let in_ms = |(name, took): &(&str, std::time::Duration)| {
                ((*name).to_owned(), json!(took.as_millis() as u64))
            };
            let phases: serde_json::Map<_, _> = booted.phases.iter().map(in_ms).collect();
            json!({"total_ms": booted.total.as_millis() as u64, "phases_ms": phases})
        }),
    }))
}

/// `GET /a2a/health`: single mode; asks the gRPC port.
#[utoipa::path(get, path = "/a2a/health", tag = "health", responses(
    (status = 200, body = SurfaceHealth), (status = 503, body = SurfaceHealth), (status = 404)
))]
pub(super) async fn a2a(State(container): State<Arc<Container>>) -> Result<Response, Refusal> {
    if container.booted().is_none() {
        return Ok(answer("a2a", false));
    }
    if !container.declared().a2a {
        return Err(Refusal::new(Code::NotFound, "A2A service not available"));
    }
    Ok(answer("a2a", container.ask_a2a().await.is_ok()))
}

/// `GET /ui/health`: single mode; looks for the index file.
#[utoipa::path(get, path = "/ui/health", tag = "health", responses(
    (status = 200, body = SurfaceHealth), (status = 503, body = SurfaceHealth), (status = 404)
))]
pub(super) async fn ui(State(container): State<Arc<Container>>) -> Result<Response, Refusal> {
    if container.booted().is_none() {
        return Ok(answer("ui", false));
    }
    if !container.declared().ui {
        return Err(Refusal::new(Code::NotFound, "UI not available"));
    }
    match container.index() {
        Some(_) => Ok(answer("ui", true)),
        None => Err(Refusal::new(Code::NotFound, "UI index.html not found")),
    }
}

fn answer(service: &'static str, ok: bool) -> Response {
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let timestamp = milliseconds(SystemTime::now());
    (status, axum::Json(SurfaceHealth { ok, service, timestamp })).into_response()
}
