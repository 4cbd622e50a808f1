//! What a connection may take, and whom its peer may speak for.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

/// Rules for connections, and for what a head says about where it came from and where it was to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connections {
    /// Most connections at once.
    pub(crate) max: usize,
    /// Most of them from one address; none: no limit.
    pub(crate) max_per_address: Option<usize>,
    /// Whole time of one head, and of a new connection until its first head is there.
    pub(crate) header_timeout: Duration,
    /// Longest silence between two requests; whole seconds, at least one.
    pub(crate) idle_timeout: Duration,
    /// Peers whose word counts about who the client is.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Names that a request may be for.
    pub(crate) hosts: Hosts,
}

impl Connections {
    /// Whether a peer speaks for others.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&peer))
    }
}

/// Names that a request may be for; none: any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hosts(pub(crate) Vec<HostPattern>);

/// One name, or all names below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostPattern {
    /// This name and no other.
    Exact(String),
    /// What is before this text, dot included, may be anything.
    Below(String),
}

impl Hosts {
    /// Whether a `Host` or an authority is one of the names. Its port does not matter, nor does the case, nor
    /// a dot at the end, which is the same name to a resolver.
    pub(crate) fn allow(&self, authority: &str) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let name = match authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) | None => authority,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        self.0.iter().any(|pattern| match pattern {
            HostPattern::Exact(wanted) => name.eq_ignore_ascii_case(wanted),
            HostPattern::Below(end) => name
                .len()
                .checked_sub(end.len())
                .and_then(|at| Some((name.get(..at)?, name.get(at..)?)))
                .is_some_and(|(begin, rest)| !begin.is_empty() && rest.eq_ignore_ascii_case(end)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_exact_names_or_names_below_one() {
        let hosts = Hosts(vec![
            HostPattern::Exact("par.example".to_owned()),
            HostPattern::Exact("[::1]".to_owned()),
            HostPattern::Below(".agents.example".to_owned()),
        ]);
        for host in
            ["par.example", "PAR.example:8000", "par.example.", "[::1]", "[::1]:80", "a.agents.example:1"]
        {
            assert!(hosts.allow(host), "{host}");
        }
        for host in
            ["", "example", "xpar.example", "par.example.evil", "agents.example", ".agents.example", "::1"]
        {
            assert!(!hosts.allow(host), "{host}");
        }
        assert!(Hosts::default().allow("anything"));
    }

    #[test]
    fn only_peers_in_a_trusted_network_speak_for_others() {
        let rules = Connections {
            max: 1,
            max_per_address: None,
            header_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            hosts: Hosts::default(),
        };
        for (peer, wanted) in
            [("10.9.9.9", true), ("11.0.0.1", false), ("fd12::1", true), ("::1", false), ("127.0.0.1", false)]
        {
            assert_eq!(rules.trusts(peer.parse().unwrap()), wanted, "{peer}");
        }
    }
}
