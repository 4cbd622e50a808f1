//! Whom par talks to: the registry, those who know callers, the billing side, receivers of telemetry and letters.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::join_all;
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    metrics::v1::ResourceMetrics,
    trace::v1::ResourceSpans,
};
use par_pool::{
    package::{Document, PackageSettings, Remote},
    registry::{Index, index::LARGEST},
};
use tokio::net::{TcpStream, UnixDatagram, lookup_host};
use url::Url;

use super::checked::Check;
use crate::{
    auth::token::KeySet,
    billing,
    config::{
        Config,
        identity::AdapterSettings,
        telemetry::{Receiver, Sink, SinkAddress},
    },
    observe::otlp::{Line, Parcel, resource},
};

/// How long one is asked; what waits for all of them has a little more.
const PATIENCE: Duration = Duration::from_secs(4);

/// Reads the index, as `par serve` would.
pub(super) async fn registry(config: Arc<Config>) -> Check {
    const NAME: &str = "registry";
    let Some(registry) = &config.registry else {
        return Check::skipped(NAME, "none is configured (REGISTRY_URL)");
    };
    let settings: PackageSettings = (&*config).into();
    let remote = Remote::new(&PackageSettings { download_timeout: PATIENCE, ..settings });
    let place = &registry.location;
    let bytes = match remote.document(place, None, LARGEST as u64).await {
        Ok(Document::Changed { bytes, .. }) => bytes,
        Ok(Document::Unchanged) => return Check::ok(NAME, place.to_string()),
        Err(error) => {
            let remedy = error.hint.unwrap_or_else(|| {
                "look whether REGISTRY_URL is right and can be reached from here; until then par serves what it has".to_owned()
            });
            return Check::failed(NAME, error.detail, remedy);
        }
    };
    judge_index(&place.to_string(), Index::parse(&bytes, place).map_err(|error| error.to_string()))
}

/// Pure.
fn judge_index(place: &str, index: Result<Index, String>) -> Check {
    const NAME: &str = "registry";
    match index {
        Err(problem) => Check::failed(NAME, format!("{place}: {problem}"), "correct the index"),
        Ok(index) => match index.faults.first() {
            None => Check::ok(NAME, format!("{place}: {} packages", index.entries.len())),
            Some(fault) => {
                let name = fault.name.as_deref().unwrap_or("?");
                let found = format!(
                    "{place}: {} of {} entries are refused, first {name}: {}",
                    index.faults.len(),
                    index.faults.len() + index.entries.len(),
                    fault.detail
                );
                Check::warning(NAME, found, "correct these entries of the index")
            }
        },
    }
}

/// Asks everybody who may prove who calls.
pub(super) async fn identity(config: Arc<Config>) -> Vec<Check> {
    const NAME: &str = "identity";
    let Some(settings) = &config.identity else {
        if config.is_public() {
            return vec![Check::warning(
                NAME,
                format!("off, and {} can be reached from elsewhere: everybody may call agents", config.http),
                "set OIDC_ISSUER and OIDC_AUDIENCE, or HOST=127.0.0.1 behind a proxy of this host",
            )];
        }
        return vec![Check::skipped(NAME, "off, and only this machine reaches the port")];
    };
    let issuers = join_all(settings.issuers.iter().map(async |issuer| {
        let name = format!("issuer {}", issuer.issuer);
        match issuer.ask().await {
            Ok(keys) => Check::ok(name, format!("{keys} keys")),
            Err(fault) => Check::failed(
                name,
                fault.to_string(),
                "look whether the issuer's address is right and can be reached from here (identity.ca for an authority of its own)",
            ),
        }
    }));
    let adapters = join_all(settings.adapters.iter().map(adapter));
    let (issuers, adapters) = tokio::join!(issuers, adapters);
    issuers.into_iter().chain(adapters).collect()
}

async fn adapter(adapter: &AdapterSettings) -> Check {
    match adapter {
        AdapterSettings::JwksFile(settings) => {
            let read = std::fs::read(&settings.path).map_err(|error| error.to_string());
            match read.and_then(|bytes| KeySet::parse(&bytes)) {
                Ok(keys) => {
                    Check::ok("jwks_file", format!("{}: {} keys", settings.path.display(), keys.len()))
                }
                Err(problem) => Check::failed(
                    "jwks_file",
                    format!("{}: {problem}", settings.path.display()),
                    "put a readable JWKS there",
                ),
            }
        }
        AdapterSettings::SharedSecret(_) => Check::ok("shared_secret", "asks nobody"),
        AdapterSettings::Mtls(_) => Check::ok("mtls", "asks nobody; see tls"),
        AdapterSettings::Introspection(settings) => connected("introspection", &settings.url).await,
        AdapterSettings::HttpCheck(settings) => connected("http_check", &settings.url).await,
    }
}

/// Asks the billing side for the meters, with the key.
pub(super) async fn billing(config: Arc<Config>) -> Check {
    const NAME: &str = "billing";
    let Some(settings) = &config.billing else {
        return Check::skipped(NAME, "off: there is no STRIPE_KEY");
    };
    match billing::look(settings).await {
        Ok(meters) => Check::ok(NAME, format!("the key is good, {meters} meters are there")),
        Err(problem) => Check::failed(
            NAME,
            problem,
            "look whether STRIPE_KEY may read meters, whether they are made, and whether the address can be reached",
        ),
    }
}

/// Sends everybody who wants telemetry a batch that says who we are and nothing else.
pub(super) async fn telemetry(config: Arc<Config>) -> Vec<Check> {
    let telemetry = &config.telemetry;
    let traces = telemetry.traces.as_ref().map(|traces| &traces.receiver);
    let metrics = telemetry.metrics.as_ref().map(|metrics| &metrics.receiver);
    if traces.is_none() && metrics.is_none() && telemetry.sinks.is_empty() {
        return vec![Check::skipped("telemetry", "nothing is pushed (OTEL_EXPORTER_OTLP_ENDPOINT)")];
    }
    // A message without a byte has no length on the wire, which not every receiver takes.
    let ours = Some(resource(&telemetry.resource, "doctor"));
    let spans = ResourceSpans { resource: ours.clone(), ..ResourceSpans::default() };
    let points = ResourceMetrics { resource: ours, ..ResourceMetrics::default() };
    let spans = Parcel::Traces(ExportTraceServiceRequest { resource_spans: vec![spans] });
    let points = Parcel::Metrics(ExportMetricsServiceRequest { resource_metrics: vec![points] });
    let receivers = [("traces", traces, spans), ("metrics push", metrics, points)];
    let receivers = receivers.into_iter().filter_map(|(name, to, parcel)| Some((name, to?, parcel)));
    let receivers = join_all(receivers.map(async |(name, to, parcel)| taken(name, to, &parcel).await));
    let (receivers, sinks) = tokio::join!(receivers, join_all(telemetry.sinks.iter().map(sink)));
    receivers.into_iter().chain(sinks).collect()
}

async fn taken(name: &'static str, receiver: &Receiver, parcel: &Parcel) -> Check {
    let url = &receiver.url;
    let sent = match Line::new(receiver) {
        Ok(line) => line.send(parcel, PATIENCE).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match sent {
        Ok(_) => Check::ok(name, format!("{url} takes them")),
        Err(problem) => Check::failed(
            name,
            format!("{url}: {problem}"),
            "look whether the receiver runs, and whether otlp.protocol and otlp.headers are what it wants",
        ),
    }
}

/// Whether there is somebody cannot be told of UDP, only where it would be.
async fn sink(sink: &Sink) -> Check {
    let name = sink.dialect.text();
    match &sink.address {
        SinkAddress::Udp(address) => Check::ok(name, format!("{address}; UDP does not tell who is there")),
        SinkAddress::Named(host) => match lookup_host(host.as_str()).await {
            Ok(_) => Check::ok(name, format!("{host}; UDP does not tell who is there")),
            Err(error) => Check::warning(name, format!("{host}: {error}"), "correct metrics.sinks"),
        },
        SinkAddress::Unix(path) => match unix(path) {
            Ok(()) => Check::ok(name, path.display().to_string()),
            Err(error) => Check::warning(
                name,
                format!("{}: {error}", path.display()),
                "start the receiver, or correct metrics.sinks",
            ),
        },
    }
}

fn unix(path: &PathBuf) -> std::io::Result<()> {
    UnixDatagram::unbound()?.connect(path)
}

/// Whether the receiver of letters can be reached. It gets none.
pub(super) async fn webhooks(config: Arc<Config>) -> Check {
    match &config.webhooks {
        None => Check::skipped("webhooks", "nobody is told (WEBHOOK_URL)"),
        Some(receiver) => connected("webhooks", &receiver.url).await,
    }
}

/// Whether somebody listens there. The address may hold a token: host and port alone are shown.
async fn connected(name: &'static str, url: &Url) -> Check {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(443);
    match TcpStream::connect((host, port)).await {
        Ok(_) => Check::ok(name, format!("{host}:{port} accepts connections")),
        Err(error) => Check::failed(
            name,
            format!("{host}:{port}: {error}"),
            "look whether the address is right, the other side runs, and nothing in between refuses",
        ),
    }
}

#[cfg(test)]
mod tests {
    use par_pool::package::Location;

    use super::{super::checked::Verdict, *};

    #[test]
    fn an_index_with_bad_entries_is_a_warning_and_one_that_is_none_a_failure() {
        let judged = |text: &str| {
            let base = Location::File("/srv/index.json".into());
            judge_index("i", Index::parse(text.as_bytes(), &base).map_err(|error| error.to_string()))
        };
        assert_eq!(judged(r#"{"version": 1, "packages": []}"#).found, "i: 0 packages");
        let faulty = judged(r#"{"version": 1, "packages": [{"name": "a"}]}"#);
        assert!(faulty.verdict == Verdict::Warning && faulty.found.contains("1 of 1 entries"), "{faulty:?}");
        assert_eq!(judged("<html>").verdict, Verdict::Failed);
    }

    #[tokio::test]
    async fn nobody_at_an_address_is_a_failure_that_shows_no_path() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url: Url = format!("http://{}/secret", listener.local_addr().unwrap()).parse().unwrap();
        assert_eq!(connected("webhooks", &url).await.verdict, Verdict::Ok);
        drop(listener);
        let gone = connected("webhooks", &url).await;
        assert!(gone.verdict == Verdict::Failed && !gone.found.contains("secret"), "{gone:?}");
    }
}
