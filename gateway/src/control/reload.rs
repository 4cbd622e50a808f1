//! `POST /runtime/reload`: a look at all sources, now.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use par_pool::fleet::ReloadRequest;
use par_proto::{code::Code, ids::PackageName};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{ControlState, asker::Operator, body, refusal::Refusal};

/// What is looked at; without a body everything.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Only this package.
    #[schema(value_type = Option<String>)]
    package: Option<PackageName>,
    /// Try again what failed, undo rollbacks, unmount what is gone whatever the share.
    #[serde(default)]
    force: bool,
}

/// Whether the answer waits for the end.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Patience {
    /// `false`: 202 at once; the outcome is in the receipts and in the list of packages.
    #[serde(default = "yes")]
    wait: bool,
}

const fn yes() -> bool {
    true
}

/// Looks at all sources and brings in what has changed.
#[utoipa::path(post, path = "/runtime/reload", tag = "packages", params(Patience), request_body = Asked, responses(
    (status = 200, body = Object, description = "`status` and an outcome per package, also if some failed"),
    (status = 202, description = "`wait=false`: under way"),
    (status = 404, description = "`package_not_found`: the package is known nowhere")
))]
pub(super) async fn reload(
    _: Operator,
    State(state): State<Arc<ControlState>>,
    patience: Result<Query<Patience>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let Query(patience) = patience.map_err(|error| Refusal::new(Code::BadRequest, error.body_text()))?;
    let Asked { package, force } = body::json::<Asked>(&headers, body).await?.unwrap_or_default();
    let pool = Arc::clone(&state.rollouts);
    let named = package.is_some();
    // It goes on when the client leaves: half a look is nobody's wish.
    let looking =
        tokio::spawn(async move { pool.reload(ReloadRequest { package, force, poll: false }).await });
    if !patience.wait {
        let answer = axum::Json(serde_json::json!({"status": "accepted"}));
        return Ok((StatusCode::ACCEPTED, answer).into_response());
    }
    let report = looking.await.map_err(|error| {
        tracing::error!(event = "reload", error = &error as &dyn std::error::Error, "the reload did not end");
        Refusal::new(Code::Internal, "the reload did not end")
    })?;
    if named && report.packages.is_empty() {
        return Err(Refusal::new(
            Code::PackageNotFound,
            "no source names this package, and it is not mounted",
        ));
    }
    body::quoting(&state.redactor, &report)
}
