//! Who may call from a web page.

use std::time::Duration;

use http::HeaderValue;
use url::Url;

use super::{Check, parse, raw};
use crate::config::Cors;

/// Methods of the routes that pages call.
const METHODS: &str = "GET, POST, PUT, DELETE";

/// Headers of the contract that pages may send.
const HEADERS: &str =
    "Authorization, Content-Type, X-Request-ID, X-PAR-Session, X-PAR-Timeout-Ms, traceparent";

impl Check<'_> {
    /// The rules for pages of other origins, if any may call.
    pub(super) fn cors(&mut self) -> Option<Cors> {
        let origins = self.list(&raw::CORS_ORIGINS, origin);
        let methods = self.list(&raw::CORS_METHODS, token);
        let headers = self.list(&raw::CORS_HEADERS, token);
        let credentials = self.value(&raw::CORS_CREDENTIALS, false, parse::boolean);
        let max_age = self.value(&raw::CORS_MAX_AGE, Duration::from_secs(600), parse::time);
        if origins.is_empty() {
            return None;
        }
        let all = origins.iter().any(|origin| origin == "*");
        if all && credentials {
            self.fault(
                &raw::CORS_CREDENTIALS,
                "every page could act for its visitors: name the origins, or leave credentials off",
            );
        }
        let joined = |names: Vec<String>, default: &'static str| {
            let text = names.join(", ");
            // Tokens are always header values.
            HeaderValue::try_from(text)
                .ok()
                .filter(|text| !text.is_empty())
                .unwrap_or(HeaderValue::from_static(default))
        };
        Some(Cors {
            origins: (!all).then_some(origins),
            methods: joined(methods, METHODS),
            headers: joined(headers, HEADERS),
            credentials,
            max_age: HeaderValue::from(max_age.as_secs()),
        })
    }
}

/// `*`, or scheme, host and port as browsers send them.
fn origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("{text:?} is not an origin: {error}"))?;
    let plain = url.origin().ascii_serialization();
    if matches!(url.scheme(), "http" | "https") && plain == text.trim_end_matches('/') {
        Ok(plain)
    } else {
        Err(format!("{text:?} is not an origin like https://app.example:8443"))
    }
}

/// A name of a method or a header (RFC 9110 §5.6.2).
fn token(text: &str) -> Result<String, String> {
    let belongs = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.bytes().all(belongs) { Ok(text.to_owned()) } else { Err(format!("{text:?} is not a name")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_send_them() {
        for good in ["*", "https://app.example", "http://localhost:3000", "https://app.example:8443"] {
            assert_eq!(origin(good).as_deref(), Ok(good));
        }
        for bad in [
            "app.example",
            "https://app.example/path",
            "https://user@app.example",
            "null",
            "ftp://x",
            "https://APP.example",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
