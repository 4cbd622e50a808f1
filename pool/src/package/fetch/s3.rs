//! `s3://`: one GetObject, one answer. Nothing else is ever asked of a bucket.

use std::{error::Error as _, time::Duration};

use aws_config::BehaviorVersion;
use aws_sdk_s3::{
    Client,
    config::{
        Region, ResponseChecksumValidation, SharedCredentialsProvider, SharedHttpClient,
        StalledStreamProtectionConfig, http::HttpResponse, retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    operation::get_object::GetObjectError,
    primitives::{DateTime, DateTimeFormat},
};
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use url::Url;

use super::{
    Validator,
    answer::{Answer, Body, Reply, Wish, agreed},
    fault::{Fault, Next, chain},
};

/// Longest time to a connection; as for `https://`.
const CONNECT: Duration = Duration::from_secs(10);
/// Error codes that mean "later", whatever their status is (Amazon S3 API reference, error responses).
const LATER: [&str; 8] = [
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "RequestTimeout",
    "InternalError",
    "ServiceUnavailable",
];

/// Where `s3://` leads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct S3Settings {
    /// The bucket of `s3:///key`.
    pub bucket: String,
    /// The region; `None`: what the AWS configuration says.
    pub region: Option<String>,
    /// Another server than Amazon's: https, or http on loopback. Buckets are then part of the path.
    pub endpoint: Option<Url>,
}

/// Makes the client. Without `credentials` they come from the standard chain: environment, profile files, web
/// identity, container, instance.
pub(super) async fn client(settings: &S3Settings, credentials: Option<SharedCredentialsProvider>) -> Client {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(connector())
        // Tries, timeouts and stalls are decided and told in one place for all protocols.
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // A SHA-256 over everything is computed anyway; parts of an object have no checksum to compare with.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(credentials) = credentials {
        loader = loader.credentials_provider(credentials);
    }
    let shared = loader.load().await;
    let mut config = aws_sdk_s3::config::Builder::from(&shared);
    if let Some(endpoint) = &settings.endpoint {
        config = config.endpoint_url(endpoint.as_str()).force_path_style(true);
    }
    Client::from_conf(config.build())
}

/// The HTTP client below the SDK; proxies as the environment says, as for `https://`.
pub(super) fn connector() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
    })
}

/// Asks once.
pub(super) async fn ask(client: &Client, bucket: &str, key: &str, wish: &Wish<'_>) -> Result<Reply, Fault> {
    let place = format!("s3://{bucket}/{key}");
    let mut request = client.get_object().bucket(bucket).key(key);
    match wish {
        Wish::Whole | Wish::IfChanged(Validator::File(_)) => {}
        Wish::Rest { from, tag } => request = request.range(format!("bytes={from}-")).if_match(*tag),
        Wish::IfChanged(Validator::Server { tag, modified }) => {
            if let Some(tag) = tag {
                request = request.if_none_match(tag);
            } else {
                let date = modified.as_deref().map(|text| DateTime::from_str(text, DateTimeFormat::HttpDate));
                request = request.set_if_modified_since(date.and_then(Result::ok));
            }
        }
    }
    let output = match request.send().await {
        Ok(output) => output,
        Err(error) => {
            let unchanged = matches!(wish, Wish::IfChanged(_)) && status(&error) == Some(304);
            return if unchanged { Ok(Reply::Unchanged) } else { Err(failure(&place, &error)) };
        }
    };
    let (from, total) = match output.content_range() {
        Some(range) => agreed(&place, wish, Some(range), output.e_tag())?,
        None => (0, output.content_length().and_then(|length| u64::try_from(length).ok())),
    };
    let modified = output.last_modified().and_then(|date| date.fmt(DateTimeFormat::HttpDate).ok());
    Ok(Reply::Content(Box::new(Answer {
        from,
        total,
        tag: output.e_tag,
        modified,
        body: Body::S3(output.body),
    })))
}

type GetError = SdkError<GetObjectError, HttpResponse>;

fn status(error: &GetError) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

fn failure(place: &str, error: &GetError) -> Fault {
    let log = chain(error);
    let fault = match error {
        SdkError::ServiceError(_) => answered(place, error),
        SdkError::TimeoutError(_) => Fault::transient(format!("{place} did not answer in time")),
        SdkError::ResponseError(_) => Fault::transient(format!("{place} answered what S3 does not say")),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            Fault::transient(format!("{place} did not answer in time"))
        }
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => unsent(place, error),
        _ => Fault::refused(format!("{place} could not be asked for")),
    };
    fault.with_log(log)
}

/// A request that never left, or a connection that broke before the answer.
fn unsent(place: &str, error: &GetError) -> Fault {
    if let Some(fault) = error.source().and_then(|cause| Fault::certificate(place, cause)) {
        return fault;
    }
    // The SDK has no types for these; its texts all say the words.
    let log = chain(error);
    let is_io = matches!(error, SdkError::DispatchFailure(failure) if failure.is_io());
    if !is_io && log.contains("credential") {
        let fault = if log.contains("timed out") || log.contains("an error occurred while loading") {
            Fault::transient(format!("{place} was not fetched: AWS credentials could not be loaded"))
        } else {
            Fault::refused(format!("{place} was not fetched: there are no AWS credentials"))
        };
        return fault.with_hint(
            "credentials come from the standard AWS chain: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
             profile files, web identity, container or instance role",
        );
    }
    let unfit = ["region must be set", "Invalid Configuration"].iter().any(|text| log.contains(text));
    if unfit || matches!(error, SdkError::ConstructionFailure(_)) {
        return Fault::refused(format!("{place} cannot be asked for with these settings"))
            .with_hint("AWS_REGION, S3_BUCKET and S3_ENDPOINT_URL say where s3:// leads");
    }
    let what = if is_io { "could not be reached" } else { "broke off" };
    Fault::transient(format!("{place} {what}"))
}

/// An answer of the server that is no object.
fn answered(place: &str, error: &GetError) -> Fault {
    let header = |name| error.raw_response().and_then(|response| response.headers().get(name));
    let status = status(error).unwrap_or_default();
    let code = error.code().unwrap_or_default();
    let what = format!("{status} {code}");
    let fault = Fault::status(place, status, what.trim(), header("retry-after"));
    if LATER.contains(&code) && fault.next == Next::Nothing {
        return Fault::transient(fault.error.detail);
    }
    match header("x-amz-bucket-region") {
        Some(region) if matches!(status, 301 | 400) => {
            fault.with_hint(format!("the bucket is in {region}: AWS_REGION names the region"))
        }
        Some(_) | None => fault,
    }
}
