//! The operator of a runtime without identity: who holds the operator token, and in `--dev` who sits at the machine.
//!
//! Everything here is pure except [`OperatorToken::create`], which writes the token's file.

use std::{
    fmt,
    fs::{DirBuilder, File, OpenOptions},
    hint::black_box,
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use http::{HeaderMap, header};

use super::Role;

/// The token that makes its holder an operator.
#[derive(Clone)]
pub(crate) struct OperatorToken(String);

impl OperatorToken {
    /// A token that was configured.
    pub(crate) fn given(token: &str) -> Self {
        Self(token.to_owned())
    }

    /// Makes a new token of 256 random bits and writes it to `file`, mode 0600, replacing an older one atomically.
    /// Missing directories are made, readable for the owner only.
    pub(crate) fn create(file: &Path) -> io::Result<Self> {
        let token = Self(random_hex()?);
        let directory = file.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let beside = file.with_extension(format!("{}.new", std::process::id()));
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let written = (|| {
            let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            open.write_all(token.0.as_bytes())?;
            open.write_all(b"\n")?;
            open.sync_all()?;
            std::fs::rename(&beside, file)?;
            File::open(directory)?.sync_all()
        })();
        if let Err(error) = written {
            // The failure itself is reported; a leftover would be replaced by the next start.
            drop(std::fs::remove_file(&beside));
            return Err(error);
        }
        Ok(token)
    }

    /// Whether this is the token. The time tells the length at most.
    pub(crate) fn is(&self, given: &str) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), given.as_bytes());
        let differing = ours.iter().zip(theirs).fold(0, |bits, (a, b)| black_box(bits | (a ^ b)));
        ours.len() == theirs.len() && !ours.is_empty() && black_box(differing) == 0
    }

    /// The token itself, to keep it out of log lines. Whoever calls this answers for where it goes.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken(…)")
    }
}

fn random_hex() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(hex::encode(bytes))
}

/// What the `--dev` rule looks at: a browser page of another origin and a proxy must not inherit the rights of who
/// sits at the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DevFacts {
    /// `--dev`.
    pub(crate) dev: bool,
    /// The connection comes from this machine.
    pub(crate) peer_is_loopback: bool,
    /// It was meant for this machine: a name of the attacker that resolves to loopback does not count.
    pub(crate) host_is_loopback: bool,
    /// A page asks.
    pub(crate) has_origin: bool,
    /// A page of another site asks.
    pub(crate) is_cross_site: bool,
    /// A proxy asks for somebody else.
    pub(crate) has_forwarded: bool,
}

impl DevFacts {
    /// Reads the facts of one request. `authority` is the one of the request target (HTTP/2, absolute form), which
    /// stands for `Host` where it is present; a request in which both are present and differ is not local.
    pub(crate) fn read(
        dev: bool,
        peer: Option<IpAddr>,
        authority: Option<&str>,
        headers: &HeaderMap,
    ) -> Self {
        let mut hosts = headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
        let host = match (authority, hosts.next(), hosts.next()) {
            (Some(authority), None, _) => Some(authority),
            (Some(authority), Some(host), None) if host == authority => Some(authority),
            (None, host, None) => host,
            _ => None,
        };
        let cross_site = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"cross-site");
        Self {
            dev,
            peer_is_loopback: peer.is_some_and(|peer| peer.to_canonical().is_loopback()),
            host_is_loopback: host.is_some_and(is_loopback_host),
            has_origin: headers.contains_key(header::ORIGIN),
            is_cross_site: headers.get_all("sec-fetch-site").iter().any(cross_site),
            has_forwarded: headers.contains_key(header::FORWARDED)
                || headers.keys().any(|name| name.as_str().starts_with("x-forwarded-")),
        }
    }

    /// Whether whoever asks sits at the machine.
    pub(crate) const fn is_local(self) -> bool {
        self.dev
            && self.peer_is_loopback
            && self.host_is_loopback
            && !self.has_origin
            && !self.is_cross_site
            && !self.has_forwarded
    }
}

/// The role with identity off: everybody is a caller, and who holds the token or sits at a `--dev` machine an
/// operator.
pub(crate) fn decide(facts: DevFacts, token: Option<&str>, expected: &OperatorToken) -> Role {
    if facts.is_local() || token.is_some_and(|token| expected.is(token)) {
        Role::Operator
    } else {
        Role::Caller
    }
}

/// The token of an `Authorization` header: `Bearer <token>`, the scheme in any case. More than one header is none.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a `Host` names this machine: `localhost` or a loopback address, with or without a port.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (address, rest.strip_prefix(':').or(rest.is_empty().then_some("0"))),
        None => host.split_once(':').map_or((host, Some("0")), |(name, port)| (name, Some(port))),
    };
    let bracketed = host.starts_with('[');
    let local = match name.parse::<IpAddr>() {
        Ok(address) => address.is_ipv6() == bracketed && address.to_canonical().is_loopback(),
        Err(_) => !bracketed && name.eq_ignore_ascii_case("localhost"),
    };
    local && port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn role(dev: bool, peer: &str, pairs: &[(&'static str, &'static str)]) -> Role {
        let headers = headers(pairs);
        let facts = DevFacts::read(dev, peer.parse().ok(), None, &headers);
        decide(facts, bearer(&headers), &OperatorToken::given("right"))
    }

    #[test]
    fn only_names_of_this_machine_are_loopback_hosts() {
        for host in
            ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:8000", "127.9.9.9", "[::1]", "[::1]:8000"]
        {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            ":8000",
            "localhost.evil.example",
            "localhost.",
            "a.localhost",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io:8000",
            "evil.example:8000",
            "localhost:8000@evil.example",
            "localhost:",
            "localhost:80:80",
            "::1",
            "[::1",
            "[::1]x",
            "[127.0.0.1]",
            "[localhost]",
            "[::2]:1",
            "10.0.0.1",
            "0.0.0.0",
            "2130706433",
            "0x7f.1",
            "127.1",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }

    #[test]
    fn the_token_makes_an_operator_anywhere() {
        for (authorization, wanted) in [
            ("Bearer right", Role::Operator),
            ("bearer right", Role::Operator),
            ("Bearer wrong", Role::Caller),
            ("Bearer righ", Role::Caller),
            ("Bearer rightx", Role::Caller),
            ("Bearer ", Role::Caller),
            ("Basic right", Role::Caller),
            ("right", Role::Caller),
        ] {
            assert_eq!(
                role(false, "10.0.0.1", &[("authorization", authorization)]),
                wanted,
                "{authorization}"
            );
        }
        let twice = headers(&[("authorization", "Bearer right"), ("authorization", "Bearer right")]);
        assert_eq!(bearer(&twice), None);
        assert!(!OperatorToken::given("").is(""));
    }

    #[test]
    fn in_dev_only_who_sits_at_the_machine_is_an_operator() {
        let local = ("host", "localhost:8000");
        for (dev, peer, pairs, wanted) in [
            (true, "127.0.0.1", &[local][..], Role::Operator),
            (true, "::1", &[("host", "[::1]:8000")], Role::Operator),
            (true, "::ffff:127.0.0.1", &[local], Role::Operator),
            (true, "127.0.0.1", &[local, ("sec-fetch-site", "same-origin")], Role::Operator),
            (false, "127.0.0.1", &[local], Role::Caller),
            (true, "10.0.0.1", &[local], Role::Caller),
            (true, "a socket", &[local], Role::Caller),
            (true, "127.0.0.1", &[], Role::Caller),
            (true, "127.0.0.1", &[local, local], Role::Caller),
            (true, "127.0.0.1", &[("host", "rebound.example:8000")], Role::Caller),
            (true, "127.0.0.1", &[local, ("origin", "null")], Role::Caller),
            (true, "127.0.0.1", &[local, ("origin", "http://localhost:8000")], Role::Caller),
            (true, "127.0.0.1", &[local, ("sec-fetch-site", "Cross-Site")], Role::Caller),
            (true, "127.0.0.1", &[local, ("forwarded", "for=1.2.3.4")], Role::Caller),
            (true, "127.0.0.1", &[local, ("x-forwarded-for", "127.0.0.1")], Role::Caller),
            (true, "127.0.0.1", &[local, ("x-forwarded-proto", "https")], Role::Caller),
        ] {
            assert_eq!(role(dev, peer, pairs), wanted, "{dev} {peer} {pairs:?}");
        }
    }

    #[test]
    fn the_authority_of_http_2_stands_for_the_host() {
        let read = |authority, pairs: &[_]| {
            DevFacts::read(true, "::1".parse().ok(), Some(authority), &headers(pairs)).host_is_loopback
        };
        assert!(read("localhost:8000", &[]));
        assert!(read("localhost:8000", &[("host", "localhost:8000")]));
        assert!(!read("localhost:8000", &[("host", "evil.example")]));
        assert!(!read("evil.example", &[("host", "localhost:8000")]));
    }

    #[test]
    fn a_created_token_is_new_and_private() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("state/operator.token");
        let first = OperatorToken::create(&file).unwrap();
        let second = OperatorToken::create(&file).unwrap();
        assert!(!second.is(first.reveal()));
        let written = std::fs::read_to_string(&file).unwrap();
        assert!(second.is(written.trim()));
        assert_eq!(written.trim().len(), 64);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(format!("{second:?}"), "OperatorToken(…)");
    }
}
