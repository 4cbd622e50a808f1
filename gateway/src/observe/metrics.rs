//! What the edge counts. Labels are mounted agents and closed enums; unknown ids never become labels.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    core::Collector,
};

/// Buckets of whole calls in seconds: echo calls take 0.2 ms, calls of models a minute.
const REQUEST_BUCKETS: &[f64] = &[
    0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Buckets of our own share in seconds: it is tens of microseconds, or something is wrong.
const OVERHEAD_BUCKETS: &[f64] = &[0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1];

/// Metrics of the edge, prefix `par_`.
#[derive(Debug, Clone)]
pub(crate) struct EdgeMetrics {
    pub(crate) requests: IntCounterVec,
    pub(crate) request_seconds: HistogramVec,
    pub(crate) queue_seconds: HistogramVec,
    pub(crate) overhead_seconds: Histogram,
    pub(crate) limited: IntCounterVec,
    pub(crate) log_dropped: IntCounter,
}

impl EdgeMetrics {
    /// Makes the metrics and registers them.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            HistogramOpts::new(name, help).buckets(buckets.to_vec())
        };
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("par_requests_total", "Calls by agent, version and code; `ok` for results."),
                &["agent", "version", "code"],
            )?,
            request_seconds: HistogramVec::new(
                histogram("par_request_seconds", "Time of calls, queue included.", REQUEST_BUCKETS),
                &["agent", "version"],
            )?,
            queue_seconds: HistogramVec::new(
                histogram("par_queue_seconds", "Time that calls waited for a slot.", REQUEST_BUCKETS),
                &["agent"],
            )?,
            overhead_seconds: Histogram::with_opts(histogram(
                "par_overhead_seconds",
                "Time of calls less queue and handler: what the runtime itself adds.",
                OVERHEAD_BUCKETS,
            ))?,
            limited: IntCounterVec::new(
                Opts::new("par_limited_total", "Requests refused by a limit, by reason."),
                &["reason"],
            )?,
            log_dropped: IntCounter::new(
                "par_log_dropped_total",
                "Log lines dropped because standard output did not take them, those that packages print first.",
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.request_seconds.clone()))?;
        registry.register(Box::new(metrics.queue_seconds.clone()))?;
        registry.register(Box::new(metrics.overhead_seconds.clone()))?;
        registry.register(Box::new(metrics.limited.clone()))?;
        registry.register(Box::new(metrics.log_dropped.clone()))?;
        let build = IntGaugeVec::new(Opts::new("par_build_info", "Version of this binary."), &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        Ok(metrics)
    }

    /// Removes what was counted for agents that are gone: versions come and go, and a process lives for months.
    pub(crate) fn forget(&self, is_gone: impl Fn(&str) -> bool) {
        for labels in label_sets(&self.requests).filter(|labels| labels.first().is_some_and(|a| is_gone(a))) {
            // Gone already is what is wanted.
            drop(self.requests.remove_label_values(&labels));
        }
        for labels in
            label_sets(&self.request_seconds).filter(|labels| labels.first().is_some_and(|a| is_gone(a)))
        {
            drop(self.request_seconds.remove_label_values(&labels));
        }
        for labels in
            label_sets(&self.queue_seconds).filter(|labels| labels.first().is_some_and(|a| is_gone(a)))
        {
            drop(self.queue_seconds.remove_label_values(&labels));
        }
    }
}

/// The values of every set of labels of a family, in the order in which the family was declared: `agent` comes first
/// in ours, `version` before `code`.
fn label_sets(family: &impl Collector) -> impl Iterator<Item = Vec<String>> {
    const ORDER: [&str; 3] = ["agent", "version", "code"];
    let families = family.collect();
    families.into_iter().flat_map(|family| family.get_metric().to_vec()).map(|metric| {
        let value = |name: &str| {
            metric.get_label().iter().find(|label| label.name() == name).map(|l| l.value().to_owned())
        };
        ORDER.iter().filter_map(|name| value(name)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_for_agents_that_are_gone_goes_and_the_rest_stays() {
        let registry = Registry::new();
        let metrics = EdgeMetrics::register(&registry).unwrap();
        for (agent, version) in [("a@1/x", "1"), ("a@2/x", "2")] {
            metrics.requests.with_label_values(&[agent, version, "ok"]).inc();
            metrics.requests.with_label_values(&[agent, version, "agent_error"]).inc();
            metrics.request_seconds.with_label_values(&[agent, version]).observe(1.0);
            metrics.queue_seconds.with_label_values(&[agent]).observe(1.0);
        }
        metrics.forget(|agent| agent == "a@1/x");
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(!text.contains("a@1/x"), "{text}");
        assert!(text.contains("agent=\"a@2/x\""), "{text}");
    }
}
