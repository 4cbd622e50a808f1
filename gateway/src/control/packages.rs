//! Mounted packages: seen and taken away.

use std::sync::Arc;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use par_pool::fleet::{Failure, LazyStatus, PackageStatus};
use par_proto::{
    code::Code,
    ids::{AgentId, PackageId},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ControlState,
    asker::{Operator, Viewer},
    body,
    refusal::Refusal,
};

/// What is mounted, and what could not be.
#[derive(Serialize, ToSchema)]
pub(super) struct Packages {
    /// `id, state, digest, generation, source, workers, queue_depth, runtime, fork, sandbox, pss_bytes, agents, surfaces,
    /// last_error, warnings, steps`.
    #[schema(value_type = Vec<Object>)]
    packages: Vec<Listed>,
    /// `source, name, version, step, code, detail, since`.
    #[schema(value_type = Vec<Object>)]
    failed: Vec<Failure>,
}

/// Mounted, or waiting for its first call.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed {
    Mounted(Box<PackageStatus>),
    Lazy(LazyStatus),
}

/// A package that is mounted now.
#[derive(Serialize, ToSchema)]
pub(super) struct Mounted {
    /// `success`.
    pub(super) status: &'static str,
    /// `name@version`.
    #[schema(value_type = String)]
    pub(super) package_id: PackageId,
    /// Full ids.
    #[schema(value_type = Vec<String>)]
    pub(super) agents: Vec<AgentId>,
    /// False if exactly these bytes were mounted before.
    pub(super) created: bool,
}

/// A package that was taken away.
#[derive(Serialize, ToSchema)]
pub(super) struct Unmounted {
    /// `success`.
    status: &'static str,
    /// `name@version`.
    #[schema(value_type = String)]
    package_id: PackageId,
    /// Calls that still run; they are drained.
    draining: usize,
    /// Whether the index names it: then it returns with the next poll.
    indexed: bool,
}

/// `GET /runtime/packages`
#[utoipa::path(get, path = "/runtime/packages", tag = "packages", responses((status = 200, body = Packages)))]
pub(super) async fn list(_: Viewer, State(state): State<Arc<ControlState>>) -> Result<Response, Refusal> {
    let mounted = state.pool.packages().into_iter().map(|status| Listed::Mounted(Box::new(status)));
    let packages = mounted.chain(state.rollouts.lazy().into_iter().map(Listed::Lazy)).collect();
    body::quoting(&state.redactor, &Packages { packages, failed: state.pool.failures() })
}

/// `DELETE /runtime/packages/{name}@{version}`: calls that run are drained.
#[utoipa::path(delete, path = "/runtime/packages/{id}", tag = "packages",
    params(("id" = String, Path, description = "`name@version`")),
    responses((status = 200, body = Unmounted), (status = 404, description = "`package_not_found`"))
)]
pub(super) async fn unload(
    _: Operator,
    State(state): State<Arc<ControlState>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let unknown =
        || Refusal::new(Code::PackageNotFound, "no such package is mounted; name it as name@version");
    let Path(id) = id.map_err(|_| unknown())?;
    let id: PackageId = id.parse().map_err(|_| unknown())?;
    let unloaded = state.pool.unload(&id).ok_or_else(unknown)?;
    Ok(body::answer(&Unmounted {
        status: "success",
        package_id: unloaded.package_id,
        draining: unloaded.draining,
        indexed: unloaded.indexed,
    }))
}
