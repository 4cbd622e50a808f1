//! `POST /runtime/webhooks/registry`: something changed in the registry. Who may say so is decided by a
//! signature of the message, not by a role; what it says is a [`Notice`].

use std::{sync::Arc, time::SystemTime};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use par_proto::code::Code;
use serde::Serialize;
use utoipa::ToSchema;

use super::{body, refusal::Refusal};

mod notice;
mod verifier;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    notice::Notice,
    verifier::{Verifier, WebhookFault},
};

/// Largest message: what SNS delivers at most. An S3 event has up to ten records of a kilobyte.
const LARGEST: usize = 256 << 10;

/// What the route works on.
pub(crate) struct Hook {
    verifier: Verifier,
    kick: Kick,
}

/// Begins what a notice asks for and returns at once: the sender is answered when it does.
pub(crate) type Kick = Arc<dyn Fn(Notice) + Send + Sync>;

impl Hook {
    /// A route that passes on what `verifier` lets through. `kick` is not called for messages that ask for
    /// nothing.
    pub(crate) fn new(verifier: Verifier, kick: Kick) -> Self {
        Self { verifier, kick }
    }
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    /// `accepted`.
    status: &'static str,
}

/// Tells that something changed in the registry. Signed as Standard Webhooks say: `webhook-id`,
/// `webhook-timestamp` and `webhook-signature`, an HMAC-SHA256 with `REGISTRY_WEBHOOK_SECRET`. The body is
/// any JSON, with `package` and `force` as in a reload; or an event notification of S3, directly or within a
/// message of SNS.
#[utoipa::path(post, path = "/runtime/webhooks/registry", tag = "packages", request_body = Object, responses(
    (status = 202, body = Accepted, description = "the registry is looked at now"),
    (status = 400, description = "`bad_json`"),
    (status = 401, description = "`bad_signature`: no signature that holds, an old one, or a repeated one"),
    (status = 413, description = "`too_large`"),
    (status = 429, description = "`rate_limited`")
))]
pub(super) async fn registry(
    State(hook): State<Arc<Hook>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let bytes = body::whole(body, LARGEST).await?;
    let notice = hook.verifier.verify(&headers, &bytes, SystemTime::now())?;
    if let Some(url) = &notice.subscribe_url {
        tracing::warn!(
            event = "webhook_subscription",
            url,
            "SNS asks whether this subscription is wanted; open the address to confirm it"
        );
    }
    if !notice.ignore {
        tracing::info!(
            event = "webhook_received",
            package = notice.package,
            force = notice.force,
            objects = notice.keys.len()
        );
        (hook.kick)(notice);
    }
    Ok((StatusCode::ACCEPTED, body::answer(&Accepted { status: "accepted" })).into_response())
}

impl From<WebhookFault> for Refusal {
    fn from(fault: WebhookFault) -> Self {
        let code = match &fault {
            WebhookFault::NoSecret
            | WebhookFault::Missing(_)
            | WebhookFault::Malformed(_)
            | WebhookFault::Stale
            | WebhookFault::Signature
            | WebhookFault::Replayed => Code::BadSignature,
            WebhookFault::Crowded => Code::RateLimited,
            WebhookFault::NotJson(_) => Code::BadJson,
        };
        Self::new(code, fault.to_string())
    }
}
