//! What billing counts.

use prometheus::{Gauge, IntGauge, Registry};

/// Metrics of billing, prefix `par_`.
#[derive(Debug, Clone)]
pub(super) struct BillingMetrics {
    pub(super) unsent: IntGauge,
    pub(super) oldest: Gauge,
}

impl BillingMetrics {
    /// Makes the metrics and registers them.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            unsent: IntGauge::new(
                "par_usage_unsent",
                "Billing events that the billing side has not taken yet.",
            )?,
            oldest: Gauge::new(
                "par_usage_oldest_unsent_seconds",
                "How long the oldest of them is due; 0: none is.",
            )?,
        };
        registry.register(Box::new(metrics.unsent.clone()))?;
        registry.register(Box::new(metrics.oldest.clone()))?;
        Ok(metrics)
    }
}
