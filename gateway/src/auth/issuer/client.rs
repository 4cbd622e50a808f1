//! One HTTP client for whoever has to be asked about identity: no redirects, no patience, no long answers.

use std::{error::Error as _, time::Duration};

use reqwest::{
    Certificate, Client, RequestBuilder, StatusCode,
    header::{self, HeaderMap, HeaderValue},
    redirect,
};
use url::{Host, Url};

/// Longest time for one question, its answer included. Calls wait for some of them; half would fail on links
/// that lose the first two packets (SYN is repeated after 1 and 3 s).
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks, and reads short answers.
#[derive(Debug, Clone)]
pub(crate) struct Web(Client);

/// Why there is no answer, without what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WebFault(pub(crate) String);

/// An answer that was read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Web {
    /// A client that trusts these authorities (PEM) besides those of the system. The process must have
    /// installed a rustls provider.
    pub(crate) fn new(ca: Option<&[u8]>) -> Result<Self, WebFault> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(WebFault("no rustls crypto provider is installed".to_owned()));
        }
        let authorities = ca.map_or_else(|| Ok(Vec::new()), Certificate::from_pem_bundle);
        let authorities =
            authorities.map_err(|error| WebFault(format!("the authorities: {}", text(&error))))?;
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .timeout(TIMEOUT)
            .user_agent(concat!("par/", env!("CARGO_PKG_VERSION")))
            .tls_certs_merge(authorities)
            .build();
        client.map(Self).map_err(|error| WebFault(text(&error)))
    }

    /// To make requests with, which [`Self::ask`] sends.
    pub(crate) const fn client(&self) -> &Client {
        &self.0
    }

    /// Asks for JSON; any other status than 200 is a fault.
    pub(crate) async fn get(&self, url: &Url, cap: usize) -> Result<Answer, WebFault> {
        let request = self.0.get(url.clone());
        let request = request.header(header::ACCEPT, HeaderValue::from_static("application/json"));
        let answer = self.ask(request, cap).await?;
        match answer.status {
            StatusCode::OK => Ok(answer),
            status if status.is_redirection() => {
                Err(WebFault(format!("it answered {status}; redirects are not followed")))
            }
            status => Err(WebFault(format!("it answered {status}"))),
        }
    }

    /// Sends, and reads the answer up to `cap` bytes; a longer one is a fault.
    pub(crate) async fn ask(&self, request: RequestBuilder, cap: usize) -> Result<Answer, WebFault> {
        let mut response = request.send().await.map_err(|error| WebFault(text(&error)))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| WebFault(text(&error)))? {
            if body.len() + part.len() > cap {
                return Err(WebFault(format!("its answer is longer than {cap} bytes")));
            }
            body.extend_from_slice(&part);
        }
        Ok(Answer { status, headers, body })
    }
}

/// Whether identity may be asked there: `https`, or `http` on this machine, and no credentials in the
/// address.
pub(super) fn is_askable(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    };
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback);
    is_safe && url.username().is_empty() && url.password().is_none()
}

/// The causes of a failure. reqwest's own text would contain the whole URL and is left out.
fn text(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        format!("it did not answer within {} s", TIMEOUT.as_secs())
    } else if error.is_connect() {
        "it could not be reached".to_owned()
    } else if error.is_builder() {
        "it cannot be asked".to_owned()
    } else {
        "it broke off".to_owned()
    };
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_asked_over_tls_or_on_this_machine() {
        for (url, wanted) in [
            ("https://issuer.example/x?y", true),
            ("http://127.0.0.1:8080/", true),
            ("http://localhost/", true),
            ("http://[::1]:1/", true),
            ("http://issuer.example/", false),
            ("http://localhost.example/", false),
            ("http://10.0.0.1/", false),
            ("https://user@issuer.example/", false),
            ("https://:secret@issuer.example/", false),
            ("file:///etc/passwd", false),
            ("ftp://127.0.0.1/", false),
        ] {
            assert_eq!(is_askable(&url.parse().unwrap()), wanted, "{url}");
        }
    }
}
