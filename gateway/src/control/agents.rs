//! Agents: listed, looked at, switched on and off. Ids stand in paths with `/` and `@` raw or encoded.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use par_pool::fleet::{AgentState, AgentStatus};
use par_proto::{
    code::Code,
    ids::{AgentId, PackageId},
};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ControlState,
    asker::{Caller, Operator},
    body, health,
    refusal::Refusal,
};
use crate::auth::Role;

/// The agents that whoever asks may call; viewers and operators see all.
#[derive(Serialize, ToSchema)]
pub(super) struct Agents {
    /// `id, package_id, name, description, version, status, private, role_required, input_schema, output_schema,
    /// surfaces, conflict`; status: `ready starting disabled error crash_loop draining`.
    #[schema(value_type = Vec<Object>)]
    agents: Vec<AgentStatus>,
}

/// How one agent does.
#[derive(Serialize, ToSchema)]
pub(super) struct AgentHealth {
    /// Whether it answers calls.
    ok: bool,
    /// The id as it was asked for.
    #[serde(rename = "agentId")]
    agent_id: String,
    /// `healthy`, else the state of the agent.
    status: &'static str,
    /// Whether its package is mounted.
    loaded: bool,
}

/// What an agent's switch shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EnableRequest {
    /// On or off.
    enabled: bool,
}

/// What an agent's switch is now.
#[derive(Serialize, ToSchema)]
pub(super) struct Enabled {
    /// Full id.
    #[schema(value_type = String)]
    id: AgentId,
    /// On or off.
    enabled: bool,
}

/// Whether somebody may know of an agent. With identity off a caller has no roles, so an agent that needs one is not
/// theirs to call.
fn is_visible(caller: &Caller, agent: &AgentStatus) -> bool {
    caller.role >= Role::Viewer || (!agent.private && caller.has(agent.role_required.as_deref()))
}

fn unknown() -> Refusal {
    Refusal::new(Code::AgentNotFound, "no such agent")
}

/// `GET /agents` and `GET /runtime/agents`
#[utoipa::path(get, path = "/agents", tag = "agents", responses((status = 200, body = Agents)))]
pub(super) async fn list(caller: Caller, State(state): State<Arc<ControlState>>) -> Response {
    let agents = state.pool.agents().into_iter().filter(|agent| is_visible(&caller, agent)).collect();
    body::answer(&Agents { agents })
}

/// `GET /agents/{id}` and `GET /agents/{id}/health`. An agent whose own id ends with `/health` comes first.
#[utoipa::path(get, path = "/agents/{id}", tag = "agents",
    params(("id" = String, Path, description = "any id of the agent, `/` and `@` raw or encoded")),
    responses((status = 200, body = Object), (status = 404, description = "`agent_not_found`"))
)]
pub(super) async fn one(
    caller: Caller,
    State(state): State<Arc<ControlState>>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let rest = uri.path().strip_prefix("/agents/").unwrap_or_default();
    let known = id(rest).and_then(|id| state.pool.agent(&id)).filter(|agent| is_visible(&caller, agent));
    match (known, rest.strip_suffix("/health")) {
        (Some(agent), _) => Ok(body::answer(&agent)),
        (None, Some(of)) if is_container(&state, of) => Ok(health::in_milliseconds(&state)),
        (None, Some(of)) => id(of).and_then(|id| agent_health(&state, caller.role, id)).ok_or_else(unknown),
        (None, None) => Err(unknown()),
    }
}

/// Whether this is `AGENT_APP_ID`, whose health is that of the container.
fn is_container(state: &ControlState, raw: &str) -> bool {
    state.container.as_ref().is_some_and(|container| id(raw).as_deref() == Some(container.id()))
}

/// The health of an agent, or of a package without agents by its id.
fn agent_health(state: &ControlState, role: Role, id: String) -> Option<Response> {
    let status = match state.pool.agent(&id) {
        Some(agent) if agent.private && role < Role::Viewer => return None,
        Some(agent) => match agent.status {
            AgentState::Ready => "healthy",
            AgentState::Starting => "starting",
            AgentState::Disabled => "disabled",
            AgentState::Error => "error",
            AgentState::CrashLoop => "crash_loop",
            AgentState::Draining => "draining",
        },
        None => {
            let of = |package: &PackageId| package.name.as_str() == id || package.to_string() == id;
            let package = state.pool.packages().into_iter().find(|package| of(&package.id))?;
            match package {
                package if !package.agents.is_empty() => return None,
                package if package.state == "active" => "healthy",
                package => package.state,
            }
        }
    };
    let ok = status == "healthy";
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Some((code, axum::Json(AgentHealth { ok, agent_id: id, status, loaded: true })).into_response())
}

/// `POST /runtime/agents/{id}/enable`: without a body it toggles. Survives restarts and rollouts.
#[utoipa::path(post, path = "/runtime/agents/{id}/enable", tag = "agents",
    params(("id" = String, Path, description = "any id of the agent, `/` and `@` raw or encoded")),
    request_body = Option<EnableRequest>,
    responses((status = 200, body = Enabled), (status = 404, description = "`agent_not_found`"))
)]
pub(super) async fn enable(
    _: Operator,
    State(state): State<Arc<ControlState>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let rest = uri.path().strip_prefix("/runtime/agents/").and_then(|rest| rest.strip_suffix("/enable"));
    let Some(of) = rest else {
        return Err(Refusal::new(Code::NotFound, format!("there is nothing at {}", uri.path())));
    };
    let request: Option<EnableRequest> = body::json(&headers, body).await?;
    let id = id(of).ok_or_else(unknown)?;
    let switched = state.pool.set_enabled(&id, request.map(|request| request.enabled));
    let (id, enabled) = switched.ok_or_else(unknown)?;
    Ok(body::answer(&Enabled { id, enabled }))
}

/// An id out of a raw path: decoded exactly once.
fn id(raw: &str) -> Option<String> {
    percent_decode_str(raw).decode_utf8().ok().map(std::borrow::Cow::into_owned).filter(|id| !id.is_empty())
}
