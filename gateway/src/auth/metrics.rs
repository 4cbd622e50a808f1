//! What identity counts.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::Reason;

/// How a request's identity was decided: the label of `par_auth_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Proved.
    Proved,
    /// Proved before, and remembered.
    Cached,
    /// What would prove it does not answer.
    Unavailable,
    /// Not proved.
    Refused(Reason),
}

impl Outcome {
    /// The label.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Proved => "ok",
            Self::Cached => "cached",
            Self::Unavailable => "unavailable",
            Self::Refused(reason) => reason.text(),
        }
    }
}

/// Metrics of identity, prefix `par_`.
#[derive(Debug, Clone)]
pub(crate) struct AuthMetrics {
    outcomes: IntCounterVec,
    /// The one of the hot path, without the look-up by label.
    cached: IntCounter,
}

impl AuthMetrics {
    /// Makes the metrics and registers them.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let outcomes = IntCounterVec::new(
            Opts::new(
                "par_auth_total",
                "Requests whose identity was looked at, by outcome: ok, cached (proved before), unavailable \
                 (what would prove it does not answer), or the reason of the refusal.",
            ),
            &["outcome"],
        )?;
        let refused = Reason::ALL.iter().map(|reason| Outcome::Refused(*reason));
        for outcome in [Outcome::Proved, Outcome::Cached, Outcome::Unavailable].into_iter().chain(refused) {
            // A series that begins at 0 shows its first increase.
            outcomes.with_label_values(&[outcome.text()]).inc_by(0);
        }
        registry.register(Box::new(outcomes.clone()))?;
        let cached = outcomes.with_label_values(&[Outcome::Cached.text()]);
        Ok(Self { outcomes, cached })
    }

    /// Counts one request.
    pub(crate) fn count(&self, outcome: Outcome) {
        match outcome {
            Outcome::Cached => self.cached.inc(),
            Outcome::Proved | Outcome::Unavailable | Outcome::Refused(_) => {
                self.outcomes.with_label_values(&[outcome.text()]).inc();
            }
        }
    }

    /// How often an outcome was counted.
    #[cfg(test)]
    pub(crate) fn counted(&self, outcome: Outcome) -> u64 {
        self.outcomes.with_label_values(&[outcome.text()]).get()
    }
}
