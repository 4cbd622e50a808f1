//! Watching a new generation after the switch, and closing its receipt.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    bake::{Verdict, judge},
    directory::Mount,
    pool::Pool,
    receipt::{Cause, Receipt, RolloutOutcome},
    totals::Tally,
};

/// Time between two looks: how long a bad version serves beyond what its calls already showed.
const LOOK: Duration = Duration::from_millis(50);

impl Pool {
    /// Watches `green`, which had answered `start` at the switch, until the bake window is over, takes it back if it does worse than `blue`, and completes the
    /// receipt with how its calls fared.
    pub(crate) async fn bake(
        self: Arc<Self>,
        green: Arc<Mount>,
        blue: Option<Arc<Mount>>,
        start: Tally,
        mut receipt: Receipt,
    ) {
        self.save_receipts().await;
        let settings = &self.settings.rollout;
        let end = Instant::now() + settings.bake_window;
        let before = blue.as_ref().map(|blue| blue.generation.recent());
        let mut reason = None;
        while reason.is_none() && Instant::now() < end && self.is_active(&green) {
            tokio::time::sleep(LOOK.min(end.saturating_duration_since(Instant::now()))).await;
            let Some(before) = &before else { continue };
            if green.generation.state() == "crash_loop" {
                reason = Some("its workers die before they answer".to_owned());
                continue;
            }
            match judge(before, &green.generation.totals.tally().since(&start), settings) {
                Verdict::Fine => {}
                Verdict::Worse(how) => reason = Some(how),
            }
        }
        receipt.after(&green.generation.totals.tally().since(&start));
        if let Some(reason) = reason {
            let back = self.take_back(&green.id.name, Some(&green), Cause::Bake, reason.clone()).await;
            match back {
                Ok(_) => {
                    receipt.outcome = RolloutOutcome::RolledBack;
                    receipt.reason = Some(reason);
                    let outcome = receipt.outcome.text();
                    let rollouts = &self.fleet.metrics.rollouts;
                    rollouts.with_label_values(&[receipt.package.as_str(), outcome]).inc();
                }
                // Somebody else was faster; the receipt of that says so.
                Err(error) => tracing::info!(event = "bake", package = %green.id, %error, reason),
            }
        }
        self.receipts.keep(&receipt);
        self.save_receipts().await;
    }

    fn is_active(&self, mount: &Arc<Mount>) -> bool {
        let directory = self.directory.load();
        directory.mounts().iter().any(|active| Arc::ptr_eq(active, mount))
    }
}
