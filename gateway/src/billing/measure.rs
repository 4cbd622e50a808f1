//! What is billed: the closed set of measures, and how much of each stands in one event.

/// One thing that tenants pay for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Calls.
    Requests,
    /// Tokens that models have read.
    InputTokens,
    /// Tokens that models have written.
    OutputTokens,
    /// Whole seconds of workers.
    ComputeSeconds,
}

impl Measure {
    /// All of them.
    pub(crate) const ALL: [Self; 4] =
        [Self::Requests, Self::InputTokens, Self::OutputTokens, Self::ComputeSeconds];

    /// As it is kept and shown.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::ComputeSeconds => "compute_seconds",
        }
    }

    /// The measure of a text.
    pub(crate) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.text() == text)
    }

    /// Parts of the ledger in one unit that is billed: it counts microseconds of workers, and everything else singly.
    pub(crate) const fn unit(self) -> i64 {
        match self {
            Self::Requests | Self::InputTokens | Self::OutputTokens => 1,
            Self::ComputeSeconds => 1_000_000,
        }
    }
}

/// What a tenant has used in some time, in the ledger's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Amounts {
    /// Calls.
    pub(crate) requests: i64,
    /// Tokens read.
    pub(crate) input_tokens: i64,
    /// Tokens written.
    pub(crate) output_tokens: i64,
    /// Microseconds of workers.
    pub(crate) worker_us: i64,
}

impl Amounts {
    /// How much of one measure.
    pub(crate) const fn of(&self, measure: Measure) -> i64 {
        match measure {
            Measure::Requests => self.requests,
            Measure::InputTokens => self.input_tokens,
            Measure::OutputTokens => self.output_tokens,
            Measure::ComputeSeconds => self.worker_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_is_found_by_its_name() {
        for measure in Measure::ALL {
            assert_eq!(Measure::of(measure.text()), Some(measure));
        }
        assert_eq!(Measure::of("joy"), None);
    }
}
