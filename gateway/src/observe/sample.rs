//! Fewer access lines of what went well, while there are very many of them. Failures always have their line.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use prometheus::{IntCounter, Registry};

use crate::config::Sampling;

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sampled {
    /// It is written.
    Written,
    /// It is written, and stands for so many like it.
    OneOf(u32),
    /// It is left out.
    LeftOut,
}

/// Counts lines of the second that runs. Clones of the edge share one.
#[derive(Debug)]
pub(crate) struct Sampler {
    rule: Sampling,
    begin: Instant,
    /// The second, and how many lines it had: 32 bits each.
    now: AtomicU64,
    /// `par_log_sampled_total`
    left_out: IntCounter,
}

impl Sampler {
    /// Registers the count of what is left out; all samplers of the process share it.
    ///
    /// # Errors
    /// If the registry has a metric of this name.
    pub(crate) fn register(registry: &Registry) -> Result<IntCounter, prometheus::Error> {
        let left_out = IntCounter::new(
            "par_log_sampled_total",
            "Access lines of calls that went well, left out because there were very many.",
        )?;
        registry.register(Box::new(left_out.clone()))?;
        Ok(left_out)
    }

    /// Follows a rule, and counts what it leaves out.
    pub(crate) fn new(rule: Sampling, left_out: IntCounter) -> Self {
        Self { rule, begin: Instant::now(), now: AtomicU64::new(0), left_out }
    }

    /// Decides about one line that is about to be written.
    pub(crate) fn decide(&self) -> Sampled {
        self.decide_in(u32::try_from(self.begin.elapsed().as_secs()).unwrap_or(u32::MAX))
    }

    fn decide_in(&self, second: u32) -> Sampled {
        let Sampling { after, one_in } = self.rule;
        let this = u64::from(second) << u32::BITS;
        let before = self.now.load(Ordering::Relaxed);
        // Of several that begin a second, one counts too few: nobody sees that.
        let count = if before & !u64::from(u32::MAX) == this {
            self.now.fetch_add(1, Ordering::Relaxed) as u32
        } else {
            self.now.store(this + 1, Ordering::Relaxed);
            0
        };
        if count < after {
            return Sampled::Written;
        }
        if (count - after) % one_in == 0 {
            return Sampled::OneOf(one_in);
        }
        self.left_out.inc();
        Sampled::LeftOut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_of_a_second_one_line_stands_for_many_and_the_rest_is_counted() {
        let registry = Registry::new();
        let sampler = Sampler::new(Sampling { after: 3, one_in: 10 }, Sampler::register(&registry).unwrap());
        for second in [7, 8] {
            let lines: Vec<_> = (0..23).map(|_| sampler.decide_in(second)).collect();
            assert_eq!(lines[..3], [Sampled::Written; 3]);
            assert_eq!(
                (lines[3], lines[4], lines[13]),
                (Sampled::OneOf(10), Sampled::LeftOut, Sampled::OneOf(10))
            );
        }
        assert_eq!(sampler.left_out.get(), 2 * 18);
    }
}
