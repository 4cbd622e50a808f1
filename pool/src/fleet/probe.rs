//! The last step before a generation is shown: the `healthcheck` of its manifest, asked of its first worker.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use par_proto::frames::FLAG_OCTETS;

use super::{call::Call, generation::Generation, outcome::Outcome};
use crate::package::{Cause, Installed, PullError, Step};

/// Asks the `healthcheck` of the manifest, if there is one.
pub(crate) async fn probe(generation: &Arc<Generation>, timeout: Duration) -> Result<(), PullError> {
    let installed: &Installed = &generation.installed;
    let Some(check) = &installed.package.healthcheck else { return Ok(()) };
    let refused = |detail: String| Err(PullError::refused(Step::Probe, detail));
    let Some(export) = installed.package.exports.iter().position(|export| export.id == check.export) else {
        return refused(format!("healthcheck names {}, which is no export", check.export));
    };
    let input = serde_json::to_vec(&check.input)
        .map_err(|error| PullError::refused(Step::Probe, format!("healthcheck.input: {error}")))?;
    let call = Call {
        export: u32::try_from(export).unwrap_or(u32::MAX),
        meta: Bytes::from_static(br#"{"request_id":"healthcheck"}"#),
        payload: input.into(),
        request_id: Arc::from("healthcheck"),
        deadline: Instant::now() + timeout,
        tenant: None,
        principal: None,
        depth: 0,
        files: None,
        feed: None,
        trace: None,
        session: None,
    };
    match generation.call(call).await.outcome {
        Outcome::Done { flags, payload, .. } => {
            let Some(expected) = &check.expect else { return Ok(()) };
            let got = (flags & FLAG_OCTETS == 0).then(|| serde_json::from_slice(&payload).ok()).flatten();
            let got: Option<serde_json::Value> = got;
            if got.as_ref() == Some(expected) {
                return Ok(());
            }
            refused(format!("healthcheck of {} answered something else than expected", check.export))
        }
        // It was not asked for items.
        Outcome::Ended { .. } => Ok(()),
        Outcome::Failed(payload) => {
            let text: String = String::from_utf8_lossy(&payload).chars().take(500).collect();
            refused(format!("healthcheck of {} failed: {text}", check.export))
        }
        Outcome::Crashed(death) => refused(format!("healthcheck of {}: {death}", check.export)),
        Outcome::Deadline { .. } => {
            let detail = format!("healthcheck of {} took too long", check.export);
            Err(PullError::refused(Step::Probe, detail).because(Cause::Late))
        }
        Outcome::QueueFull { .. }
        | Outcome::AtLimit { .. }
        | Outcome::Entangled
        | Outcome::CrashLoop { .. }
        | Outcome::Session(_)
        | Outcome::Stopping => refused(format!("healthcheck of {} found no worker", check.export)),
    }
}
