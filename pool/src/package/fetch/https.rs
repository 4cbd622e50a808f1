//! `https://` (and `http://` of loopback): one request, one answer.

use std::{error::Error as _, sync::Arc, time::Duration};

use reqwest::{
    Client, Response, StatusCode,
    header::{
        CONTENT_RANGE, ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
        RETRY_AFTER,
    },
    redirect,
};
use url::Url;

use super::{
    Validator,
    answer::{Answer, Body, Reply, Wish, agreed},
    fault::{Fault, chain},
    resolver::Elsewhere,
};
use crate::package::{
    PullError, Step,
    source::{check_url, shown},
};

/// Redirects followed; object stores need one or two.
const REDIRECTS: usize = 5;
/// Longest time to a connection. A host that drops packets is told apart from one that is slow; half would
/// fail on links that lose the first two packets (SYN is repeated after 1, 3 and 7 s).
const CONNECT: Duration = Duration::from_secs(10);

/// The client for downloads. A rustls provider must have been installed by the process; `roots` are trusted
/// besides those of the system.
pub(super) fn client(roots: Vec<reqwest::Certificate>) -> Result<Client, PullError> {
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
        .dns_resolver(Arc::new(Elsewhere))
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(CONNECT)
        .user_agent(concat!("par/", env!("CARGO_PKG_VERSION")))
        .tls_certs_merge(roots)
        .build()
        .map_err(|error| refused(chain(&error)))
}

/// Asks once.
pub(super) async fn ask(client: &Client, url: &Url, wish: &Wish<'_>) -> Result<Reply, Fault> {
    let place = shown(url);
    let mut request = client.get(url.clone());
    match wish {
        Wish::Whole | Wish::IfChanged(Validator::File(_)) => {}
        Wish::Rest { from, tag } => {
            request = request.header(RANGE, format!("bytes={from}-")).header(IF_RANGE, *tag);
        }
        Wish::IfChanged(Validator::Server { tag, modified }) => {
            if let Some(tag) = tag {
                request = request.header(IF_NONE_MATCH, tag);
            } else if let Some(modified) = modified {
                request = request.header(IF_MODIFIED_SINCE, modified);
            }
        }
    }
    let response = request.send().await.map_err(|error| failure(&place, &error))?;
    let status = response.status();
    let tag = header(&response, &ETAG);
    let (from, total) = match (status, wish) {
        (StatusCode::NOT_MODIFIED, Wish::IfChanged(_)) => return Ok(Reply::Unchanged),
        (StatusCode::PARTIAL_CONTENT, Wish::Rest { .. } | Wish::Whole | Wish::IfChanged(_)) => {
            agreed(&place, wish, header(&response, &CONTENT_RANGE).as_deref(), tag.as_deref())?
        }
        (StatusCode::OK, Wish::Rest { .. } | Wish::Whole | Wish::IfChanged(_)) => {
            (0, response.content_length())
        }
        (_, Wish::Rest { .. } | Wish::Whole | Wish::IfChanged(_)) => {
            let wait = header(&response, &RETRY_AFTER);
            return Err(Fault::status(&place, status.as_u16(), &status.to_string(), wait.as_deref()));
        }
    };
    let modified = header(&response, &LAST_MODIFIED);
    Ok(Reply::Content(Box::new(Answer { from, total, tag, modified, body: Body::Https(response) })))
}

fn header(response: &Response, name: &HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn failure(place: &str, error: &reqwest::Error) -> Fault {
    let log = chain(error);
    if error.is_redirect() {
        let cause = error.source().map_or_else(|| "a redirect".to_owned(), ToString::to_string);
        return Fault::refused(format!("{place} was not fetched: {cause}"));
    }
    if error.is_builder() {
        // A tag or date that the server sent and that cannot be sent back.
        return Fault::refused(format!("{place} cannot be asked for")).with_log(log);
    }
    if let Some(fault) = Fault::certificate(place, error) {
        return fault.with_log(log);
    }
    let what = if error.is_timeout() {
        "did not answer in time"
    } else if error.is_connect() {
        "could not be reached"
    } else {
        "broke off"
    };
    Fault::transient(format!("{place} {what}")).with_log(log)
}
