//! Figures for people: what was counted up to two moments in, rates and latencies out. Pure but for the reading.

use std::{collections::BTreeMap, sync::Arc};

use par_pool::fleet::Busy;
use prometheus::{
    Registry,
    proto::{Metric, MetricFamily},
};
use serde::Serialize;

use super::LogSink;

/// What was counted up to one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// By agent and version.
    agents: BTreeMap<(String, String), Counted>,
    /// Tokens in and out.
    tokens: [f64; 2],
    /// Lines that standard output did not take.
    pub(crate) log_dropped: u64,
}

#[derive(Debug, Clone, Default)]
struct Counted {
    by_code: BTreeMap<String, f64>,
    /// Upper bounds in seconds and calls up to them, the last one unbounded.
    buckets: Vec<(f64, f64)>,
}

/// Reads all of it.
pub(crate) type Source = Arc<dyn Fn() -> Reading + Send + Sync>;

/// All agents together over one second.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Point {
    /// Seconds since 1970.
    pub(crate) at: f64,
    /// Calls a second.
    pub(crate) rate: f64,
    /// Those that failed, by code.
    pub(crate) errors: BTreeMap<String, f64>,
    /// Seconds, queue included; none: no calls.
    pub(crate) p50: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) tokens_in: f64,
    pub(crate) tokens_out: f64,
    pub(crate) in_flight: usize,
    pub(crate) waiting: usize,
    pub(crate) oldest_ms: f64,
    pub(crate) busy: usize,
    pub(crate) workers: usize,
}

/// One agent, or the surfaces of a package, over some seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Agent {
    id: String,
    version: String,
    /// Calls a second.
    rate: f64,
    /// Those that failed.
    failed: f64,
    /// Seconds, queue included.
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    /// Calls since the start.
    total: f64,
}

impl Reading {
    /// Where figures come from.
    pub(crate) fn source(registry: Registry, sink: LogSink) -> Source {
        Arc::new(move || {
            let families = registry.gather();
            let named = |name: &str| {
                let family = families.iter().find(|family| family.name() == name);
                family.map(MetricFamily::get_metric).unwrap_or_default()
            };
            Self {
                agents: agents(named("par_requests_total"), named("par_request_seconds")),
                tokens: tokens(named("par_tokens_total")),
                log_dropped: sink.dropped(),
            }
        })
    }
}

impl Point {
    /// Adds what the generations are busy with.
    pub(crate) fn load(&mut self, queues: &[Busy]) {
        for Busy { load, .. } in queues {
            self.waiting += load.waiting;
            self.oldest_ms = self.oldest_ms.max(load.oldest_ms);
            self.busy += load.busy;
            self.workers += load.workers;
        }
    }
}

fn label(metric: &Metric, name: &str) -> String {
    let found = metric.get_label().iter().find(|label| label.name() == name);
    found.map(|label| label.value().to_owned()).unwrap_or_default()
}

fn agents(requests: &[Metric], seconds: &[Metric]) -> BTreeMap<(String, String), Counted> {
    let mut agents: BTreeMap<(String, String), Counted> = BTreeMap::new();
    for metric in requests {
        let counted = agents.entry((label(metric, "agent"), label(metric, "version"))).or_default();
        counted.by_code.insert(label(metric, "code"), metric.get_counter().get_value());
    }
    for metric in seconds {
        let counted = agents.entry((label(metric, "agent"), label(metric, "version"))).or_default();
        let histogram = metric.get_histogram();
        let bounded = histogram
            .get_bucket()
            .iter()
            .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count() as f64));
        counted.buckets = bounded.chain([(f64::INFINITY, histogram.get_sample_count() as f64)]).collect();
    }
    agents
}

/// Tokens of all agents, if any agent has reported some.
fn tokens(metrics: &[Metric]) -> [f64; 2] {
    let sum = |kind: &str| -> f64 {
        metrics
            .iter()
            .filter(|one| label(one, "kind").contains(kind))
            .map(|one| one.get_counter().get_value())
            .sum()
    };
    [sum("input"), sum("output")]
}

impl Counted {
    /// What was counted since; a series that began anew is counted from there.
    fn since(&self, before: Option<&Self>) -> Self {
        let code = |(code, count): (&String, &f64)| {
            let former = before.and_then(|before| before.by_code.get(code)).copied().unwrap_or_default();
            (code.clone(), if former > *count { *count } else { count - former })
        };
        let former = before.map(|before| before.buckets.as_slice()).unwrap_or_default();
        let restarted = former.last().zip(self.buckets.last()).is_some_and(|(former, now)| former.1 > now.1);
        let bucket = |(at, (bound, count)): (usize, &(f64, f64))| {
            let former = former.get(at).filter(|_| !restarted).map_or(0.0, |(_, count)| *count);
            (*bound, count - former)
        };
        Self {
            by_code: self.by_code.iter().map(code).collect(),
            buckets: self.buckets.iter().enumerate().map(bucket).collect(),
        }
    }

    fn add(&mut self, other: &Self) {
        for (code, count) in &other.by_code {
            *self.by_code.entry(code.clone()).or_default() += count;
        }
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
            return;
        }
        for ((_, sum), (_, count)) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += count;
        }
    }

    fn calls(&self) -> f64 {
        self.by_code.values().sum()
    }

    /// Failures that are ours or the agent's, and those of callers: whatever has a code.
    fn errors(&self) -> impl Iterator<Item = (&String, &f64)> {
        self.by_code.iter().filter(|(code, count)| *code != "ok" && **count > 0.0)
    }

    fn quantiles(&self) -> [Option<f64>; 3] {
        [0.5, 0.95, 0.99].map(|share| quantile(&self.buckets, share))
    }
}

/// As Prometheus estimates it (`histogram_quantile`): within a bucket, calls are spread evenly. Beyond the last bound
/// that bound is told.
fn quantile(buckets: &[(f64, f64)], share: f64) -> Option<f64> {
    let total = buckets.last()?.1;
    if total <= 0.0 {
        return None;
    }
    let rank = share * total;
    let (mut below, mut before) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= rank && *count > before {
            let within = (rank - before) / (count - before);
            return Some(if bound.is_finite() { below + (bound - below) * within } else { below });
        }
        (below, before) = (if bound.is_finite() { *bound } else { below }, *count);
    }
    Some(below)
}

/// Rates of the last second, latencies over the window, and every agent over the window, the busiest first.
pub(crate) fn compare(
    now: &Reading,
    (last, last_seconds): (&Reading, f64),
    (oldest, window_seconds): (&Reading, f64),
) -> (Point, Vec<Agent>) {
    let per = |count: f64, seconds: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
    let (mut second, mut window, mut agents) = (Counted::default(), Counted::default(), Vec::new());
    for (key, counted) in &now.agents {
        second.add(&counted.since(last.agents.get(key)));
        let recent = counted.since(oldest.agents.get(key));
        window.add(&recent);
        let [p50, p95, p99] = recent.quantiles();
        agents.push(Agent {
            id: key.0.clone(),
            version: key.1.clone(),
            rate: per(recent.calls(), window_seconds),
            failed: per(recent.errors().map(|(_, count)| count).sum(), window_seconds),
            p50,
            p95,
            p99,
            total: counted.calls(),
        });
    }
    agents.sort_by(|one, other| other.rate.total_cmp(&one.rate).then(other.total.total_cmp(&one.total)));
    let [p50, p95, p99] = window.quantiles();
    let [tokens_in, tokens_out] = now.tokens;
    let point = Point {
        rate: per(second.calls(), last_seconds),
        errors: second.errors().map(|(code, count)| (code.clone(), per(*count, last_seconds))).collect(),
        p50,
        p95,
        p99,
        tokens_in: per((tokens_in - last.tokens[0]).max(0.0), last_seconds),
        tokens_out: per((tokens_out - last.tokens[1]).max(0.0), last_seconds),
        ..Point::default()
    };
    (point, agents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(calls: &[(&str, &str, f64)], buckets: &[(f64, f64)]) -> Reading {
        let mut reading = Reading::default();
        for (agent, code, count) in calls {
            let counted = reading.agents.entry(((*agent).to_owned(), "1".to_owned())).or_default();
            counted.by_code.insert((*code).to_owned(), *count);
            counted.buckets = buckets.to_vec();
        }
        reading
    }

    #[test]
    fn quantiles_lie_where_prometheus_puts_them() {
        let buckets = [(0.1, 50.0), (0.2, 90.0), (f64::INFINITY, 100.0)];
        assert_eq!(quantile(&buckets, 0.5), Some(0.1));
        assert!((quantile(&buckets, 0.7).unwrap() - 0.15).abs() < 1e-9);
        assert_eq!(quantile(&buckets, 0.99), Some(0.2), "beyond the last bound that bound is told");
        assert_eq!(quantile(&[(0.1, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn rates_are_of_the_last_second_and_agents_of_the_window() {
        let oldest = reading(&[("a", "ok", 0.0), ("b", "ok", 10.0)], &[(1.0, 0.0), (f64::INFINITY, 0.0)]);
        let last = reading(&[("a", "ok", 90.0), ("b", "ok", 10.0)], &[(1.0, 90.0), (f64::INFINITY, 90.0)]);
        let now = reading(
            &[("a", "ok", 100.0), ("a", "agent_error", 4.0), ("b", "ok", 10.0)],
            &[(1.0, 104.0), (f64::INFINITY, 104.0)],
        );
        let (point, agents) = compare(&now, (&last, 2.0), (&oldest, 10.0));
        assert!((point.rate - 7.0).abs() < 1e-9, "{point:?}");
        assert_eq!(point.errors, BTreeMap::from([("agent_error".to_owned(), 2.0)]));
        assert_eq!(point.p50, Some(0.5));
        assert_eq!((agents[0].id.as_str(), agents[1].id.as_str()), ("a", "b"));
        assert!((agents[0].rate - 10.4).abs() < 1e-9 && (agents[0].failed - 0.4).abs() < 1e-9);
    }

    #[test]
    fn the_first_reading_and_series_that_begin_anew_are_no_nonsense() {
        let now = reading(&[("a", "ok", 5.0)], &[(1.0, 5.0), (f64::INFINITY, 5.0)]);
        let (point, _) = compare(&now, (&now, 0.0), (&now, 0.0));
        assert_eq!((point.rate, point.p50), (0.0, None));
        let former = reading(&[("a", "ok", 50.0)], &[(1.0, 50.0), (f64::INFINITY, 50.0)]);
        let (point, agents) = compare(&now, (&former, 1.0), (&former, 1.0));
        assert!((point.rate - 5.0).abs() < 1e-9 && agents[0].p50.is_some(), "{point:?}");
    }
}
