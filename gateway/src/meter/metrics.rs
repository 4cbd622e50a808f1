//! What is counted of recording itself.

use prometheus::{IntCounter, Registry};

/// Metrics of the meter, prefix `par_usage_`.
#[derive(Debug, Clone)]
pub(crate) struct MeterMetrics {
    pub(crate) lost: IntCounter,
    pub(crate) damaged: IntCounter,
}

impl MeterMetrics {
    /// Makes the metrics and registers them.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            lost: IntCounter::new(
                "par_usage_lost_total",
                "Calls whose usage could not be recorded because the disk was full.",
            )?,
            damaged: IntCounter::new(
                "par_usage_damaged_bytes_total",
                "Bytes of recorded usage that could not be read any more.",
            )?,
        };
        registry.register(Box::new(metrics.lost.clone()))?;
        registry.register(Box::new(metrics.damaged.clone()))?;
        Ok(metrics)
    }
}
