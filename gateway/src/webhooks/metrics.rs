//! What webhooks count.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// How an attempt, or an event before its first attempt, ended: the label of `par_webhook_deliveries_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The receiver took it.
    Delivered,
    /// It will be tried again.
    Failed,
    /// It was given up.
    Dead,
    /// It could not be written down and was never tried.
    Lost,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Delivered, Self::Failed, Self::Dead, Self::Lost];

    /// The label.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Lost => "lost",
        }
    }
}

/// Metrics of webhooks, prefix `par_`.
#[derive(Debug, Clone)]
pub(super) struct WebhookMetrics {
    pub(super) pending: IntGauge,
    deliveries: IntCounterVec,
}

impl WebhookMetrics {
    /// Makes the metrics and registers them.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            pending: IntGauge::new("par_webhooks_pending", "Events that the receiver has not taken yet.")?,
            deliveries: IntCounterVec::new(
                Opts::new(
                    "par_webhook_deliveries_total",
                    "Attempts to deliver an event, by outcome: delivered, failed (will be tried again), dead \
                     (given up), lost (could not be written down, never tried).",
                ),
                &["outcome"],
            )?,
        };
        for outcome in Outcome::ALL {
            // A series that begins at 0 shows its first increase.
            metrics.deliveries.with_label_values(&[outcome.text()]).inc_by(0);
        }
        registry.register(Box::new(metrics.pending.clone()))?;
        registry.register(Box::new(metrics.deliveries.clone()))?;
        Ok(metrics)
    }

    /// Counts one outcome.
    pub(super) fn count(&self, outcome: Outcome) {
        self.deliveries.with_label_values(&[outcome.text()]).inc();
    }

    /// How often an outcome was counted.
    #[cfg(test)]
    pub(super) fn counted(&self, outcome: Outcome) -> u64 {
        self.deliveries.with_label_values(&[outcome.text()]).get()
    }
}
