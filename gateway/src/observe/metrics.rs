//! What the edge counts. Labels are mounted agents and closed enums; unknown ids never become labels.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
};

/// Buckets of whole calls in seconds: echo calls take 0.2 ms, calls of models a minute.
const REQUEST_BUCKETS: &[f64] = &[
    0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Buckets of our own share in seconds: it is tens of microseconds, or something is wrong.
const OVERHEAD_BUCKETS: &[f64] = &[0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1];

/// Metrics of the edge, prefix `par_`.
#[derive(Debug)]
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
                "Log lines dropped because standard output did not take them.",
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
}
