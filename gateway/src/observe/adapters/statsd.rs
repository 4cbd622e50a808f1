//! StatsD and DogStatsD: what was added since the last round as counters, the rest as gauges.
//!
//! | kind | becomes |
//! |---|---|
//! | counter | `name:added\|c` |
//! | gauge | `name:value\|g` |
//! | histogram | `name.count:added\|c`, `name.sum:added\|c`, and of the values of this round `name.p50`, `.p95`, `.p99` as gauges |
//!
//! StatsD has no labels: their values stand behind the name, in the order of their names.

use std::{collections::HashSet, io, time::Duration};

use prometheus::proto::MetricFamily;

use super::{
    Adapter, Pushing,
    delta::Last,
    names::{Name, Names, identity},
    packets::pack,
    quantile::quantile,
    series::{Point, series},
    socket::Socket,
};
use crate::{
    config::telemetry::{Dialect, Sink},
    observe::{delivery::Tally, grievance::Grievance},
};

/// What is told of a histogram.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];

/// Most names that were told to be shared by two series: each is told once, and more would fill the log.
const TOLD: usize = 100;

/// A receiver of StatsD.
#[derive(Debug)]
pub(crate) struct Statsd {
    sink: Sink,
    socket: Option<Socket>,
    last: Last,
    told: HashSet<String>,
    tally: Tally,
    grievance: Grievance,
}

impl Statsd {
    /// Nobody is asked yet.
    pub(crate) fn new(sink: Sink, tally: Tally) -> Self {
        let grievance = Grievance::about(sink.dialect.text());
        Self { sink, socket: None, last: Last::default(), told: HashSet::new(), tally, grievance }
    }

    /// Lines of one round. What is told here will not be told again.
    fn lines(&mut self, families: &[MetricFamily]) -> Vec<String> {
        let (mut names, mut next) = (Names::default(), Last::default());
        let mut lines = Vec::new();
        for one in series(families) {
            let (name, shared) = names.of(self.sink.dialect, one.name, &one.labels);
            if let Some(shared) = shared
                && self.told.len() < TOLD
                && self.told.insert(shared.clone())
            {
                tracing::warn!(
                    event = "metric_names_collide",
                    sink = self.sink.dialect.text(),
                    name = shared,
                    renamed = name.name,
                    "two series would have one name; the second one has got a number"
                );
            }
            let point = self.last.since(&mut next, &identity(one.name, &one.labels), &one.point);
            write(&mut lines, &self.sink, &name, &point);
        }
        self.last = next;
        lines
    }

    async fn round(&mut self, families: &[MetricFamily]) {
        if self.socket.is_none() {
            match Socket::to(&self.sink.address).await {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => {
                    // What grows is told when somebody is there.
                    self.grievance.told(&error);
                    return;
                }
            }
        }
        let lines = self.lines(families);
        let (packets, refused) = pack(lines, self.sink.packet);
        self.tally.refused(refused);
        let mut failed = None;
        for packet in packets {
            let sent = self
                .socket
                .as_ref()
                .map_or(Err(io::ErrorKind::NotConnected.into()), |socket| socket.send(&packet));
            match sent {
                Ok(()) => self.tally.sent(1),
                Err(error) => {
                    self.tally.dropped(1);
                    if error.kind() != io::ErrorKind::WouldBlock {
                        self.socket = Socket::to(&self.sink.address).await.ok();
                    }
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) => self.grievance.told(&error),
            None => self.grievance.over(),
        }
    }
}

impl Adapter for Statsd {
    fn interval(&self) -> Duration {
        self.sink.interval
    }

    fn push<'a>(&'a mut self, families: &'a [MetricFamily]) -> Pushing<'a> {
        Box::pin(self.round(families))
    }
}

fn write(lines: &mut Vec<String>, sink: &Sink, name: &Name, point: &Point) {
    let mut line = |suffix: &str, value: f64, kind: char| {
        let mut line = format!("{}{}{suffix}:{value}|{kind}", sink.prefix, name.name);
        let mut mark = "|#";
        for tag in sink.tags.iter().chain(&name.tags) {
            line.push_str(mark);
            line.push_str(tag);
            mark = ",";
        }
        lines.push(line);
    };
    match point {
        Point::Counter(added) if *added > 0.0 => line("", *added, 'c'),
        Point::Gauge(value) => {
            if *value < 0.0 && sink.dialect == Dialect::Statsd {
                // A sign means "by" there: from nothing is the only way below it.
                line("", 0.0, 'g');
            }
            line("", *value, 'g');
        }
        Point::Histogram(buckets) if buckets.count > 0 => {
            line(".count", buckets.count as f64, 'c');
            line(".sum", buckets.sum, 'c');
            for (suffix, share) in QUANTILES {
                if let Some(value) = quantile(buckets, share) {
                    line(&format!(".{suffix}"), value, 'g');
                }
            }
        }
        // What has not grown needs not be told.
        Point::Counter(_) | Point::Histogram(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

    use super::*;
    use crate::{config::telemetry::SinkAddress, observe::delivery::Deliveries};

    fn statsd(dialect: Dialect, tags: &[&str]) -> Statsd {
        let tally = Deliveries::register(&Registry::new()).unwrap().to("test");
        let sink = Sink {
            dialect,
            address: SinkAddress::Unix("/nowhere/at/all".into()),
            prefix: "p.".to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            interval: Duration::from_secs(1),
            packet: 1432,
        };
        Statsd::new(sink, tally)
    }

    #[test]
    fn a_round_tells_what_was_added_since_the_last_one() {
        let registry = Registry::new();
        let calls = IntCounterVec::new(Opts::new("calls_total", "h"), &["agent"]).unwrap();
        let depth = IntGauge::new("depth", "h").unwrap();
        let seconds =
            Histogram::with_opts(HistogramOpts::new("seconds", "h").buckets(vec![1.0, 2.0])).unwrap();
        registry.register(Box::new(calls.clone())).unwrap();
        registry.register(Box::new(depth.clone())).unwrap();
        registry.register(Box::new(seconds.clone())).unwrap();
        let mut statsd = statsd(Dialect::Statsd, &[]);
        calls.with_label_values(&["a@1/x"]).inc_by(3);
        depth.set(-2);
        seconds.observe(0.5);
        let first = statsd.lines(&registry.gather());
        for line in [
            "p.calls_total.a_1_x:3|c",
            "p.depth:0|g",
            "p.depth:-2|g",
            "p.seconds.count:1|c",
            "p.seconds.p50:0.5|g",
        ] {
            assert!(first.iter().any(|told| told == line), "{line} in {first:?}");
        }
        assert_eq!(statsd.lines(&registry.gather()), ["p.depth:0|g", "p.depth:-2|g"]);
        calls.with_label_values(&["a@1/x"]).inc();
        assert!(statsd.lines(&registry.gather()).contains(&"p.calls_total.a_1_x:1|c".to_owned()));
    }

    #[test]
    fn labels_are_tags_of_dogstatsd() {
        let registry = Registry::new();
        let calls = IntCounterVec::new(Opts::new("calls_total", "h"), &["agent", "code"]).unwrap();
        registry.register(Box::new(calls.clone())).unwrap();
        calls.with_label_values(&["a@1/x", "ok"]).inc();
        let lines = statsd(Dialect::Dogstatsd, &["env:prod"]).lines(&registry.gather());
        assert_eq!(lines, ["p.calls_total:1|c|#env:prod,agent:a@1/x,code:ok"]);
    }

    #[tokio::test]
    async fn what_nobody_takes_is_told_when_somebody_is_there() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("dsd");
        let registry = Registry::new();
        let calls = IntCounterVec::new(Opts::new("calls_total", "h"), &["agent"]).unwrap();
        registry.register(Box::new(calls.clone())).unwrap();
        calls.with_label_values(&["a"]).inc();
        let mut statsd = statsd(Dialect::Dogstatsd, &[]);
        statsd.sink.address = SinkAddress::Unix(path.clone());
        statsd.push(&registry.gather()).await;
        let receiver = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        calls.with_label_values(&["a"]).inc();
        statsd.push(&registry.gather()).await;
        let mut packet = [0; 100];
        let length = receiver.recv(&mut packet).unwrap();
        assert_eq!(&packet[..length], b"p.calls_total:2|c|#agent:a");
    }
}
