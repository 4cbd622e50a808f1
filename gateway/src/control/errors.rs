//! Why calls failed with a 5xx, and how workers ended: for people who look, not for clients.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State, rejection::PathRejection, rejection::QueryRejection},
    response::Response,
};
use par_pool::fleet::{Busy, Obituary, Process};
use par_proto::code::Code;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::{ControlState, asker::Viewer, body, refusal::Refusal};
use crate::observe::{
    explained::Explanation,
    recent::{Filter, names},
};

/// Which failures; all that is named must hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Any id of an agent, or a package's.
    agent: Option<String>,
    /// The `code` of the problem.
    code: Option<String>,
}

/// Failures, newest first: the last 100 of each code.
#[derive(Serialize, ToSchema)]
pub(super) struct Failures {
    /// `number, at, request_id, trace_id, agent_id, version, generation, tenant, depth, code, status, cause, worker,
    /// latency_ms, queue_ms, worker_ms, queue: {waiting, oldest_ms, busy, workers}, in_flight`, and where there is any:
    /// `traceback`, `output` (lines), `death: {cause, detail, stack, output, …}`.
    #[schema(value_type = Vec<Object>)]
    errors: Vec<Explanation>,
    /// Failures since the start.
    total: u64,
}

/// One request that failed; one that calls other agents may have failed in several.
#[derive(Serialize, ToSchema)]
pub(super) struct Explained {
    /// The id.
    request_id: String,
    /// As in the list.
    #[schema(value_type = Vec<Object>)]
    errors: Vec<Explanation>,
    /// Its lines in the log, as far as they are remembered.
    #[schema(value_type = Vec<Object>)]
    log: Vec<Box<RawValue>>,
}

/// Processes of packages, and those that ended.
#[derive(Serialize, ToSchema)]
pub(super) struct Roster {
    /// `package, generation, pid, role, state, outstanding, answered, sessions, age_seconds, cpu_seconds, rss_bytes,
    /// pss_bytes`; role: `template worker isolated primary`.
    #[schema(value_type = Vec<Object>)]
    workers: Vec<Process>,
    /// By generation: `package, generation, waiting, oldest_ms, busy, workers`.
    #[schema(value_type = Vec<Object>)]
    queues: Vec<Busy>,
    /// The last 100 ends that nobody wanted, newest first: `package, generation, worker, role, cause, detail, answered,
    /// lived_seconds, at, stack, output`.
    #[schema(value_type = Vec<Object>)]
    ended: Vec<Arc<Obituary>>,
    /// Ends since the start.
    total_ended: u64,
}

/// `GET /runtime/errors`
#[utoipa::path(get, path = "/runtime/errors", tag = "runtime", params(Wanted),
    responses((status = 200, body = Failures)))]
pub(super) async fn list(
    _: Viewer,
    State(state): State<Arc<ControlState>>,
    query: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refusal> {
    let bad = |detail: String| Refusal::new(Code::BadRequest, detail);
    let Query(wanted) = query.map_err(|error| bad(error.body_text()))?;
    let code = match wanted.code.as_deref() {
        None => None,
        Some(text) => Some(Code::of(text).ok_or_else(|| bad(format!("code: there is no {text:?}")))?),
    };
    let errors = state.explanations.list(|one| {
        let of_agent = |wanted: &String| one.agent_id.as_ref().is_some_and(|id| names(wanted, id));
        code.is_none_or(|code| code == one.code) && wanted.agent.as_ref().is_none_or(of_agent)
    });
    body::quoting(&state.redactor, &Failures { errors, total: state.explanations.counts().0 })
}

/// `GET /runtime/errors/{request_id}`
#[utoipa::path(get, path = "/runtime/errors/{request_id}", tag = "runtime",
    params(("request_id" = String, Path, description = "`request_id` of the problem, `X-Request-ID` of its answer")),
    responses((status = 200, body = Explained), (status = 404, description = "`not_found`"))
)]
pub(super) async fn one(
    _: Viewer,
    State(state): State<Arc<ControlState>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let unknown = || Refusal::new(Code::NotFound, "no failure of this request is remembered");
    let Path(request_id) = id.map_err(|_| unknown())?;
    let errors = state.explanations.list(|one| *one.request_id == *request_id);
    if errors.is_empty() {
        return Err(unknown());
    }
    let filter = Filter { request_id: Some(request_id.clone()), ..Filter::default() };
    let log = state.recent.lines(&filter);
    body::quoting(&state.redactor, &Explained { request_id, errors, log })
}

/// `GET /runtime/workers`
#[utoipa::path(get, path = "/runtime/workers", tag = "runtime", responses((status = 200, body = Roster)))]
pub(super) async fn workers(_: Viewer, State(state): State<Arc<ControlState>>) -> Result<Response, Refusal> {
    let asked = Arc::clone(&state);
    // The memory of every process is measured, up to a millisecond each.
    let workers = tokio::task::spawn_blocking(move || asked.pool.processes()).await;
    let workers = workers.map_err(|_| Refusal::new(Code::Internal, "workers could not be listed"))?;
    let (ended, total_ended) = (state.explanations.deaths(), state.explanations.counts().1);
    body::quoting(&state.redactor, &Roster { workers, queues: state.pool.loads(), ended, total_ended })
}
