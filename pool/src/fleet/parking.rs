//! Generations that serve no more: kept warm for a while, then drained and ended.

use std::{sync::Arc, time::Duration};

use super::{directory::Mount, pool::Pool};

/// How long a generation is left alone before it goes. Mostly it goes because another has just come: a fork, a start and
/// first calls have the processor then, and callers of the new one would wait for the end of the old one as well.
const AFTERWARDS: Duration = Duration::from_millis(150);

/// Between the ends of two of its processes: the kernel takes one or two milliseconds for each, at the priority of calls.
const APART: Duration = Duration::from_millis(20);

impl Pool {
    /// Lets generations finish their calls, then ends them.
    pub(crate) fn drain_all(self: &Arc<Self>, gone: Vec<Arc<Mount>>) {
        let grace = self.settings.rollout.drain_timeout;
        for mount in gone {
            let pool = Arc::clone(self);
            self.fleet.background.spawn(async move {
                pool.finish_sessions(&mount.generation, grace).await;
                // The end of the runtime needs no such regards.
                tokio::time::timeout(AFTERWARDS, pool.stopping.cancelled()).await.ok();
                mount.generation.finish_calls(grace).await;
                let apart = if pool.stopping.is_cancelled() { Duration::ZERO } else { APART };
                mount.generation.end(apart).await;
                drop(mount);
                // What it kept from being collected may be more than the store may have.
                pool.street.settle().await;
            });
        }
    }

    /// Ends parked generations whose time is over, and keeps the history that bake windows compare with.
    pub(crate) async fn tend(self: Arc<Self>) {
        let settings = &self.settings.rollout;
        let often = (settings.rollback_ttl / 4).clamp(Duration::from_millis(100), Duration::from_secs(15));
        let mut look = tokio::time::interval(often);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.stopping.is_cancelled() {
            look.tick().await;
            let gone = {
                let mut book = self.book.lock();
                for standing in &book.standing {
                    standing.mount.generation.note_history();
                }
                let gone = book.prune(settings.rollback_ttl, settings.parked);
                if !gone.is_empty() {
                    self.publish(&mut book);
                }
                gone
            };
            for mount in &gone {
                tracing::info!(event = "unparked", package = %mount.id, generation = mount.generation.number);
            }
            self.drain_all(gone);
        }
    }
}
