//! How long keys are good for: the headers of an answer enter, a time leaves. Pure.

use std::{
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

use reqwest::header::{AGE, CACHE_CONTROL, EXPIRES, HeaderMap, HeaderName};

use crate::webhooks::retry_after;

/// What an issuer may ask for. Less than a minute would let a mistake in its headers become load; more than a
/// day would keep a key that was taken back.
const BOUNDS: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(86_400);

/// Without a word of the issuer: what libraries for tokens commonly take.
const USUAL: Duration = Duration::from_secs(600);

/// The freshness lifetime (RFC 9111 §4.2.1) of an answer that has just come, within our bounds.
pub(super) fn lifetime(headers: &HeaderMap, now: SystemTime) -> Duration {
    let age = seconds(one(headers, &AGE).unwrap_or_default()).unwrap_or_default();
    let asked = max_age(headers).map(|life| life.saturating_sub(age)).or_else(|| expires(headers, now));
    asked.unwrap_or(USUAL).clamp(*BOUNDS.start(), *BOUNDS.end())
}

/// `max-age` of `Cache-Control`; what may not be kept at all is good for no time.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let mut life = None;
    for directive in lines.flat_map(|line| line.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let name = name.trim();
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        if name.eq_ignore_ascii_case("max-age") {
            // Of several the shortest, and one that cannot be read is none (RFC 9111 §4.2.1).
            let written = seconds(value.trim().trim_matches('"')).unwrap_or_default();
            life = Some(life.map_or(written, |life: Duration| life.min(written)));
        }
    }
    life
}

/// `Expires`; one that cannot be read is over (RFC 9111 §5.3).
fn expires(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = one(headers, &EXPIRES)?;
    let is_date = text.contains(',');
    Some(retry_after::parse(text, now).filter(|_| is_date).unwrap_or_default())
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn seconds(text: &str) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than a number has are more than any bound.
    is_number.then(|| text.parse().map_or(Duration::MAX, Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_says_how_long_its_keys_are_good_within_bounds() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_700);
        let date = "Sun, 06 Nov 1994 09:48:20 GMT";
        for (headers, wanted) in [
            (&[][..], 600),
            (&[("cache-control", "public, max-age=3600")], 3600),
            (&[("cache-control", "MAX-AGE = \"3600\", must-revalidate")], 3600),
            (&[("cache-control", "public"), ("cache-control", "max-age=7200, max-age=3600")], 3600),
            (&[("cache-control", "max-age=3600"), ("age", "600")], 3000),
            (&[("cache-control", "max-age=3600"), ("expires", "0")], 3600),
            (&[("cache-control", "max-age=5")], 60),
            (&[("cache-control", "max-age=-1")], 60),
            (&[("cache-control", "max-age=3600, no-store")], 60),
            (&[("cache-control", "no-cache")], 60),
            (&[("cache-control", "max-age=99999999999999999999999")], 86_400),
            (&[("cache-control", "s-maxage=7200")], 600),
            (&[("expires", date)], 3600),
            (&[("expires", "Sun, 06 Nov 1993 09:48:20 GMT")], 60),
            (&[("expires", "0")], 60),
            (&[("expires", "3600")], 60),
            (&[("expires", "soon")], 60),
        ] {
            let mut all = HeaderMap::new();
            for (name, value) in headers {
                all.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            assert_eq!(lifetime(&all, now), Duration::from_secs(wanted), "{headers:?}");
        }
    }
}
