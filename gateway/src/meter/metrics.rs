//! What is counted of recording itself, and of what was recorded.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Metrics of the meter.
#[derive(Debug, Clone)]
pub(crate) struct MeterMetrics {
    pub(crate) lost: IntCounter,
    pub(crate) unsynced: IntCounter,
    pub(crate) damaged: IntCounter,
    pub(crate) tokens: IntCounterVec,
}

impl MeterMetrics {
    /// Makes the metrics and registers them.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            lost: IntCounter::new(
                "par_usage_lost_total",
                "Calls whose usage could not be recorded because the disk was full.",
            )?,
            unsynced: IntCounter::new(
                "par_usage_sync_failures_total",
                "Tries to bring recorded usage to the disk that have failed: it may not survive the loss of power.",
            )?,
            damaged: IntCounter::new(
                "par_usage_damaged_bytes_total",
                "Bytes of recorded usage that could not be read any more.",
            )?,
            tokens: IntCounterVec::new(
                Opts::new(
                    "par_tokens_total",
                    "Tokens that agents have reported, by kind (input, output), as they are added to the ledger.",
                ),
                &["agent", "kind"],
            )?,
        };
        registry.register(Box::new(metrics.lost.clone()))?;
        registry.register(Box::new(metrics.unsynced.clone()))?;
        registry.register(Box::new(metrics.damaged.clone()))?;
        registry.register(Box::new(metrics.tokens.clone()))?;
        Ok(metrics)
    }
}
