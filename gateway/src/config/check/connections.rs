//! What a connection may take, and whom its peer may speak for.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{Check, parse, raw};
use crate::config::{Connections, HostPattern, Hosts};

impl Check<'_> {
    /// Limits and times of connections.
    pub(super) fn connections(&mut self) -> Connections {
        Connections {
            max: self.value(&raw::MAX_CONNECTIONS, 10_000, parse::count),
            max_per_address: self.value(&raw::MAX_CONNECTIONS_PER_ADDRESS, None, count_or_none),
            header_timeout: self.value(&raw::HEADER_TIMEOUT, Duration::from_secs(10), parse::limit),
            idle_timeout: self.value(&raw::IDLE_TIMEOUT, Duration::from_secs(75), whole_seconds),
            trusted_proxies: self.list(&raw::TRUSTED_PROXIES, network),
            hosts: Hosts(self.list(&raw::HOSTS, host)),
        }
    }

    /// Bytes a second below which a body is too slow; 0: any is fast enough.
    pub(super) fn body_rate(&mut self) -> u64 {
        self.value(&raw::BODY_RATE, 1 << 10, |text| if text == "0" { Ok(0) } else { parse::bytes(text) })
    }
}

/// A whole number; 0 is none.
fn count_or_none(text: &str) -> Result<Option<usize>, String> {
    match text.parse() {
        Ok(0) => Ok(None),
        Ok(count) => Ok(Some(count)),
        Err(_) => Err(format!("{text:?} is not a whole number, 0 for no limit")),
    }
}

/// A time of at least a second, rounded up to whole ones: connections are not watched more finely.
fn whole_seconds(text: &str) -> Result<Duration, String> {
    let time = parse::interval(text)?;
    Ok(Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0)))
}

/// A network as `10.0.0.0/8`, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let address = |text: &str| text.parse::<IpAddr>().map(IpNet::from).ok();
    let network = text.parse::<IpNet>().ok().or_else(|| address(text));
    network.ok_or_else(|| format!("{text:?} is not a network like 10.0.0.0/8 or an address"))
}

/// A name as clients write it into `Host`, without a port; `*.` before it stands for all names below it.
fn host(text: &str) -> Result<HostPattern, String> {
    let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
    let bracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let fits = match bracketed {
        Some(address) => !below && address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        }),
    };
    match (fits, below) {
        (false, _) => {
            Err(format!("{text:?} is not a host like par.example or *.par.example, without a port"))
        }
        (true, false) => Ok(HostPattern::Exact(name.to_owned())),
        (true, true) => Ok(HostPattern::Below(format!(".{name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_without_ports() {
        assert_eq!(host("par.example"), Ok(HostPattern::Exact("par.example".to_owned())));
        assert_eq!(host("*.par.example"), Ok(HostPattern::Below(".par.example".to_owned())));
        assert_eq!(host("[::1]"), Ok(HostPattern::Exact("[::1]".to_owned())));
        assert!(host("127.0.0.1").is_ok() && host("localhost").is_ok());
        for text in ["*", "*.", "a:80", "http://a", "a/b", "a..b", ".a", "a.*.b", "[a]", "*.[::1]", "a b"] {
            assert!(host(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn networks_are_ranges_or_addresses() {
        assert_eq!(network("10.0.0.0/8"), Ok("10.0.0.0/8".parse().unwrap()));
        assert_eq!(network("127.0.0.1"), Ok("127.0.0.1/32".parse().unwrap()));
        assert_eq!(network("fd00::/8"), Ok("fd00::/8".parse().unwrap()));
        for text in ["10.0.0.0/33", "example.org", "10.0.0", ""] {
            assert!(network(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn idle_times_are_whole_seconds_and_counts_may_be_none() {
        assert_eq!(whole_seconds("75s"), Ok(Duration::from_secs(75)));
        assert_eq!(whole_seconds("1.2s"), Ok(Duration::from_secs(2)));
        assert!(whole_seconds("0").is_err() && whole_seconds("500ms").is_err());
        assert_eq!((count_or_none("0"), count_or_none("7")), (Ok(None), Ok(Some(7))));
        assert!(count_or_none("-1").is_err());
    }
}
