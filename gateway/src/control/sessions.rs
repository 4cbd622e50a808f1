//! Sessions: listed, and ended.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State, rejection::PathRejection, rejection::QueryRejection},
    response::Response,
};
use par_pool::fleet::{EndError, SessionStatus};
use par_proto::code::Code;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    ControlState,
    asker::{Operator, Viewer},
    body,
    refusal::Refusal,
};

/// Sessions that live, oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Sessions {
    /// `id, package, agent, generation, mode, tenant, worker, age, idle, calls, pss_bytes`; times in seconds, `mode`:
    /// `sticky` or `isolated`, `worker`: its process id.
    #[schema(value_type = Vec<Object>)]
    sessions: Vec<SessionStatus>,
}

/// A session that was ended.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionEnded {
    /// `success`.
    status: &'static str,
    /// Its id.
    id: String,
}

/// Which one, if several packages have sessions of one id.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Name of the package.
    package: Option<String>,
}

/// `GET /runtime/sessions`
#[utoipa::path(get, path = "/runtime/sessions", tag = "sessions", responses((status = 200, body = Sessions)))]
pub(super) async fn list(_: Viewer, State(state): State<Arc<ControlState>>) -> Result<Response, Refusal> {
    // The memory of every worker is measured, up to a millisecond each.
    let sessions = tokio::task::spawn_blocking(move || state.sessions.sessions()).await;
    let sessions = sessions.map_err(|_| Refusal::new(Code::Internal, "sessions could not be listed"))?;
    Ok(body::answer(&Sessions { sessions }))
}

/// `DELETE /runtime/sessions/{id}`: its state is dropped, and its next call is answered 410 `session_lost`.
#[utoipa::path(delete, path = "/runtime/sessions/{id}", tag = "sessions",
    params(("id" = String, Path, description = "the client's id, percent-encoded"), Which),
    responses((status = 200, body = SessionEnded), (status = 404, description = "`session_not_found`"),
        (status = 409, description = "`conflict`: sessions of several packages have this id"))
)]
pub(super) async fn end(
    _: Operator,
    State(state): State<Arc<ControlState>>,
    id: Result<Path<String>, PathRejection>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Refusal> {
    let unknown = || Refusal::new(Code::SessionNotFound, EndError::Unknown.to_string());
    let Path(id) = id.map_err(|_| unknown())?;
    let Query(which) = which.map_err(|error| Refusal::new(Code::BadRequest, error.body_text()))?;
    state.sessions.end_session(&id, which.package.as_deref()).map_err(|error| match error {
        EndError::Unknown => unknown(),
        EndError::Several(_) => Refusal::new(Code::Conflict, error.to_string()),
    })?;
    Ok(body::answer(&SessionEnded { status: "success", id }))
}
