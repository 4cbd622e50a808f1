//! What the registry holds, one series after the other. Pure.

use prometheus::proto::{Metric, MetricFamily, MetricType};

/// One series with what it is now.
#[derive(Debug)]
pub(crate) struct Series<'a> {
    /// The family's name.
    pub(crate) name: &'a str,
    /// Names and values, by name.
    pub(crate) labels: Vec<(&'a str, &'a str)>,
    /// What it is.
    pub(crate) point: Point,
}

/// What a series is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Point {
    /// It only grows.
    Counter(f64),
    /// It goes up and down.
    Gauge(f64),
    /// It counts values by size.
    Histogram(Buckets),
}

/// Counts by size.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Buckets {
    /// All values.
    pub(crate) count: u64,
    /// Their sum.
    pub(crate) sum: f64,
    /// Upper bounds, each with the number of values up to it. Beyond the last one is the rest.
    pub(crate) up_to: Vec<(f64, u64)>,
}

/// Everything that can be told; we have no summaries.
pub(crate) fn series(families: &[MetricFamily]) -> impl Iterator<Item = Series<'_>> {
    families.iter().flat_map(|family| {
        let kind = family.get_field_type();
        family.get_metric().iter().filter_map(move |metric| {
            let labels = metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
            Some(Series { name: family.name(), labels, point: point(kind, metric)? })
        })
    })
}

fn point(kind: MetricType, metric: &Metric) -> Option<Point> {
    Some(match kind {
        MetricType::COUNTER => Point::Counter(metric.get_counter().get_value()),
        MetricType::GAUGE => Point::Gauge(metric.get_gauge().get_value()),
        MetricType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            let up_to = histogram.get_bucket().iter();
            let up_to = up_to.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
            Point::Histogram(Buckets {
                count: histogram.get_sample_count(),
                sum: histogram.get_sample_sum(),
                up_to: up_to.filter(|(bound, _)| bound.is_finite()).collect(),
            })
        }
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    })
}
