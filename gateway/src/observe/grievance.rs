//! A receiver that does not take what it is sent is told of once, and once more when it does again: not every time.

use std::fmt::Display;

/// What was said of one receiver.
#[derive(Debug)]
pub(crate) struct Grievance {
    sink: String,
    is_told: bool,
}

impl Grievance {
    /// Nothing yet.
    pub(crate) fn about(sink: impl Into<String>) -> Self {
        Self { sink: sink.into(), is_told: false }
    }

    /// It did not take something.
    pub(crate) fn told(&mut self, why: &impl Display) {
        if !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(
                event = "telemetry_unsent",
                sink = self.sink,
                "{why}; what it misses is counted in par_telemetry_total"
            );
        }
    }

    /// It did.
    pub(crate) fn over(&mut self) {
        if std::mem::replace(&mut self.is_told, false) {
            tracing::info!(event = "telemetry_sent", sink = self.sink, "it takes again what it is sent");
        }
    }
}
