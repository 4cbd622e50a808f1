//! Getting the bytes: a location enters, a temporary file with the digest of what was read leaves.
//!
//! Bytes are counted and hashed while they are read. Causes that may go away are tried three times within the one
//! download timeout; error texts name host and path, never credentials or queries.

use std::{
    error::Error as _,
    fs::File,
    io::{Read, Write},
    path::Path,
    time::Duration,
};

use par_proto::ids::Digest;
use reqwest::{Client, StatusCode, redirect};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt;
use url::Url;

use super::{
    PullError, Step,
    source::{check_url, shown},
    store::{Scratch, Store},
};

/// Tries per download. Three spans about a second of back-off: longer outages are the poller's business.
const TRIES: u32 = 3;
/// First pause between tries; doubles. Half a restart of a small server would be too short, seconds would stall a start.
const BACK_OFF: Duration = Duration::from_millis(200);
/// Redirects followed; object stores need one or two.
const REDIRECTS: usize = 5;

/// Bytes on disk and their digest; they go when this is dropped.
#[derive(Debug)]
pub struct Fetched {
    /// The file.
    pub file: Scratch,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

/// Copies a local archive. Hashing the copy, not the original, makes later changes of the original harmless.
pub async fn copy(from: &Path, store: &Store, max_bytes: u64) -> Result<Fetched, PullError> {
    let (from, file) = (from.to_path_buf(), store.scratch());
    tokio::task::spawn_blocking(move || copy_now(&from, file, max_bytes)).await.unwrap_or_else(|error| {
        Err(PullError::refused(Step::Fetch, "reading the archive failed").with_log(error.to_string()))
    })
}

fn copy_now(from: &Path, to: Scratch, max_bytes: u64) -> Result<Fetched, PullError> {
    let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let failed = |what: &str, error: &std::io::Error| {
        let detail = if error.kind() == std::io::ErrorKind::NotFound {
            format!("the archive {name} does not exist")
        } else if error.kind() == std::io::ErrorKind::PermissionDenied {
            format!("the archive {name} may not be read")
        } else {
            format!("the archive {name} could not be {what}")
        };
        PullError::refused(Step::Fetch, detail).with_log(format!("{}: {error}", from.display()))
    };
    let mut source = File::open(from).map_err(|error| failed("opened", &error))?;
    if !source.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(PullError::refused(Step::Fetch, format!("{name} is not a file")));
    }
    let mut target = File::create_new(to.path()).map_err(|error| failed("copied", &error))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 128 * 1024];
    let mut bytes = 0_u64;
    loop {
        let read = source.read(&mut buffer).map_err(|error| failed("read", &error))?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        bytes += part.len() as u64;
        if bytes > max_bytes {
            return Err(too_large(&name, max_bytes));
        }
        hash.update(part);
        target.write_all(part).map_err(|error| failed("copied", &error))?;
    }
    Ok(Fetched { file: to, digest: Digest::new(hash.finalize().into()), bytes })
}

fn too_large(name: &str, max_bytes: u64) -> PullError {
    PullError::refused(Step::Fetch, format!("{name} is larger than the {max_bytes} bytes allowed"))
        .with_hint("MAX_PACKAGE_SIZE_MB sets the limit")
}

/// The client for downloads. A rustls provider must have been installed by the process; `roots` are trusted besides
/// those of the system.
pub fn client(roots: Vec<reqwest::Certificate>) -> Result<Client, PullError> {
    let refused = |log: String| {
        PullError::refused(Step::Fetch, "https:// sources cannot be fetched: TLS is not set up").with_log(log)
    };
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(refused("no rustls crypto provider is installed".to_owned()));
    }
    Client::builder()
        .redirect(redirect::Policy::custom(|attempt| {
            let fault = if attempt.previous().len() > REDIRECTS {
                Some(format!("more than {REDIRECTS} redirects"))
            } else if attempt.previous().last().is_some_and(|last| last.scheme() == "https")
                && attempt.url().scheme() != "https"
            {
                Some("a redirect away from https".to_owned())
            } else {
                check_url(attempt.url()).err().map(|error| format!("a redirect that is refused: {error}"))
            };
            match fault {
                Some(fault) => attempt.error(fault),
                None => attempt.follow(),
            }
        }))
        .referer(false)
        .connect_timeout(Duration::from_secs(10))
        .user_agent(concat!("par/", env!("CARGO_PKG_VERSION")))
        .tls_certs_merge(roots)
        .build()
        .map_err(|error| refused(chain(&error)))
}

/// Downloads an archive within `timeout`, all tries included.
pub async fn download(
    client: &Client,
    url: &Url,
    store: &Store,
    max_bytes: u64,
    timeout: Duration,
) -> Result<Fetched, PullError> {
    tokio::time::timeout(timeout, download_with_tries(client, url, store, max_bytes)).await.unwrap_or_else(
        |_| {
            let detail = format!("{} was not downloaded within {} s", shown(url), timeout.as_secs_f32());
            Err(PullError::transient(Step::Fetch, detail)
                .with_hint("DOWNLOAD_TIMEOUT_SECONDS sets the limit"))
        },
    )
}

async fn download_with_tries(
    client: &Client,
    url: &Url,
    store: &Store,
    max_bytes: u64,
) -> Result<Fetched, PullError> {
    let mut number = 1;
    loop {
        match download_once(client, url, store, max_bytes).await {
            Err(error) if error.transient && number < TRIES => {
                tracing::debug!(source = %shown(url), %error, number, "download failed, trying again");
                tokio::time::sleep(pause(number)).await;
                number += 1;
            }
            outcome => return outcome,
        }
    }
}

fn pause(number: u32) -> Duration {
    let mut random = [0_u8];
    // Without randomness the pause is merely not spread.
    getrandom::fill(&mut random).ok();
    let base = BACK_OFF * 2_u32.pow(number.saturating_sub(1).min(8));
    base + base.mul_f32(f32::from(random[0]) / 512.0)
}

async fn download_once(
    client: &Client,
    url: &Url,
    store: &Store,
    max_bytes: u64,
) -> Result<Fetched, PullError> {
    let mut response = client.get(url.clone()).send().await.map_err(|error| failure(url, &error))?;
    let status = response.status();
    if !status.is_success() {
        return Err(answered(url, status));
    }
    if response.content_length().is_some_and(|length| length > max_bytes) {
        return Err(too_large(&shown(url), max_bytes));
    }
    let file = store.scratch();
    let io = |error: std::io::Error| {
        PullError::refused(Step::Fetch, "the download could not be written to disk")
            .with_log(error.to_string())
    };
    let mut target = tokio::io::BufWriter::new(tokio::fs::File::create_new(file.path()).await.map_err(io)?);
    let mut hash = Sha256::new();
    let mut bytes = 0_u64;
    while let Some(part) = response.chunk().await.map_err(|error| failure(url, &error))? {
        bytes += part.len() as u64;
        if bytes > max_bytes {
            return Err(too_large(&shown(url), max_bytes));
        }
        hash.update(&part);
        target.write_all(&part).await.map_err(io)?;
    }
    target.flush().await.map_err(io)?;
    Ok(Fetched { file, digest: Digest::new(hash.finalize().into()), bytes })
}

fn answered(url: &Url, status: StatusCode) -> PullError {
    let detail = format!("{} answered {status}", shown(url));
    if status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
    {
        PullError::transient(Step::Fetch, detail)
    } else {
        PullError::refused(Step::Fetch, detail)
    }
}

fn failure(url: &Url, error: &reqwest::Error) -> PullError {
    let place = shown(url);
    let log = chain(error);
    if error.is_redirect() {
        let cause = error.source().map_or_else(|| "a redirect".to_owned(), ToString::to_string);
        return PullError::refused(Step::Fetch, format!("{place} was not fetched: {cause}"));
    }
    if let Some(cause) = certificate_fault(error) {
        return PullError::refused(
            Step::Fetch,
            format!("{place} has no certificate that is trusted here: {cause}"),
        )
        .with_log(log);
    }
    let what = if error.is_timeout() {
        "did not answer in time"
    } else if error.is_connect() {
        "could not be reached"
    } else {
        "broke off"
    };
    PullError { log, ..PullError::transient(Step::Fetch, format!("{place} {what}")) }
}

/// The TLS library's verdict, if that is why a connection failed: no retry cures it.
fn certificate_fault(error: &reqwest::Error) -> Option<String> {
    let mut next = error.source();
    while let Some(cause) = next {
        // An I/O error hides what it wraps from `source`, and layers wrap it again.
        let mut inner: Option<&(dyn std::error::Error + 'static)> = Some(cause);
        while let Some(io) = inner.and_then(|inner| inner.downcast_ref::<std::io::Error>()) {
            inner = io.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
        }
        let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(fault)) = tls {
            return Some(fault.to_string());
        }
        next = cause.source();
    }
    None
}

/// The causes of an error, outermost first; reqwest's own text would contain the whole URL and is left out.
fn chain(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests;
