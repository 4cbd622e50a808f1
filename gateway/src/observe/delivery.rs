//! What was handed to receivers of traces and metrics, and what became of it.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Counts by receiver and outcome.
#[derive(Debug, Clone)]
pub(crate) struct Deliveries(IntCounterVec);

/// The counts of one receiver.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    sent: IntCounter,
    dropped: IntCounter,
    refused: IntCounter,
}

impl Deliveries {
    /// Makes the counter and registers it.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Spans, points of metrics and packets for receivers of telemetry, by outcome: `sent`, `dropped` \
                    (no room, or nobody took them in time), `refused` (the receiver or we did not want them).";
        let counts = IntCounterVec::new(Opts::new("par_telemetry_total", help), &["sink", "outcome"])?;
        registry.register(Box::new(counts.clone()))?;
        Ok(Self(counts))
    }

    /// For one receiver; its name is configured, not told by anybody.
    pub(crate) fn to(&self, sink: &str) -> Tally {
        let of = |outcome| self.0.with_label_values(&[sink, outcome]);
        Tally { sent: of("sent"), dropped: of("dropped"), refused: of("refused") }
    }

    /// What was counted.
    #[cfg(test)]
    pub(crate) fn count(&self, sink: &str, outcome: &str) -> u64 {
        self.0.with_label_values(&[sink, outcome]).get()
    }
}

impl Tally {
    /// The receiver has them.
    pub(crate) fn sent(&self, count: usize) {
        self.sent.inc_by(count as u64);
    }

    /// Nobody will get them.
    pub(crate) fn dropped(&self, count: usize) {
        self.dropped.inc_by(count as u64);
    }

    /// They were not wanted.
    pub(crate) fn refused(&self, count: usize) {
        self.refused.inc_by(count as u64);
    }
}
