//! What the pool counts. Labels come from mounted packages and closed enums only.

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector,
};

/// Buckets for the start of a worker, in seconds: a fork takes 2 to 10 ms, an import of its own up to seconds.
const START_BUCKETS: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Buckets for steps of rollouts, in seconds: a switch takes microseconds, an install up to minutes.
const STEP_BUCKETS: &[f64] =
    &[0.0001, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Metrics of the pool, prefix `par_`.
#[derive(Debug)]
pub struct PoolMetrics {
    /// Workers by package and state.
    pub workers: IntGaugeVec,
    /// Ends of workers by package and cause.
    pub worker_exits: IntCounterVec,
    /// Time from the request for a worker to its readiness, by method.
    pub worker_start: HistogramVec,
    /// Busy slots over all slots, by package.
    pub slots_busy: GaugeVec,
    /// Calls waiting for a slot, by package.
    pub queue_depth: IntGaugeVec,
    /// Packages pulled, by outcome.
    pub pulls: IntCounterVec,
    /// Sessions that live, by package.
    pub sessions: IntGaugeVec,
    /// Rollouts by package and outcome.
    pub rollouts: IntCounterVec,
    /// Time of the steps of rollouts.
    pub rollout_step: HistogramVec,
}

impl PoolMetrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// If the registry already has metrics of these names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            workers: IntGaugeVec::new(
                Opts::new("par_workers", "Workers by package and state."),
                &["package", "state"],
            )?,
            worker_exits: IntCounterVec::new(
                Opts::new("par_worker_exits_total", "Ends of workers by package and cause."),
                &["package", "cause"],
            )?,
            worker_start: HistogramVec::new(
                HistogramOpts::new(
                    "par_worker_start_seconds",
                    "Time from the request for a worker to its readiness, by method.",
                )
                .buckets(START_BUCKETS.to_vec()),
                &["method"],
            )?,
            slots_busy: GaugeVec::new(
                Opts::new("par_slots_busy_ratio", "Busy slots over all slots of live workers, by package."),
                &["package"],
            )?,
            queue_depth: IntGaugeVec::new(
                Opts::new("par_queue_depth", "Calls waiting for a slot, by package."),
                &["package"],
            )?,
            pulls: IntCounterVec::new(
                Opts::new("par_package_pulls_total", "Packages pulled, by outcome."),
                &["outcome"],
            )?,
            sessions: IntGaugeVec::new(
                Opts::new("par_sessions", "Sessions that live, by package."),
                &["package"],
            )?,
            rollouts: IntCounterVec::new(
                Opts::new("par_rollouts_total", "Rollouts by package and outcome."),
                &["package", "outcome"],
            )?,
            rollout_step: HistogramVec::new(
                HistogramOpts::new("par_rollout_step_seconds", "Time of the steps of rollouts.")
                    .buckets(STEP_BUCKETS.to_vec()),
                &["step"],
            )?,
        };
        registry.register(Box::new(metrics.workers.clone()))?;
        registry.register(Box::new(metrics.worker_exits.clone()))?;
        registry.register(Box::new(metrics.worker_start.clone()))?;
        registry.register(Box::new(metrics.slots_busy.clone()))?;
        registry.register(Box::new(metrics.queue_depth.clone()))?;
        registry.register(Box::new(metrics.pulls.clone()))?;
        registry.register(Box::new(metrics.sessions.clone()))?;
        registry.register(Box::new(metrics.rollouts.clone()))?;
        registry.register(Box::new(metrics.rollout_step.clone()))?;
        Ok(metrics)
    }

    /// Removes what was counted for packages that are gone: versions come and go, and a process lives for months. Sessions
    /// that live keep the gauge of theirs.
    pub(crate) fn forget(&self, is_gone: impl Fn(&str) -> bool) {
        for [package, cause] in label_sets(&self.worker_exits, ["package", "cause"]) {
            if is_gone(&package) {
                // Gone already is what is wanted.
                drop(self.worker_exits.remove_label_values(&[&package, &cause]));
            }
        }
        for [package] in label_sets(&self.sessions, ["package"]) {
            if is_gone(&package) && self.sessions.with_label_values(&[&package]).get() == 0 {
                drop(self.sessions.remove_label_values(&[&package]));
            }
        }
    }
}

/// The values of these labels, of every series of a family.
fn label_sets<const N: usize>(family: &impl Collector, labels: [&str; N]) -> Vec<[String; N]> {
    let series = family.collect();
    let series = series.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
    series
        .map(|one| {
            labels.map(|name| {
                let found = one.get_label().iter().find(|label| label.name() == name);
                found.map(|label| label.value().to_owned()).unwrap_or_default()
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_for_packages_that_are_gone_goes_and_sessions_that_live_stay() {
        let registry = Registry::new();
        let metrics = PoolMetrics::register(&registry).unwrap();
        for package in ["a@1", "a@2"] {
            metrics.worker_exits.with_label_values(&[package, "signal"]).inc();
            metrics.worker_exits.with_label_values(&[package, "retired"]).inc();
            metrics.sessions.with_label_values(&[package]).set(0);
        }
        metrics.sessions.with_label_values(&["b@1"]).set(1);
        metrics.forget(|package| package != "a@2");
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(!text.contains("a@1"), "{text}");
        for kept in ["package=\"a@2\"", "par_sessions{package=\"b@1\"} 1"] {
            assert!(text.contains(kept), "{kept} in {text}");
        }
    }
}
