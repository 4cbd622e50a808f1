//! `GET /runtime/logs`: recent lines, or recent lines and then every new one.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::header,
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use par_proto::code::Code;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{sync::broadcast::error::RecvError, time::timeout};
use utoipa::{IntoParams, ToSchema};

use super::{ControlState, asker::Viewer, body, refusal::Refusal};
use crate::observe::recent::Filter;

/// How often a quiet stream looks whether the runtime stops: a follower must not hold up its end for longer.
const LOOK_UP: Duration = Duration::from_millis(250);

/// Which lines; all that is named must hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Any id of an agent, or a package's.
    agent: Option<String>,
    /// Exactly this request.
    request_id: Option<String>,
    /// This level or a more severe one: `trace debug info warn error`.
    level: Option<String>,
    /// `true`: a stream of `application/x-ndjson` that goes on with new lines.
    follow: Option<String>,
}

/// Recent lines, oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Lines {
    /// `ts, level, event, agentAppId, deploymentId, details` and, for calls, what the access line adds.
    #[schema(value_type = Vec<Object>)]
    lines: Vec<Box<RawValue>>,
}

/// `GET /runtime/logs`
#[utoipa::path(get, path = "/runtime/logs", tag = "runtime", params(Wanted), responses((status = 200, body = Lines)))]
pub(super) async fn logs(
    _: Viewer,
    State(state): State<Arc<ControlState>>,
    query: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refusal> {
    let bad = |detail: String| Refusal::new(Code::BadRequest, detail);
    let Query(wanted) = query.map_err(|error| bad(error.body_text()))?;
    let follow = match wanted.follow.as_deref() {
        Some("true" | "1" | "") => true,
        Some("false" | "0") | None => false,
        Some(other) => return Err(bad(format!("follow: {other:?} is not true or false"))),
    };
    let level = wanted.level.as_deref().map(str::to_ascii_lowercase);
    let level = match level.as_deref() {
        None => None,
        Some(name @ ("trace" | "debug" | "info" | "warn" | "error")) => name.parse().ok(),
        Some(other) => {
            return Err(bad(format!("level: {other:?} is not one of trace, debug, info, warn, error")));
        }
    };
    let filter = Filter { agent: wanted.agent, request_id: wanted.request_id, level };
    Ok(if follow {
        stream(state, filter)
    } else {
        body::answer(&Lines { lines: state.recent.lines(&filter) })
    })
}

fn stream(state: Arc<ControlState>, filter: Filter) -> Response {
    let (recent, live) = state.recent.lines_and_follow(&filter);
    let mut first = String::new();
    for line in recent {
        first.push_str(line.get());
        first.push('\n');
    }
    let lines = stream::unfold((Some(Bytes::from(first)), live), move |(first, mut live)| {
        let (state, filter) = (Arc::clone(&state), filter.clone());
        async move {
            if let Some(first) = first {
                return Some((Ok::<_, std::convert::Infallible>(first), (None, live)));
            }
            loop {
                let batch = match timeout(LOOK_UP, live.recv()).await {
                    Ok(Ok(batch)) => filter.apply(&batch),
                    Ok(Err(RecvError::Lagged(batches))) => {
                        let note =
                            format!("{{\"event\":\"log_skipped\",\"details\":{{\"batches\":{batches}}}}}\n");
                        Bytes::from(note)
                    }
                    Ok(Err(RecvError::Closed)) => return None,
                    Err(_) if state.lifecycle.ready().ends_streams() => return None,
                    Err(_) => continue,
                };
                if !batch.is_empty() {
                    return Some((Ok(batch), (None, live)));
                }
            }
        }
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}
