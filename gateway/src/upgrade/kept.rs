//! Doors that the former binary has left open for this one: who has come to them waits until there is something to answer.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Fallback;
use crate::edge::Opening;

/// How long they wait at most. Packages that need longer are answered with `not_ready`, and those that are there are not held
/// up. Load balancers and clients give up after 30 to 60 s, as a rule.
const LONGEST: Duration = Duration::from_secs(30);

/// The doors. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    settled: Option<CancellationToken>,
    fallback: Fallback,
}

impl Kept {
    /// Those of a process that was another one; of any other, doors that open at once.
    pub(crate) fn new(is_kept: bool, fallback: Fallback) -> Self {
        Self { settled: is_kept.then(CancellationToken::new), fallback }
    }

    /// When a door opens.
    pub(crate) fn opening(&self) -> Opening {
        self.settled.clone().map_or(Opening::AtOnce, Opening::Kept)
    }

    /// Whether this process can become again what it was before.
    pub(crate) fn has_way_back(&self) -> bool {
        self.fallback.is_there()
    }

    /// What was to be mounted is mounted, or has failed: they open, and there is no way back any more.
    pub(crate) fn serves(&self) {
        self.fallback.forget();
        if let Some(settled) = &self.settled {
            settled.cancel();
        }
    }

    /// Opens them when nobody should wait any longer.
    pub(crate) async fn open_in_time(self) {
        let Some(settled) = self.settled else { return };
        if tokio::time::timeout(LONGEST, settled.cancelled()).await.is_err() {
            tracing::warn!(
                event = "doors_opened_early",
                seconds = LONGEST.as_secs(),
                "packages are still being mounted; nobody waits for them any longer"
            );
            settled.cancel();
        }
    }
}
