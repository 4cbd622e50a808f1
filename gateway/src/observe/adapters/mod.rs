//! Metrics for receivers that do not come for them. Each adapter is one file below this one and one row in
//! [`super::telemetry`]; it gets what the registry holds, round by round, and the paths that count know nothing of it.

mod delta;
mod names;
mod packets;
mod quantile;
mod series;
mod socket;
mod statsd;

use std::{pin::Pin, sync::Arc, time::Duration};

use prometheus::proto::MetricFamily;
use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, interval},
};

pub(crate) use series::{Buckets, Point, Series, series};
pub(crate) use statsd::Statsd;

/// What the registry holds now.
pub(crate) type Gather = Arc<dyn Fn() -> Vec<MetricFamily> + Send + Sync>;

/// One round on its way.
pub(crate) type Pushing<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A receiver of metrics.
pub(crate) trait Adapter: Send {
    /// Time between two rounds.
    fn interval(&self) -> Duration;

    /// Sends one round. What is not taken in time is counted and not waited for.
    fn push<'a>(&'a mut self, families: &'a [MetricFamily]) -> Pushing<'a>;
}

/// Sends rounds until `stop`, and one more then: what was counted last is not lost. The first one is at the start, so
/// that what is wrong is told when somebody looks.
pub(crate) async fn run(mut adapter: Box<dyn Adapter>, gather: Gather, mut stop: oneshot::Receiver<()>) {
    let mut ticks = interval(adapter.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_over = tokio::select! {
            biased;
            _ = &mut stop => true,
            _ = ticks.tick() => false,
        };
        let families = gather();
        adapter.push(&families).await;
        if is_over {
            return;
        }
    }
}
