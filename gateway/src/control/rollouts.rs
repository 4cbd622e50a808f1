//! Receipts of rollouts, the way back, and shares of versions.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::HeaderMap,
    response::Response,
};
use par_pool::fleet::{KeptReceipt, SwitchError};
use par_proto::{
    code::Code,
    ids::{PackageId, PackageName, Version},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ControlState,
    asker::{Operator, Viewer},
    body,
    refusal::Refusal,
};

/// The last receipts, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Rollouts {
    /// `id, package, cause, from, to, outcome, step, reason, generation, started, seconds, steps, calls`.
    #[schema(value_type = Vec<Object>)]
    rollouts: Vec<KeptReceipt>,
}

/// A rollback that was made.
#[derive(Serialize, ToSchema)]
pub(super) struct RolledBack {
    /// `success`.
    status: &'static str,
    /// The package.
    #[schema(value_type = String)]
    package: PackageName,
    /// What serves now.
    #[schema(value_type = String)]
    active: PackageId,
    /// Its generation.
    generation: u64,
    /// What served before; none: nothing did.
    #[schema(value_type = Option<String>)]
    former: Option<PackageId>,
}

/// Shares as they are now.
#[derive(Serialize, ToSchema)]
pub(super) struct Shares {
    /// `success`.
    status: &'static str,
    /// The package.
    #[schema(value_type = String)]
    package: PackageName,
    /// Share by version.
    #[schema(value_type = Object)]
    traffic: BTreeMap<Version, u32>,
}

/// `GET /runtime/rollouts`
#[utoipa::path(get, path = "/runtime/rollouts", tag = "rollouts", responses((status = 200, body = Rollouts)))]
pub(super) async fn list(_: Viewer, State(state): State<Arc<ControlState>>) -> Result<Response, Refusal> {
    body::quoting(&state.redactor, &Rollouts { rollouts: state.rollouts.rollouts() })
}

/// `GET /runtime/rollouts/{id}`
#[utoipa::path(get, path = "/runtime/rollouts/{id}", tag = "rollouts",
    params(("id" = String, Path, description = "`id` of a receipt")),
    responses((status = 200, body = Object), (status = 404, description = "`not_found`"))
)]
pub(super) async fn one(
    _: Viewer,
    State(state): State<Arc<ControlState>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let unknown = || Refusal::new(Code::NotFound, "there is no receipt of this id; the last 200 are kept");
    let Path(id) = id.map_err(|_| unknown())?;
    body::quoting(&state.redactor, &state.rollouts.rollout(&id).ok_or_else(unknown)?)
}

/// `POST /runtime/packages/{name}/rollback`: the generation that was replaced last serves again, until a source names
/// a version newer than the one rolled back from, or a reload with `force`.
#[utoipa::path(post, path = "/runtime/packages/{name}/rollback", tag = "rollouts",
    params(("name" = String, Path, description = "name of a package")),
    responses((status = 200, body = RolledBack), (status = 404, description = "`package_not_found`"),
        (status = 409, description = "`conflict`: nothing is parked"))
)]
pub(super) async fn rollback(
    _: Operator,
    State(state): State<Arc<ControlState>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let package = named(name)?;
    let back = state.rollouts.rollback(&package).await.map_err(|error| refusal(&error))?;
    let par_pool::fleet::RolledBack { active, generation, former } = back;
    Ok(body::answer(&RolledBack { status: "success", package, active, generation, former }))
}

/// `PUT /runtime/packages/{name}/traffic`: shares by version, e.g. `{"1.1.0": 10, "1.0.0": 90}`. One version alone
/// becomes the one that serves.
#[utoipa::path(put, path = "/runtime/packages/{name}/traffic", tag = "rollouts",
    params(("name" = String, Path, description = "name of a package")), request_body = Object,
    responses((status = 200, body = Shares), (status = 400, description = "`bad_request`"),
        (status = 404, description = "`package_not_found`"))
)]
pub(super) async fn traffic(
    _: Operator,
    State(state): State<Arc<ControlState>>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let package = named(name)?;
    let shares: BTreeMap<Version, u32> = body::json(&headers, body)
        .await?
        .ok_or_else(|| Refusal::new(Code::BadRequest, "the body must give a share per version"))?;
    let traffic = state.rollouts.set_traffic(&package, shares).await.map_err(|error| refusal(&error))?;
    Ok(body::answer(&Shares { status: "success", package, traffic }))
}

fn named(name: Result<Path<String>, PathRejection>) -> Result<PackageName, Refusal> {
    let unknown = || Refusal::new(Code::PackageNotFound, "no such package is mounted");
    name.map_err(|_| unknown())?.0.parse().map_err(|_| unknown())
}

fn refusal(error: &SwitchError) -> Refusal {
    let code = match error {
        SwitchError::Unknown(_) | SwitchError::NotMounted(_) => Code::PackageNotFound,
        SwitchError::NothingParked(_) => Code::Conflict,
        SwitchError::NoShare => Code::BadRequest,
    };
    Refusal::new(code, error.to_string())
}
