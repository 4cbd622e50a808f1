//! Where an issuer's keys come from: discovery (OpenID Connect Discovery 1.0 §4) and the key set it names.

use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use serde::Deserialize;
use url::Url;

use super::{
    client::{Web, WebFault, is_askable},
    freshness::lifetime,
};
use crate::auth::token::KeySet;

/// Most bytes of an answer. That of a large provider has 20 KiB.
const LONGEST_ANSWER: usize = 1 << 20;

/// How long the place of the keys is believed: issuers move it once in years, and a look costs one request.
const LOCATION_FOR: Duration = Duration::from_secs(3600);

/// Where to ask.
#[derive(Debug)]
pub(super) struct Source {
    web: Web,
    /// The issuer exactly as it names itself.
    issuer: String,
    /// Where its keys are, if that is configured.
    configured: Option<Url>,
    /// Where its keys are, as discovery said, and when.
    discovered: Mutex<Option<(Url, Instant)>>,
}

/// What discovery must say.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: Url,
}

impl Source {
    /// Keys of `issuer`.
    pub(super) const fn new(web: Web, issuer: String, configured: Option<Url>) -> Self {
        Self { web, issuer, configured, discovered: Mutex::new(None) }
    }

    /// The issuer.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Fetches the keys, and says how long they are good for.
    pub(super) async fn fetch(&self) -> Result<(KeySet, Duration), WebFault> {
        let location = match self.known() {
            Some(location) => location,
            None => self.discover().await?,
        };
        let read = self.read(&location).await;
        if read.is_err() {
            // It may have moved.
            *self.discovered.lock() = None;
        }
        read
    }

    fn known(&self) -> Option<Url> {
        if let Some(configured) = &self.configured {
            return Some(configured.clone());
        }
        let discovered = self.discovered.lock();
        discovered.as_ref().filter(|(_, when)| when.elapsed() < LOCATION_FOR).map(|(url, _)| url.clone())
    }

    async fn discover(&self) -> Result<Url, WebFault> {
        let fault = |text: &str| WebFault(format!("discovery: {text}"));
        let url = discovery(&self.issuer).ok_or_else(|| fault("the issuer is not an address"))?;
        if !is_askable(&url) {
            return Err(fault("the issuer is neither https nor on loopback"));
        }
        let answer = self.web.get(&url, LONGEST_ANSWER).await.map_err(|WebFault(text)| fault(&text))?;
        let location = named(&self.issuer, &url, &answer.body).map_err(fault)?;
        *self.discovered.lock() = Some((location.clone(), Instant::now()));
        Ok(location)
    }

    async fn read(&self, location: &Url) -> Result<(KeySet, Duration), WebFault> {
        let fault = |text: &str| WebFault(format!("its keys: {text}"));
        if !is_askable(location) {
            return Err(fault("the address is neither https nor on loopback"));
        }
        let answer = self.web.get(location, LONGEST_ANSWER).await.map_err(|WebFault(text)| fault(&text))?;
        let keys = KeySet::parse(&answer.body).map_err(|text| fault(&text))?;
        Ok((keys, lifetime(&answer.headers, SystemTime::now())))
    }
}

/// Where an issuer says where its keys are.
pub(super) fn discovery(issuer: &str) -> Option<Url> {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')).parse().ok()
}

/// Where the keys are, as the issuer says at `url`. It must be exactly the one that was asked (§4.3): else
/// one issuer could speak for another. One that is reached over TLS does not send us to where somebody else
/// could answer, nor to what listens on this machine; the host may be another.
fn named(issuer: &str, url: &Url, body: &[u8]) -> Result<Url, &'static str> {
    let discovery: Discovery =
        serde_json::from_slice(body).map_err(|_| "its answer is not JSON with `issuer` and `jwks_uri`")?;
    if discovery.issuer != issuer {
        return Err("it names another issuer than the configured one");
    }
    let keys = discovery.jwks_uri;
    if !is_askable(&keys) || (url.scheme() == "https" && keys.scheme() != "https") {
        return Err("`jwks_uri` is neither https nor, like the issuer itself, on loopback");
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_behind_tls_names_no_place_without() {
        for (issuer, keys, wanted) in [
            ("https://a.example", "https://b.example/keys", true),
            ("https://a.example", "http://127.0.0.1/keys", false),
            ("https://a.example", "http://a.example/keys", false),
            ("http://127.0.0.1", "http://localhost:1/keys", true),
            ("http://127.0.0.1", "https://b.example/keys", true),
            ("http://127.0.0.1", "http://b.example/keys", false),
            ("http://127.0.0.1", "https://user@b.example/keys", false),
        ] {
            let body = serde_json::json!({"issuer": issuer, "jwks_uri": keys}).to_string();
            let location = named(issuer, &issuer.parse().unwrap(), body.as_bytes());
            assert_eq!(location.is_ok(), wanted, "{issuer} {keys}");
        }
    }
}
