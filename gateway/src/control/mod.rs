//! The management side: health, packages, agents, logs. Served on an inner socket only; the edge decides who asks
//! and says so in `x-par-role`.

use std::{sync::Arc, time::SystemTime};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::Uri,
    middleware,
    routing::{delete, get, post, put},
};
use par_proto::code::Code;

mod agents;
mod asker;
mod billing;
mod body;
mod dashboard;
mod deliveries;
mod errors;
mod fleet;
mod health;
mod levels;
mod load;
mod logs;
mod openapi;
mod packages;
mod refusal;
mod reload;
mod rollouts;
mod runtime;
mod sessions;
mod single;
mod unread;
mod upgrade;
mod upload;
mod usage;
mod webhook;

#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;

pub(crate) use fleet::{Fleet, Rollouts, Sessions};

use self::refusal::Refusal;
pub(crate) use self::{
    dashboard::Observatory,
    refusal::CODE_HEADER,
    webhook::{Hook, Notice, Verifier},
};
use crate::{
    billing::Billing,
    config::Config,
    observe::{Explanations, RecentLines, Redactor, levels::Levels},
    single::Container,
    upgrade::Upgrade,
    webhooks::Webhooks,
};

/// Whether calls are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Sources named at the start are still on their way.
    Starting,
    /// Every source is mounted or has failed.
    Ready,
    /// Calls are taken, and another binary is about to take them over.
    Leaving,
    /// Calls are drained.
    Stopping,
}

impl Readiness {
    /// What people are told.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready | Self::Leaving => "healthy",
            Self::Stopping => "stopping",
        }
    }

    /// Whether streams that would go on for ever have to end.
    pub(super) const fn ends_streams(self) -> bool {
        match self {
            Self::Starting | Self::Ready => false,
            Self::Leaving | Self::Stopping => true,
        }
    }
}

/// The life of the process, as the management side sees and ends it.
pub(crate) trait ShutdownSwitch: Send + Sync {
    /// Begins the graceful stop; once is enough, more often is harmless.
    fn begin(&self);
    /// Begins the end in favour of a successor that keeps the sockets; nothing if an end has begun already.
    fn succeed(&self);
    /// Whether calls are taken now.
    fn ready(&self) -> Readiness;
}

/// What the routes work on.
#[derive(Clone)]
pub(crate) struct ControlState {
    /// The one agent of single mode.
    pub(crate) container: Option<Arc<Container>>,
    /// The packages.
    pub(crate) pool: Arc<dyn Fleet>,
    /// How their versions replace each other.
    pub(crate) rollouts: Arc<dyn Rollouts>,
    /// What callers keep between their calls.
    pub(crate) sessions: Arc<dyn Sessions>,
    /// The configuration.
    pub(crate) config: Arc<Config>,
    /// What keeps secrets out of answers.
    pub(crate) redactor: Redactor,
    /// The last log lines.
    pub(crate) recent: Arc<RecentLines>,
    /// Why calls failed, and how workers ended.
    pub(crate) explanations: Explanations,
    /// Which lines are written.
    pub(crate) levels: Levels,
    /// What people see who watch.
    pub(crate) observatory: Arc<Observatory>,
    /// The life of the process.
    pub(crate) lifecycle: Arc<dyn ShutdownSwitch>,
    /// What it can become; none: it stays what it is.
    pub(crate) upgrade: Option<Arc<Upgrade>>,
    /// Prometheus text of everything.
    pub(crate) metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Who may say that the registry has changed, and what happens then.
    pub(crate) hook: Arc<Hook>,
    /// Webhooks out, if a receiver is configured.
    pub(crate) webhooks: Option<Arc<Webhooks>>,
    /// What is billed, if anything is.
    pub(crate) billing: Option<Arc<Billing>>,
    /// Start of the process.
    pub(crate) started: SystemTime,
}

/// Every route of the management side.
pub(crate) fn router(state: ControlState) -> Router {
    let hooks = Router::new()
        .route("/runtime/webhooks/registry", post(webhook::registry))
        .with_state(Arc::clone(&state.hook));
    let notices = Router::new()
        .route("/runtime/webhooks/stripe", post(billing::notice))
        .with_state(state.billing.clone());
    let container = state.container.clone().map(single::routes).unwrap_or_default();
    Router::new()
        .route("/health", get(health::ready_in_milliseconds))
        .route("/runtime/health", get(health::ready))
        .route("/runtime/live", get(health::live))
        .route("/runtime/info", get(runtime::info))
        .route("/runtime/packages", get(packages::list))
        .route("/runtime/packages/load", post(load::load))
        .route("/runtime/packages/upload", post(upload::upload).layer(DefaultBodyLimit::disable()))
        .route("/runtime/packages/{id}", delete(packages::unload))
        .route("/runtime/packages/{name}/rollback", post(rollouts::rollback))
        .route("/runtime/packages/{name}/traffic", put(rollouts::traffic))
        .route("/runtime/rollouts", get(rollouts::list))
        .route("/runtime/rollouts/{id}", get(rollouts::one))
        .route("/runtime/reload", post(reload::reload))
        .route("/runtime/sessions", get(sessions::list))
        .route("/runtime/sessions/{id}", delete(sessions::end))
        .route("/agents", get(agents::list))
        .route("/runtime/agents", get(agents::list))
        .route("/agents/{*rest}", get(agents::one))
        .route("/runtime/agents/{*rest}", post(agents::enable))
        .route("/runtime/usage", get(usage::usage))
        .route("/runtime/usage/{request_id}", get(usage::request))
        .route("/runtime/logs", get(logs::logs))
        .route("/runtime/logs/level", get(levels::shown).put(levels::change).delete(levels::reset))
        .route("/runtime/dashboard", get(dashboard::page))
        .route("/runtime/dashboard/stream", get(dashboard::figures))
        .route("/runtime/errors", get(errors::list))
        .route("/runtime/errors/{request_id}", get(errors::one))
        .route("/runtime/workers", get(errors::workers))
        .route("/runtime/webhooks/deliveries", get(deliveries::deliveries))
        .route("/runtime/shutdown", post(runtime::shutdown))
        .route("/runtime/upgrade", post(upgrade::upgrade))
        .route("/runtime/openapi.json", get(openapi::document))
        .route("/metrics", get(runtime::metrics))
        .route("/runtime/usage/billing", get(billing::status))
        .route("/runtime/usage/billing/retry", post(billing::retry))
        .route("/runtime/usage/verify", get(billing::verify))
        .merge(hooks)
        .merge(notices)
        .merge(container)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(state.redactor.clone(), refusal::finish))
        .layer(middleware::from_fn(unread::settle))
        .with_state(Arc::new(state))
}

async fn not_found(uri: Uri) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is nothing at {}", uri.path()))
}

async fn method_not_allowed(uri: Uri) -> Refusal {
    Refusal::new(Code::MethodNotAllowed, format!("{} does not take this method", uri.path()))
}
