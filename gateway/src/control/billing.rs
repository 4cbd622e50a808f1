//! Billing for people: how it does, whether it is right, and what the billing side tells of it.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::Response,
};
use par_proto::code::Code;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    ControlState,
    asker::{Operator, Viewer},
    body,
    refusal::Refusal,
};
use crate::billing::{Audit, Billing, BookError, NoticeError, NoticeFault, RoundError, Status, Width};

/// Largest notice: a hundred samples of what was refused have about 50 KiB.
const LARGEST: usize = 256 << 10;

/// `GET /runtime/usage/billing`
#[utoipa::path(get, path = "/runtime/usage/billing", tag = "usage", responses((status = 200, body = Status)))]
pub(super) async fn status(_: Viewer, State(state): State<Arc<ControlState>>) -> Result<Response, Refusal> {
    let Some(billing) = &state.billing else { return Ok(body::answer(&Status::default())) };
    Ok(body::answer(&billing.status()?))
}

/// By which windows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct By {
    /// `hour` or `day`, of UTC: those that differ are told as well.
    by: Option<String>,
}

/// Compares what was used, what was billed and what the billing side has counted, over the last 35 days at most.
#[utoipa::path(get, path = "/runtime/usage/verify", tag = "usage", params(By), responses(
    (status = 200, body = Audit),
    (status = 400, description = "`bad_request`: there are no such windows"),
    (status = 404, description = "`not_found`: nothing is billed")
))]
pub(super) async fn verify(
    _: Viewer,
    State(state): State<Arc<ControlState>>,
    asked: Result<Query<By>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(By { by }) = asked.map_err(|error| Refusal::new(Code::BadRequest, error.body_text()))?;
    let width = by.map(|by| {
        Width::of(&by).ok_or_else(|| Refusal::new(Code::BadRequest, format!("by: {by:?} is not hour or day")))
    });
    Ok(body::answer(&of(&state)?.audit(width.transpose()?).await?))
}

/// Which event.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Wanted {
    identifier: String,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reopened {
    /// A new one, unless nobody knows whether it was counted.
    identifier: String,
    /// `open`.
    state: &'static str,
}

/// Lets an event that was refused, or is too old, begin anew.
#[utoipa::path(post, path = "/runtime/usage/billing/retry", tag = "usage", request_body = Wanted, responses(
    (status = 200, body = Reopened),
    (status = 404, description = "`not_found`: there is no such event, or it is not one of those")
))]
pub(super) async fn retry(
    _: Operator,
    State(state): State<Arc<ControlState>>,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Refusal> {
    let Wanted { identifier } = wanted;
    let Some(identifier) = of(&state)?.retry(&identifier)? else {
        return Err(Refusal::new(Code::NotFound, "no event of this name was refused or has become too old"));
    };
    Ok(body::answer(&Reopened { identifier, state: "open" }))
}

/// What was done with a notice.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Noted {
    /// Events that it has closed.
    closed: usize,
}

/// Tells that usage which was taken is refused all the same. Signed as Stripe signs its webhooks, with
/// `billing.webhook_secret`.
#[utoipa::path(post, path = "/runtime/webhooks/stripe", tag = "usage", request_body = Object, responses(
    (status = 200, body = Noted),
    (status = 400, description = "`bad_json`"),
    (status = 401, description = "`bad_signature`"),
    (status = 413, description = "`too_large`"),
    (status = 503, description = "`not_ready`: send it again")
))]
pub(super) async fn notice(
    State(billing): State<Option<Arc<Billing>>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let bytes = body::whole(body, LARGEST).await?;
    let Some(billing) = billing else { return Err(NoticeFault::NoSecret.into()) };
    match billing.noticed(&headers, &bytes).await {
        Ok(closed) => Ok(body::answer(&Noted { closed })),
        Err(NoticeError::Fault(fault)) => Err(fault.into()),
        Err(error @ NoticeError::Later(_)) => Err(Refusal::new(Code::NotReady, error.to_string())),
    }
}

fn of(state: &ControlState) -> Result<&Arc<Billing>, Refusal> {
    state
        .billing
        .as_ref()
        .ok_or_else(|| Refusal::new(Code::NotFound, "nothing is billed: no key is configured (STRIPE_KEY)"))
}

impl From<NoticeFault> for Refusal {
    fn from(fault: NoticeFault) -> Self {
        let code = match &fault {
            NoticeFault::NoSecret | NoticeFault::Malformed | NoticeFault::Stale | NoticeFault::Signature => {
                Code::BadSignature
            }
            NoticeFault::NotJson => Code::BadJson,
        };
        Self::new(code, fault.to_string())
    }
}

impl From<BookError> for Refusal {
    fn from(error: BookError) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(event = "billing_unreadable", %error, cause);
        Self::new(Code::Internal, "the book of what is billed cannot be read")
    }
}

impl From<RoundError> for Refusal {
    fn from(error: RoundError) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(event = "audit_failed", %error, cause);
        Self::new(Code::Internal, "what was billed cannot be compared")
    }
}
