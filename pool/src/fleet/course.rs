//! The course of a rollout while it goes on: times for its receipt, lines for the log.

use std::time::{Duration, Instant};

use par_proto::ids::{Digest, PackageId};

use super::receipt::{Cause, Receipt, Side};
use crate::package::Step;

/// What is written down while a rollout goes on.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) begin: Instant,
    cause: Cause,
    /// None until name and digest are known.
    pub(crate) receipt: Option<Receipt>,
}

impl Course {
    pub(crate) fn begin(cause: Cause) -> Self {
        Self { begin: Instant::now(), cause, receipt: None }
    }

    pub(crate) fn name(&mut self, id: &PackageId, digest: Digest) {
        if self.receipt.is_none() {
            let to = Side { id: id.clone(), digest, generation: None };
            self.receipt = Some(Receipt::begin(self.cause, to, self.begin));
        }
    }

    pub(crate) fn step(&mut self, step: &'static str, took: Duration) {
        if let Some(receipt) = &mut self.receipt {
            receipt.step(step, took);
        }
    }

    pub(crate) fn steps(&mut self, steps: &[(Step, Duration)]) {
        for (step, took) in steps {
            self.step(step.text(), *took);
        }
    }
}

/// One line per step of a package, also for steps that had nothing to do.
pub(crate) fn tell(package: &PackageId, took: &[(Step, Duration)], steps: &[Step]) {
    for wanted in steps {
        let seconds: f64 =
            took.iter().filter(|(at, _)| at == wanted).fold(0.0, |sum, (_, time)| sum + time.as_secs_f64());
        tracing::info!(event = wanted.phase(), package = %package, seconds);
    }
}
