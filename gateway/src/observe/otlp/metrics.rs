//! Metrics to a receiver of OTLP, with exemplars: of some requests whose traces are kept, which trace it is.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, exemplar, metric, number_data_point,
    },
    resource::v1::Resource,
};
use parking_lot::Mutex;
use prometheus::proto::MetricFamily;

use super::{
    attribute::{scope, text},
    line::{Line, Parcel},
};
use crate::{
    config::telemetry::OtlpMetrics,
    observe::{
        adapters::{Adapter, Buckets, Point, Pushing, Series, series},
        delivery::Tally,
        grievance::Grievance,
        trace::{SpanId, TraceId, nanoseconds},
    },
};

/// The histogram that has exemplars.
const LATENCY: &str = "par_request_seconds";

/// Exemplars of one series in one round: some of its buckets have one.
const EACH: usize = 8;

/// Series that have any in one round: as many agents as one looks at.
const SERIES: usize = 500;

/// Requests of this round whose traces are kept.
#[derive(Debug, Default)]
pub(crate) struct Exemplars(Mutex<HashMap<[String; 2], Vec<Kept>>>);

#[derive(Debug, Clone, Copy)]
struct Kept {
    seconds: f64,
    at: u64,
    trace: TraceId,
    span: SpanId,
}

impl Exemplars {
    /// A request of an agent in a version has taken so long. The newest ones stay.
    pub(crate) fn note(&self, labels: &[String; 2], seconds: f64, (trace, span): (TraceId, SpanId)) {
        let mut all = self.0.lock();
        if all.len() >= SERIES && !all.contains_key(labels) {
            return;
        }
        let kept = all.entry(labels.clone()).or_default();
        if kept.len() >= EACH {
            kept.remove(0);
        }
        kept.push(Kept { seconds, at: now(), trace, span });
    }

    fn take(&self) -> HashMap<[String; 2], Vec<Kept>> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// A receiver of OTLP.
#[derive(Debug)]
pub(crate) struct OtlpPush {
    line: Line,
    resource: Resource,
    interval: Duration,
    patience: Duration,
    exemplars: Arc<Exemplars>,
    tally: Tally,
    grievance: Grievance,
    began: u64,
}

impl OtlpPush {
    /// Nobody is asked yet.
    pub(crate) fn new(
        settings: &OtlpMetrics,
        line: Line,
        resource: Resource,
        exemplars: Arc<Exemplars>,
        tally: Tally,
    ) -> Self {
        let OtlpMetrics { interval, patience, .. } = *settings;
        let grievance = Grievance::about("otlp metrics");
        Self { line, resource, interval, patience, exemplars, tally, grievance, began: now() }
    }

    async fn round(&mut self, families: &[MetricFamily]) {
        let (metrics, count) = self.metrics(families, now());
        let scoped = ScopeMetrics { scope: Some(scope()), metrics, schema_url: String::new() };
        let resource = Some(self.resource.clone());
        let whole = ResourceMetrics { resource, scope_metrics: vec![scoped], schema_url: String::new() };
        let parcel = Parcel::Metrics(ExportMetricsServiceRequest { resource_metrics: vec![whole] });
        // The next round holds all of this one: there is no use in trying for longer.
        match self.line.send(&parcel, self.patience.min(self.interval)).await {
            Ok(refused) => {
                let refused = usize::try_from(refused).unwrap_or(count).min(count);
                self.tally.sent(count - refused);
                self.tally.refused(refused);
                self.grievance.over();
            }
            Err(unsent) => {
                self.tally.dropped(count);
                self.grievance.told(&unsent);
            }
        }
    }

    fn metrics(&self, families: &[MetricFamily], at: u64) -> (Vec<Metric>, usize) {
        let mut exemplars = self.exemplars.take();
        let mut metrics: Vec<Metric> = Vec::new();
        let mut count = 0;
        for family in families {
            let mut data = None;
            for one in series(std::slice::from_ref(family)) {
                count += 1;
                self.add(&mut data, &one, at, &mut exemplars);
            }
            let (name, help) = (family.name().to_owned(), family.help().to_owned());
            let unit = unit(&name).to_owned();
            metrics.extend(data.map(|data| Metric {
                name,
                description: help,
                unit,
                data: Some(data),
                ..Metric::default()
            }));
        }
        (metrics, count)
    }

    fn add(
        &self,
        data: &mut Option<metric::Data>,
        one: &Series<'_>,
        at: u64,
        exemplars: &mut HashMap<[String; 2], Vec<Kept>>,
    ) {
        let attributes: Vec<KeyValue> = one.labels.iter().map(|(key, value)| text(*key, *value)).collect();
        let number = |value: f64, began| NumberDataPoint {
            attributes: attributes.clone(),
            start_time_unix_nano: began,
            time_unix_nano: at,
            value: Some(number_data_point::Value::AsDouble(value)),
            ..NumberDataPoint::default()
        };
        match &one.point {
            Point::Counter(value) => {
                let point = number(*value, self.began);
                let temporality = AggregationTemporality::Cumulative.into();
                let empty =
                    || Sum { aggregation_temporality: temporality, is_monotonic: true, ..Sum::default() };
                if let metric::Data::Sum(sum) = data.get_or_insert_with(|| metric::Data::Sum(empty())) {
                    sum.data_points.push(point);
                }
            }
            Point::Gauge(value) => {
                let point = number(*value, 0);
                let data = data.get_or_insert_with(|| metric::Data::Gauge(Gauge::default()));
                if let metric::Data::Gauge(gauge) = data {
                    gauge.data_points.push(point);
                }
            }
            Point::Histogram(buckets) => {
                let kept = if one.name == LATENCY { kept(exemplars, &one.labels) } else { Vec::new() };
                let point = self.histogram(buckets, attributes, at, kept);
                let temporality = AggregationTemporality::Cumulative.into();
                let empty = || Histogram { aggregation_temporality: temporality, ..Histogram::default() };
                let data = data.get_or_insert_with(|| metric::Data::Histogram(empty()));
                if let metric::Data::Histogram(histogram) = data {
                    histogram.data_points.push(point);
                }
            }
        }
    }

    fn histogram(
        &self,
        buckets: &Buckets,
        attributes: Vec<KeyValue>,
        at: u64,
        kept: Vec<Kept>,
    ) -> HistogramDataPoint {
        let mut below = 0;
        let mut counts = Vec::with_capacity(buckets.up_to.len() + 1);
        for (_, up_to) in &buckets.up_to {
            counts.push(up_to.saturating_sub(below));
            below = *up_to;
        }
        counts.push(buckets.count.saturating_sub(below));
        // The counters of a histogram are read one after the other while others count: what is told agrees with itself.
        let count = counts.iter().sum();
        HistogramDataPoint {
            attributes,
            start_time_unix_nano: self.began,
            time_unix_nano: at,
            count,
            sum: Some(buckets.sum),
            bucket_counts: counts,
            explicit_bounds: buckets.up_to.iter().map(|(bound, _)| *bound).collect(),
            exemplars: kept.into_iter().map(exemplar).collect(),
            ..HistogramDataPoint::default()
        }
    }
}

impl Adapter for OtlpPush {
    fn interval(&self) -> Duration {
        self.interval
    }

    fn push<'a>(&'a mut self, families: &'a [MetricFamily]) -> Pushing<'a> {
        Box::pin(self.round(families))
    }
}

fn kept(exemplars: &mut HashMap<[String; 2], Vec<Kept>>, labels: &[(&str, &str)]) -> Vec<Kept> {
    let value =
        |key: &str| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned());
    let Some((agent, version)) = value("agent").zip(value("version")) else { return Vec::new() };
    exemplars.remove(&[agent, version]).unwrap_or_default()
}

fn exemplar(kept: Kept) -> Exemplar {
    Exemplar {
        time_unix_nano: kept.at,
        span_id: kept.span.0.to_vec(),
        trace_id: kept.trace.0.to_vec(),
        value: Some(exemplar::Value::AsDouble(kept.seconds)),
        ..Exemplar::default()
    }
}

/// What a name of ours says of its unit (UCUM).
fn unit(name: &str) -> &'static str {
    match name.trim_end_matches("_total").rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        Some("ratio") => "1",
        Some(_) | None => "",
    }
}

fn now() -> u64 {
    nanoseconds(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_exemplars_stay_and_are_told_once() {
        let exemplars = Exemplars::default();
        let labels = ["a@1/x".to_owned(), "1".to_owned()];
        for number in 0..20u8 {
            exemplars.note(&labels, f64::from(number), (TraceId([1; 16]), SpanId([2; 8])));
        }
        let mut taken = exemplars.take();
        let kept = kept(&mut taken, &[("agent", "a@1/x"), ("version", "1")]);
        assert_eq!(
            kept.iter().map(|kept| kept.seconds as u8).collect::<Vec<_>>(),
            (12..20).collect::<Vec<_>>()
        );
        assert!(exemplars.take().is_empty());
    }

    #[test]
    fn units_are_read_from_names() {
        assert_eq!(
            [unit("par_request_seconds"), unit("par_x_bytes_total"), unit("par_requests_total")],
            ["s", "By", ""]
        );
    }
}
