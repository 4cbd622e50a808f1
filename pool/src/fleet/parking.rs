//! Generations that serve no more: kept warm for a while, then drained and ended.

use std::{sync::Arc, time::Duration};

use super::{directory::Mount, pool::Pool};

impl Pool {
    /// Lets generations finish their calls, then ends them.
    pub(crate) fn drain_all(self: &Arc<Self>, gone: Vec<Arc<Mount>>) {
        let grace = self.settings.rollout.drain_timeout;
        for mount in gone {
            let pool = Arc::clone(self);
            self.fleet.background.spawn(async move {
                pool.finish_sessions(&mount.generation, grace).await;
                mount.generation.end(grace).await;
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
