//! Where traces and metrics are sent.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use http::HeaderName;
use url::Url;

use super::Secret;
use crate::observe::trace::Sampler;

/// Receivers of traces and metrics; without any, nothing of this costs anything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Telemetry {
    /// Who we are, as attributes of the resource: `service.name` first.
    pub(crate) resource: Vec<(String, String)>,
    /// Where traces go; none: they are only passed on.
    pub(crate) traces: Option<Traces>,
    /// Where metrics are pushed by OTLP.
    pub(crate) metrics: Option<OtlpMetrics>,
    /// Where metrics are pushed otherwise.
    pub(crate) sinks: Vec<Sink>,
}

/// Traces by OTLP.
#[derive(Debug, Clone)]
pub(crate) struct Traces {
    /// The receiver.
    pub(crate) receiver: Receiver,
    /// Which are kept.
    pub(crate) sampler: Sampler,
    /// Spans that may wait.
    pub(crate) queue: usize,
    /// Spans that are sent at once.
    pub(crate) batch: usize,
    /// How long a span waits for others.
    pub(crate) delay: Duration,
    /// How long a batch is tried.
    pub(crate) patience: Duration,
}

/// Metrics by OTLP.
#[derive(Debug, Clone)]
pub(crate) struct OtlpMetrics {
    /// The receiver.
    pub(crate) receiver: Receiver,
    /// Time between two rounds.
    pub(crate) interval: Duration,
    /// How long a round is tried.
    pub(crate) patience: Duration,
}

/// A receiver of OTLP.
#[derive(Clone)]
pub(crate) struct Receiver {
    /// Where it is: for HTTP the whole address, for gRPC without a path.
    pub(crate) url: Url,
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// What is said with each request.
    pub(crate) headers: Vec<(HeaderName, Secret)>,
    /// How long one request may take.
    pub(crate) timeout: Duration,
    /// Whether bodies are packed.
    pub(crate) gzip: bool,
    /// What must have signed its certificate, besides the authorities of the system; PEM.
    pub(crate) authorities: Option<Vec<u8>>,
    /// Our own certificate and its key; PEM.
    pub(crate) identity: Option<(Vec<u8>, Secret)>,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("url", &self.url.as_str())
            .field("protocol", &self.protocol)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// How OTLP is spoken; the names are those of `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `grpc`.
    Grpc,
    /// `http/protobuf`.
    Http,
}

/// A receiver of StatsD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sink {
    /// How it wants labels.
    pub(crate) dialect: Dialect,
    /// Where it is.
    pub(crate) address: SinkAddress,
    /// What stands before each name.
    pub(crate) prefix: String,
    /// What stands with each metric, as `name:value`; DogStatsD alone has them.
    pub(crate) tags: Vec<String>,
    /// Time between two rounds.
    pub(crate) interval: Duration,
    /// Longest packet, in bytes.
    pub(crate) packet: usize,
}

/// How labels are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// As parts of the name.
    Statsd,
    /// As tags.
    Dogstatsd,
}

impl Dialect {
    /// As in the configuration and in metrics.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Statsd => "statsd",
            Self::Dogstatsd => "dogstatsd",
        }
    }
}

/// Where packets go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SinkAddress {
    /// UDP, to an address.
    Udp(SocketAddr),
    /// UDP, to a name that is looked up anew as long as nobody is there.
    Named(String),
    /// A Unix datagram socket.
    Unix(PathBuf),
}

impl Telemetry {
    /// Texts that must not be seen.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let receivers = self
            .traces
            .iter()
            .map(|traces| &traces.receiver)
            .chain(self.metrics.iter().map(|to| &to.receiver));
        receivers.flat_map(|receiver| {
            let key = receiver.identity.iter().map(|(_, key)| key);
            receiver.headers.iter().map(|(_, value)| value).chain(key)
        })
    }
}
