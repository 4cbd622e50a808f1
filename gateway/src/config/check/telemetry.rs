//! Where traces and metrics go: the variables of OpenTelemetry, and receivers of StatsD.

use std::{collections::BTreeSet, time::Duration};

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

use super::{Check, Secret, Setting, parse, raw};
use crate::{
    config::telemetry::{OtlpMetrics, Protocol, Receiver, Telemetry, Traces},
    observe::trace::Sampler,
};

/// One of the things that are sent: its own settings, which are stronger than those for both.
struct Signal {
    exporter: &'static Setting,
    endpoint: &'static Setting,
    protocol: &'static Setting,
    headers: &'static Setting,
    timeout: &'static Setting,
    /// What is appended to the address of both, for HTTP.
    path: &'static str,
}

const TRACES: Signal = Signal {
    exporter: &raw::TRACES_EXPORTER,
    endpoint: &raw::TRACES_ENDPOINT,
    protocol: &raw::TRACES_PROTOCOL,
    headers: &raw::TRACES_HEADERS,
    timeout: &raw::TRACES_TIMEOUT,
    path: "v1/traces",
};

const METRICS: Signal = Signal {
    exporter: &raw::METRICS_EXPORTER,
    endpoint: &raw::METRICS_ENDPOINT,
    protocol: &raw::METRICS_PROTOCOL,
    headers: &raw::METRICS_HEADERS,
    timeout: &raw::METRICS_TIMEOUT,
    path: "v1/metrics",
};

/// What is said for everything that is sent.
struct Both {
    endpoint: Option<Url>,
    protocol: Option<Protocol>,
    headers: Option<Vec<(HeaderName, Secret)>>,
    timeout: Option<Duration>,
    gzip: bool,
    authorities: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Secret)>,
}

impl Check<'_> {
    /// All of it. `name`: who we are if nobody says otherwise.
    pub(super) fn telemetry(&mut self, name: Option<&str>, warnings: &mut Vec<String>) -> Telemetry {
        let is_off = self.given(&raw::OTLP_DISABLED, parse::boolean).unwrap_or(false);
        let resource = self.resource(name.unwrap_or("par"));
        let sampler = self.sampler(warnings);
        let milliseconds = |check: &mut Self, setting, default| {
            check.given(setting, parse::milliseconds).unwrap_or(Duration::from_millis(default))
        };
        let delay = milliseconds(self, &raw::TRACES_DELAY, 5000);
        let patience = milliseconds(self, &raw::TRACES_PATIENCE, 30_000);
        let queue = self.given(&raw::TRACES_QUEUE, parse::count).unwrap_or(2048);
        let batch = self.given(&raw::TRACES_BATCH, parse::count).unwrap_or(512);
        if batch > queue {
            self.fault(&raw::TRACES_BATCH, format!("{batch} spans at once cannot be taken out of {queue}"));
        }
        let interval = milliseconds(self, &raw::METRICS_INTERVAL, 60_000);
        let metrics_patience = milliseconds(self, &raw::METRICS_PATIENCE, 30_000);
        let both = self.both();
        let traces = self.receiver(&TRACES, &both);
        let metrics = self.receiver(&METRICS, &both);
        let sinks = self.sinks();
        Telemetry {
            resource,
            traces: traces.filter(|_| !is_off).map(|receiver| Traces {
                receiver,
                sampler,
                queue,
                batch,
                delay,
                patience,
            }),
            metrics: metrics.filter(|_| !is_off).map(|receiver| OtlpMetrics {
                receiver,
                interval,
                patience: metrics_patience,
            }),
            sinks,
        }
    }

    /// A value of which an empty one counts as not given, as OpenTelemetry has it.
    fn given<T>(&mut self, setting: &Setting, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.text(setting)?;
        self.parsed(setting, read)
    }

    /// What is said for both.
    fn both(&mut self) -> Both {
        let (certificate, key) = (self.pem(&raw::OTLP_CLIENT_CERTIFICATE), self.pem(&raw::OTLP_CLIENT_KEY));
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, Secret::new(String::from_utf8_lossy(&key)))),
            (None, None) => None,
            (Some(_), None) => {
                self.fault(&raw::OTLP_CLIENT_KEY, "is needed: there is a client certificate");
                None
            }
            (None, Some(_)) => {
                self.fault(&raw::OTLP_CLIENT_CERTIFICATE, "is needed: there is a client key");
                None
            }
        };
        Both {
            endpoint: self.given(&raw::OTLP_ENDPOINT, endpoint),
            protocol: self.given(&raw::OTLP_PROTOCOL, protocol),
            headers: self.given(&raw::OTLP_HEADERS, headers),
            timeout: self.given(&raw::OTLP_TIMEOUT, parse::milliseconds),
            gzip: self.given(&raw::OTLP_COMPRESSION, compression).unwrap_or(false),
            authorities: self.pem(&raw::OTLP_CERTIFICATE),
            identity,
        }
    }

    fn receiver(&mut self, signal: &Signal, both: &Both) -> Option<Receiver> {
        let wanted = self.given(signal.exporter, exporter).unwrap_or(true);
        let protocol = self.given(signal.protocol, protocol).or(both.protocol).unwrap_or(Protocol::Http);
        let timeout = self.given(signal.timeout, parse::milliseconds).or(both.timeout);
        let headers = self.given(signal.headers, headers).or_else(|| both.headers.clone());
        let shared = both.endpoint.clone().map(|mut url| {
            if protocol == Protocol::Http {
                let path = format!("{}/{}", url.path().trim_end_matches('/'), signal.path);
                url.set_path(&path);
            }
            url
        });
        let url = self.given(signal.endpoint, endpoint).or(shared).filter(|_| wanted)?;
        Some(Receiver {
            url,
            protocol,
            headers: headers.unwrap_or_default(),
            timeout: timeout.unwrap_or(Duration::from_secs(10)),
            gzip: both.gzip,
            authorities: both.authorities.clone(),
            identity: both.identity.clone(),
        })
    }

    /// A file of certificates or a key.
    fn pem(&mut self, setting: &Setting) -> Option<Vec<u8>> {
        let path = self.path(setting)?;
        match std::fs::read(&path) {
            Ok(bytes) if bytes.windows(11).any(|part| part == b"-----BEGIN ") => Some(bytes),
            Ok(_) => {
                self.fault(setting, format!("{} is not PEM", path.display()));
                None
            }
            Err(error) => {
                self.fault(setting, format!("{} cannot be read: {error}", path.display()));
                None
            }
        }
    }

    fn resource(&mut self, name: &str) -> Vec<(String, String)> {
        let own = self.given(&raw::OTLP_SERVICE_NAME, |text| Ok(text.to_owned()));
        let mut told = self.given(&raw::OTLP_RESOURCE, pairs).unwrap_or_default();
        let named = told.iter().position(|(key, _)| key == "service.name").map(|at| told.remove(at).1);
        let name = own.or(named).unwrap_or_else(|| name.to_owned());
        told.insert(0, ("service.name".to_owned(), name));
        told
    }

    fn sampler(&mut self, warnings: &mut Vec<String>) -> Sampler {
        let named = self.given(&raw::TRACES_SAMPLER, |text| {
            Sampler::named(text).ok_or_else(|| {
                format!(
                    "{text:?} is not one of always_on, always_off, traceidratio, parentbased_always_on, \
                     parentbased_always_off, parentbased_traceidratio"
                )
            })
        });
        let argument = self.given(&raw::TRACES_SAMPLER_ARG, |text| {
            let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
            ratio.ok_or_else(|| format!("{text:?} is not a number from 0 to 1"))
        });
        match (named, argument) {
            (Some((sampler, true)), ratio) => Sampler { ratio: ratio.unwrap_or(sampler.ratio), ..sampler },
            (Some((sampler, false)), None) => sampler,
            (Some((sampler, false)), Some(_)) => {
                warnings.push("OTEL_TRACES_SAMPLER_ARG has no effect: the sampler takes no ratio".to_owned());
                sampler
            }
            (None, ratio) => {
                let sampler = Sampler::default();
                Sampler { ratio: ratio.unwrap_or(sampler.ratio), ..sampler }
            }
        }
    }
}

fn exporter(text: &str) -> Result<bool, String> {
    match text {
        "otlp" => Ok(true),
        "none" => Ok(false),
        _ => Err(format!("{text:?} is not otlp or none")),
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "grpc" => Ok(Protocol::Grpc),
        "http/protobuf" => Ok(Protocol::Http),
        _ => Err(format!("{text:?} is not grpc or http/protobuf")),
    }
}

fn compression(text: &str) -> Result<bool, String> {
    match text {
        "gzip" => Ok(true),
        "none" => Ok(false),
        _ => Err(format!("{text:?} is not gzip or none")),
    }
}

/// Where OTLP is received. What stands in it may be seen, so it must hold no password.
fn endpoint(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|_| "is not an address like http://localhost:4318".to_owned())?;
    let has_password = !url.username().is_empty() || url.password().is_some();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("is not an address like http://localhost:4318".to_owned());
    }
    if has_password || url.query().is_some() || url.fragment().is_some() {
        return Err("must not hold a user, a query or a fragment: secrets belong into headers".to_owned());
    }
    Ok(url)
}

/// `key=value,key=value`, values percent-encoded (W3C Baggage, as OpenTelemetry has it). Values are not repeated.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut names = BTreeSet::new();
    let mut read = Vec::new();
    for (place, pair) in (1..).zip(text.split(',').map(str::trim)).filter(|(_, pair)| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("pair {place} is not name=value"))?;
        let key = key.trim();
        let value = percent_decode_str(value.trim()).decode_utf8();
        let value = value.map_err(|_| format!("the value of {key:?} is no text"))?;
        if key.is_empty() {
            return Err(format!("pair {place} has no name"));
        }
        if !names.insert(key.to_owned()) {
            return Err(format!("{key:?} is there twice"));
        }
        read.push((key.to_owned(), value.into_owned()));
    }
    Ok(read)
}

fn headers(text: &str) -> Result<Vec<(HeaderName, Secret)>, String> {
    let header = |(name, value): (String, String)| {
        let parsed = name.parse().map_err(|_| format!("{name:?} is no name of a header"))?;
        HeaderValue::from_str(&value)
            .map_err(|_| format!("the value of {name:?} is no value of a header"))?;
        Ok((parsed, Secret::new(value)))
    };
    pairs(text)?.into_iter().map(header).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment, Flags, telemetry::Telemetry};

    fn load(variables: &[(&str, &str)]) -> Result<Telemetry, Vec<String>> {
        let home = std::iter::once(("HOME", "/home/me"));
        let environment: Environment = home.chain(variables.iter().copied()).collect();
        Config::load(&Flags::default(), &environment)
            .map(|config| config.telemetry)
            .map_err(|faults| faults.0.iter().map(ToString::to_string).collect())
    }

    fn urls(variables: &[(&str, &str)]) -> [Option<String>; 2] {
        let telemetry = load(variables).unwrap();
        [
            telemetry.traces.map(|traces| traces.receiver.url.to_string()),
            telemetry.metrics.map(|metrics| metrics.receiver.url.to_string()),
        ]
    }

    #[test]
    fn one_address_is_for_both_and_an_own_one_is_stronger() {
        const BOTH: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/otel/");
        let (traces, metrics) = ("http://c:4318/otel/v1/traces", "http://c:4318/otel/v1/metrics");
        assert_eq!(urls(&[]), [None, None]);
        assert_eq!(urls(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), [None, None]);
        assert_eq!(urls(&[BOTH]), [Some(traces.to_owned()), Some(metrics.to_owned())]);
        assert_eq!(urls(&[BOTH, ("OTEL_SDK_DISABLED", "true")]), [None, None]);
        assert_eq!(urls(&[BOTH, ("OTEL_METRICS_EXPORTER", "none")]), [Some(traces.to_owned()), None]);
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://t/x");
        assert_eq!(urls(&[BOTH, own]), [Some("https://t/x".to_owned()), Some(metrics.to_owned())]);
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert_eq!(
            urls(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"), grpc])[0].as_deref(),
            Some("http://c:4317/")
        );
    }

    #[test]
    fn headers_are_secret_and_the_service_has_a_name() {
        let telemetry = load(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k%20y, x-team = a"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=told,deployment.environment.name=test"),
        ])
        .unwrap();
        assert!(!format!("{telemetry:?}").contains("k y"));
        let traces = telemetry.traces.unwrap();
        let told: Vec<_> =
            traces.receiver.headers.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
        assert_eq!(told, [("api-key", "k y"), ("x-team", "a")]);
        assert_eq!(telemetry.resource[0], ("service.name".to_owned(), "told".to_owned()));
        assert_eq!(telemetry.resource.len(), 2);
        assert!((traces.sampler.ratio - 0.01).abs() < f64::EPSILON && traces.sampler.parent_based);
    }

    #[test]
    fn faults_are_named_and_tell_no_secrets() {
        let faults = load(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:t0ken@c:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "localhost:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=t0ken,b b=t0ken"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/dev/null"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "1"),
            ("OTEL_RESOURCE_ATTRIBUTES", "plain"),
        ])
        .unwrap_err();
        for name in [
            "OTEL_EXPORTER_OTLP_ENDPOINT (environment): must not hold a user",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT (environment): is not an address",
            "OTEL_EXPORTER_OTLP_PROTOCOL (environment): \"http/json\" is not grpc",
            "OTEL_EXPORTER_OTLP_HEADERS (environment): \"b b\" is no name",
            "OTEL_EXPORTER_OTLP_TIMEOUT (environment): \"10s\" is not a number of milliseconds",
            "OTEL_EXPORTER_OTLP_COMPRESSION (environment): \"zstd\"",
            "OTEL_EXPORTER_OTLP_CERTIFICATE (environment): /nowhere cannot be read",
            "OTEL_EXPORTER_OTLP_CLIENT_KEY (environment): /dev/null is not PEM",
            "OTEL_TRACES_EXPORTER (environment): \"zipkin\"",
            "OTEL_TRACES_SAMPLER (environment): \"jaeger_remote\"",
            "OTEL_TRACES_SAMPLER_ARG (environment): \"2\"",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE (environment): 512 spans at once",
            "OTEL_RESOURCE_ATTRIBUTES (environment): pair 1 is not name=value",
        ] {
            assert!(faults.iter().any(|fault| fault.starts_with(name)), "{name} in {faults:#?}");
        }
        assert!(!faults.concat().contains("t0ken"), "{faults:#?}");
        let distinct: std::collections::BTreeSet<_> = faults.iter().collect();
        assert_eq!(distinct.len(), faults.len(), "each once: {faults:#?}");
    }
}
