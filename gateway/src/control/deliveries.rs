//! `GET /runtime/webhooks/deliveries`: events on their way to the receiver, and those that never arrived.

use std::{error::Error as _, sync::Arc};

use axum::{extract::State, response::Response};
use par_proto::code::Code;

use super::{ControlState, asker::Viewer, body, refusal::Refusal};
use crate::webhooks::{Deliveries, DeskError};

/// `GET /runtime/webhooks/deliveries`
#[utoipa::path(get, path = "/runtime/webhooks/deliveries", tag = "runtime", responses(
    (status = 200, body = Deliveries), (status = 503, description = "`stopping`")
))]
pub(super) async fn deliveries(
    _: Viewer,
    State(state): State<Arc<ControlState>>,
) -> Result<Response, Refusal> {
    let Some(webhooks) = &state.webhooks else {
        return Ok(body::answer(&Deliveries::default()));
    };
    match webhooks.status().await {
        Ok(deliveries) => Ok(body::answer(&deliveries)),
        Err(DeskError::Closed) => Err(Refusal::new(Code::Stopping, "webhooks have stopped already")),
        Err(error @ DeskError::Unreadable(_)) => {
            let cause = error.source().map(ToString::to_string);
            tracing::error!(event = "outbox_unreadable", %error, cause);
            Err(Refusal::new(Code::Internal, "the outbox of webhooks cannot be read"))
        }
    }
}
