//! The way to one receiver: a message out, and what became of it back.

use std::time::{Duration, Instant};

use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::collector::{
    metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_client::MetricsServiceClient,
    },
    trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse, trace_service_client::TraceServiceClient,
    },
};
use prost::Message;
use reqwest::{
    Client, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use tonic::{
    Code, Request, Status,
    codec::CompressionEncoding,
    metadata::MetadataMap,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{backoff::Backoff, causes::causes};
use crate::config::telemetry::{Protocol, Receiver};

/// Most of an answer that is read. It holds a count and a sentence.
const ANSWER: usize = 64 << 10;

/// Something to send.
#[derive(Debug, Clone)]
pub(crate) enum Parcel {
    /// Spans.
    Traces(ExportTraceServiceRequest),
    /// Points of metrics.
    Metrics(ExportMetricsServiceRequest),
}

/// Why something was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsent {
    /// Another try may be better.
    #[error("{text}")]
    ForNow {
        /// What was said.
        text: String,
        /// When to try again, if that was said.
        after: Option<Duration>,
    },
    /// It would never be taken.
    #[error("{0}")]
    ForGood(String),
}

/// Why there is no way at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoLine {
    /// Of HTTP.
    #[error("the client of OTLP")]
    Http(#[source] reqwest::Error),
    /// Of gRPC.
    #[error("the client of OTLP")]
    Grpc(#[source] tonic::transport::Error),
}

/// The way to a receiver.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    way: Way,
    headers: HeaderMap,
    timeout: Duration,
    gzip: bool,
}

#[derive(Debug, Clone)]
enum Way {
    Grpc(Channel),
    Http { client: Client, url: url::Url },
}

impl Line {
    /// Prepares it; nobody is asked yet. Needs a runtime, and an installed provider of rustls.
    pub(crate) fn new(receiver: &Receiver) -> Result<Self, NoLine> {
        let headers = receiver.headers.iter().filter_map(|(name, value)| {
            let mut value = HeaderValue::from_str(value.reveal()).ok()?;
            value.set_sensitive(true);
            Some((name.clone(), value))
        });
        Ok(Self {
            way: match receiver.protocol {
                Protocol::Grpc => Way::Grpc(channel(receiver)?),
                Protocol::Http => Way::Http { client: client(receiver)?, url: receiver.url.clone() },
            },
            headers: headers.collect(),
            timeout: receiver.timeout,
            gzip: receiver.gzip,
        })
    }

    /// Sends until it is taken, or nobody will take it before `patience` is over. How many of it were refused.
    pub(crate) async fn send(&self, parcel: &Parcel, patience: Duration) -> Result<u64, Unsent> {
        let deadline = Instant::now() + patience;
        let mut backoff = Backoff::until(deadline);
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).min(self.timeout);
            let tried = tokio::time::timeout(left, self.once(parcel)).await.unwrap_or_else(|_elapsed| {
                Err(Unsent::ForNow { text: "there was no answer in time".to_owned(), after: None })
            });
            let Err(Unsent::ForNow { text, after }) = tried else { return tried };
            match backoff.again(Instant::now(), after, share()) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(Unsent::ForNow { text, after }),
            }
        }
    }

    async fn once(&self, parcel: &Parcel) -> Result<u64, Unsent> {
        match &self.way {
            Way::Grpc(channel) => self.by_grpc(channel.clone(), parcel).await,
            Way::Http { client, url } => self.by_http(client, url, parcel).await,
        }
    }

    async fn by_grpc(&self, channel: Channel, parcel: &Parcel) -> Result<u64, Unsent> {
        let zip = self.gzip.then_some(CompressionEncoding::Gzip);
        let refused = match parcel {
            Parcel::Traces(traces) => {
                let mut client = TraceServiceClient::new(channel);
                if let Some(zip) = zip {
                    client = client.send_compressed(zip);
                }
                let answer =
                    client.export(self.asking(traces.clone())).await.map_err(|status| unsent(&status))?;
                answer.into_inner().partial_success.map(|partial| partial.rejected_spans)
            }
            Parcel::Metrics(metrics) => {
                let mut client = MetricsServiceClient::new(channel);
                if let Some(zip) = zip {
                    client = client.send_compressed(zip);
                }
                let answer =
                    client.export(self.asking(metrics.clone())).await.map_err(|status| unsent(&status))?;
                answer.into_inner().partial_success.map(|partial| partial.rejected_data_points)
            }
        };
        Ok(refused.map_or(0, count))
    }

    fn asking<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
        request
    }

    async fn by_http(&self, client: &Client, url: &url::Url, parcel: &Parcel) -> Result<u64, Unsent> {
        let mut body = match parcel {
            Parcel::Traces(traces) => traces.encode_to_vec(),
            Parcel::Metrics(metrics) => metrics.encode_to_vec(),
        };
        let mut request = client
            .post(url.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if self.gzip {
            body = packed(&body).map_err(|error| Unsent::ForGood(error.to_string()))?;
            request = request.header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let answer = request.body(body).send().await;
        let mut answer = answer.map_err(|error| Unsent::ForNow { text: chain(&error), after: None })?;
        let status = answer.status();
        if !status.is_success() {
            return Err(turned_away(status, answer.headers()));
        }
        let mut told = Vec::new();
        // Whoever accepts and then breaks off has accepted.
        while let Ok(Some(part)) = answer.chunk().await {
            if told.len() + part.len() > ANSWER {
                return Ok(0);
            }
            told.extend_from_slice(&part);
        }
        let refused = match parcel {
            Parcel::Traces(_) => ExportTraceServiceResponse::decode(told.as_slice())
                .ok()
                .and_then(|answer| answer.partial_success)
                .map(|partial| partial.rejected_spans),
            Parcel::Metrics(_) => ExportMetricsServiceResponse::decode(told.as_slice())
                .ok()
                .and_then(|answer| answer.partial_success)
                .map(|partial| partial.rejected_data_points),
        };
        Ok(refused.map_or(0, count))
    }
}

fn channel(receiver: &Receiver) -> Result<Channel, NoLine> {
    let mut endpoint = Endpoint::from_shared(receiver.url.as_str().to_owned())
        .map_err(NoLine::Grpc)?
        .user_agent(USER_AGENT)
        .map_err(NoLine::Grpc)?
        .connect_timeout(receiver.timeout);
    if receiver.url.scheme() == "https" {
        let mut tls = ClientTlsConfig::new().with_native_roots();
        if let Some(authorities) = &receiver.authorities {
            tls = tls.ca_certificate(Certificate::from_pem(authorities));
        }
        if let Some((certificate, key)) = &receiver.identity {
            tls = tls.identity(Identity::from_pem(certificate, key.reveal()));
        }
        endpoint = endpoint.tls_config(tls).map_err(NoLine::Grpc)?;
    }
    Ok(endpoint.connect_lazy())
}

fn client(receiver: &Receiver) -> Result<Client, NoLine> {
    let authorities =
        receiver.authorities.as_deref().map_or_else(|| Ok(Vec::new()), reqwest::Certificate::from_pem_bundle);
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(USER_AGENT)
        .tls_certs_merge(authorities.map_err(NoLine::Http)?);
    if let Some((certificate, key)) = &receiver.identity {
        let pem = [certificate.as_slice(), b"\n", key.reveal().as_bytes()].concat();
        builder = builder.identity(reqwest::Identity::from_pem(&pem).map_err(NoLine::Http)?);
    }
    builder.build().map_err(NoLine::Http)
}

const USER_AGENT: &str = concat!("par/", env!("CARGO_PKG_VERSION"));

fn count(refused: i64) -> u64 {
    u64::try_from(refused).unwrap_or(0)
}

fn packed(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut packer, body)?;
    packer.finish()
}

/// Which statuses of HTTP are worth another try (OTLP 1.9, "Retryable Response Codes").
fn turned_away(status: StatusCode, headers: &HeaderMap) -> Unsent {
    let text = format!("it answered {status}");
    if !matches!(status.as_u16(), 429 | 502 | 503 | 504) {
        return Unsent::ForGood(text);
    }
    let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Unsent::ForNow { text, after: after.map(Duration::from_secs) }
}

/// Which statuses of gRPC are (the same, "Failures"). Of a receiver that is full we do not know until when.
fn unsent(status: &Status) -> Unsent {
    let text = match std::error::Error::source(status) {
        // Nobody has answered: the code is our client's.
        Some(cause) => causes("the request failed", cause),
        None => format!("it answered {:?}: {}", status.code(), status.message()),
    };
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::ResourceExhausted
        | Code::DataLoss
        // A connection that breaks or was never made.
        | Code::Unknown => Unsent::ForNow { text, after: None },
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::Internal
        | Code::Unauthenticated => Unsent::ForGood(text),
    }
}

/// A number from 0 to 1 that differs between hosts; what it is does not matter.
fn share() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    f64::from(now.subsec_nanos() % 1000) / 1000.0
}

/// What went wrong, without the address, whose path may be long.
fn chain(error: &reqwest::Error) -> String {
    let what = if error.is_connect() { "nobody is there" } else { "the request failed" };
    std::error::Error::source(error).map_or_else(|| what.to_owned(), |cause| causes(what, cause))
}
