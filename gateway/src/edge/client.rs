//! Who the client really is: the peer, or whom a trusted proxy speaks for.
//!
//! `X-Forwarded-For` is a list to which every proxy appends the peer that it saw. Whatever is left of the
//! address that the first of our own proxies appended was written by strangers. So the list is read from the
//! right, and the first address that is not one of a trusted proxy is the client's. `Forwarded` (RFC 7239) is
//! read likewise, but only where there is no `X-Forwarded-For`: most load balancers pass on a `Forwarded`
//! that a client made up.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, header::FORWARDED};
use pingora_proxy::Session;

use super::{Edge, upstream::peer};
use crate::config::Connections;

/// The header that load balancers append to.
pub(super) const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The scheme that the client used.
pub(super) const X_FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Addresses of one request that are looked at. A longer way through proxies does not exist.
const HOPS: usize = 32;

/// Where a request came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Client {
    /// The address; none where a trusted proxy did not say it in a way that can be read.
    pub(crate) address: Option<IpAddr>,
    /// Whether all of the way that we know of was under TLS.
    pub(crate) secure: bool,
}

impl Edge {
    /// Who sent a request.
    pub(crate) fn client(&self, session: &Session) -> Client {
        let has_tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        client(&self.connections, peer(session), has_tls, &session.req_header().headers)
    }

    /// Whether one of our own proxies sent a request.
    pub(super) fn is_proxied(&self, session: &Session) -> bool {
        peer(session).is_some_and(|peer| self.connections.trusts(peer.to_canonical()))
    }
}

fn client(rules: &Connections, peer: Option<IpAddr>, has_tls: bool, headers: &HeaderMap) -> Client {
    let peer = peer.map(|peer| peer.to_canonical());
    let Some(proxy) = peer.filter(|peer| rules.trusts(*peer)) else {
        return Client { address: peer, secure: has_tls };
    };
    if headers.contains_key(X_FORWARDED_FOR) {
        let address =
            first_stranger(rules, proxy, parts(headers, X_FORWARDED_FOR).map(|part| Some(part.trim())));
        return Client { address, secure: is_https(parts(headers, X_FORWARDED_PROTO).next()) };
    }
    if headers.contains_key(FORWARDED) {
        let elements = parts(headers, FORWARDED.as_str());
        let address = first_stranger(rules, proxy, elements.map(|element| pair(element, "for")));
        let nearest = parts(headers, FORWARDED.as_str()).next();
        return Client { address, secure: is_https(nearest.and_then(|element| pair(element, "proto"))) };
    }
    Client { address: Some(proxy), secure: is_https(parts(headers, X_FORWARDED_PROTO).next()) }
}

/// The parts of a list from the right to the left, over all headers of the name. What is no text is an empty
/// part.
fn parts<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().rev();
    values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','))
}

/// The first address, from the right, that is no trusted proxy's; the last one if all are. None if one on the
/// way there cannot be read: what is left of it was not written by one of ours.
fn first_stranger<'a>(
    rules: &Connections,
    proxy: IpAddr,
    hops: impl Iterator<Item = Option<&'a str>>,
) -> Option<IpAddr> {
    let mut last = proxy;
    for hop in hops.take(HOPS) {
        last = address(hop?)?;
        if !rules.trusts(last) {
            return Some(last);
        }
    }
    Some(last)
}

/// An address as proxies write it: bare, with a port, in brackets, in quotes.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim().trim_matches('"');
    let bracketed = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let parsed = bracketed.unwrap_or(bare).parse::<IpAddr>().ok();
    parsed
        .or_else(|| bare.parse::<SocketAddr>().ok().map(|place| place.ip()))
        .map(|address| address.to_canonical())
}

/// The value of a pair of an element of `Forwarded`.
fn pair<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    element.split(';').find_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

fn is_https(scheme: Option<&str>) -> bool {
    scheme.is_some_and(|scheme| scheme.trim().trim_matches('"').eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Hosts;

    fn rules() -> Connections {
        Connections {
            max: 1,
            max_per_address: None,
            header_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            hosts: Hosts::default(),
        }
    }

    fn told(peer: &str, has_tls: bool, lines: &[(&'static str, &'static str)]) -> (Option<String>, bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let client = client(&rules(), Some(peer.parse().unwrap()), has_tls, &headers);
        (client.address.map(|address| address.to_string()), client.secure)
    }

    fn address_of(peer: &str, lines: &[(&'static str, &'static str)]) -> Option<String> {
        told(peer, false, lines).0
    }

    #[test]
    fn strangers_speak_for_themselves_whatever_they_say() {
        for line in [
            ("x-forwarded-for", "1.1.1.1"),
            ("forwarded", "for=1.1.1.1;proto=https"),
            ("x-forwarded-proto", "https"),
        ] {
            assert_eq!(told("9.9.9.9", false, &[line]), (Some("9.9.9.9".to_owned()), false), "{line:?}");
        }
        assert_eq!(
            told("9.9.9.9", true, &[("x-forwarded-proto", "http")]),
            (Some("9.9.9.9".to_owned()), true)
        );
        assert_eq!(told("::ffff:9.9.9.9", false, &[]), (Some("9.9.9.9".to_owned()), false));
    }

    #[test]
    fn of_a_trusted_proxy_the_rightmost_address_that_is_not_ours_counts() {
        for (lines, wanted) in [
            (&[("x-forwarded-for", "1.1.1.1")][..], "1.1.1.1"),
            (&[("x-forwarded-for", "6.6.6.6, 1.1.1.1")], "1.1.1.1"),
            (&[("x-forwarded-for", "6.6.6.6, 1.1.1.1, 10.0.0.9")], "1.1.1.1"),
            (&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.1.1.1,10.2.2.2")], "1.1.1.1"),
            (&[("x-forwarded-for", "1.1.1.1:4711")], "1.1.1.1"),
            (&[("x-forwarded-for", "[2001:db8::1]:4711")], "2001:db8::1"),
            (&[("x-forwarded-for", "2001:db8::1")], "2001:db8::1"),
            (&[("x-forwarded-for", "10.0.0.5, 10.0.0.9")], "10.0.0.5"),
            (&[("forwarded", "for=6.6.6.6, for=\"[2001:db8::1]:80\";proto=https;by=_x")], "2001:db8::1"),
            (&[("forwarded", "proto=http; For=1.1.1.1")], "1.1.1.1"),
            (&[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "1.1.1.1")], "1.1.1.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(address_of("10.0.0.1", lines).as_deref(), Some(wanted), "{lines:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_nobody_and_never_what_is_left_of_it() {
        for lines in [
            &[("x-forwarded-for", "6.6.6.6, unknown")][..],
            &[("x-forwarded-for", "6.6.6.6, ")],
            &[("x-forwarded-for", "")],
            &[("forwarded", "for=6.6.6.6, for=_hidden")],
            &[("forwarded", "for=6.6.6.6, proto=https")],
        ] {
            assert_eq!(address_of("10.0.0.1", lines), None, "{lines:?}");
        }
    }

    #[test]
    fn the_nearest_proxy_says_whether_the_client_used_tls() {
        for (lines, wanted) in [
            (&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https")][..], true),
            (&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https, http")], false),
            (&[("x-forwarded-for", "1.1.1.1")], false),
            (&[("x-forwarded-proto", "HTTPS")], true),
            (&[("forwarded", "for=6.6.6.6;proto=https, for=1.1.1.1;proto=http")], false),
            (&[("forwarded", "for=1.1.1.1;proto=\"https\"")], true),
        ] {
            assert_eq!(told("10.0.0.1", false, lines).1, wanted, "{lines:?}");
        }
        assert!(
            !told("10.0.0.1", true, &[("x-forwarded-for", "1.1.1.1")]).1,
            "TLS to the proxy is not TLS to the client"
        );
    }
}
