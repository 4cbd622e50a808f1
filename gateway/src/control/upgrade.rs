//! `POST /runtime/upgrade`: the runtime becomes another binary.

use std::{path::PathBuf, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use par_proto::code::Code;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{ControlState, Readiness, asker::Operator, body, refusal::Refusal};
use crate::auth::Caller;

/// What it becomes; without a body, what lies in the place of the binary that it was started from.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// An absolute path.
    #[schema(value_type = Option<String>)]
    binary: Option<PathBuf>,
}

/// Asks the binary whether it would serve, and begins. At the local socket alone: whoever may name a program that this
/// user runs sits at the machine.
#[utoipa::path(post, path = "/runtime/upgrade", tag = "runtime", request_body = Asked, responses(
    (status = 202, body = Object, description = "`binary`: what it becomes once the calls that run are over. \
        `GET /runtime/info` tells a new `start_time` when it is, and `upgrade_failed` if it could not"),
    (status = 403, description = "`forbidden`: not at the local socket"),
    (status = 409, description = "`conflict`: it would not serve, or another upgrade is under way; nothing has changed"),
    (status = 503, description = "`not_ready`: packages of the start are still being mounted")
))]
pub(super) async fn upgrade(
    _: Operator,
    State(state): State<Arc<ControlState>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    if !Caller::of(&headers).is_some_and(|caller| caller.is_local()) {
        return Err(Refusal::new(Code::Forbidden, "an upgrade is asked for at the local socket alone"));
    }
    let Asked { binary } = body::json::<Asked>(&headers, body).await?.unwrap_or_default();
    if binary.as_ref().is_some_and(|binary| !binary.is_absolute()) {
        return Err(Refusal::new(Code::BadRequest, "`binary` must be an absolute path"));
    }
    match state.lifecycle.ready() {
        Readiness::Stopping => return Err(Refusal::new(Code::Stopping, "the runtime is stopping")),
        // One that boots has not shown yet that it can, and knows the way back.
        Readiness::Starting => {
            return Err(Refusal::new(Code::NotReady, "packages are still being mounted"));
        }
        Readiness::Ready | Readiness::Leaving => {}
    }
    let Some(upgrade) = &state.upgrade else {
        return Err(Refusal::new(Code::Conflict, "this runtime cannot become another one"));
    };
    let chosen = upgrade.choose(binary).await.map_err(|refused| {
        tracing::warn!(event = "upgrade_refused", reason = %refused, "nothing has changed");
        Refusal::new(Code::Conflict, format!("{refused}; nothing has changed"))
    })?;
    tracing::info!(event = "upgrading", binary = %chosen.display(), from = env!("CARGO_PKG_VERSION"), pid = std::process::id());
    tokio::spawn(Arc::clone(upgrade).proceed(Arc::clone(&state.lifecycle)));
    let answer = serde_json::json!({"status": "upgrading", "binary": chosen});
    Ok((StatusCode::ACCEPTED, axum::Json(answer)).into_response())
}
