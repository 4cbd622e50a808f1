//! Names of hosts, looked up so that none leads to what only this host's cloud answers: an index may name any host, and
//! whoever owns a name chooses its address.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::package::source::is_hosts_own;

/// The system's resolver, without link-local addresses and those of metadata services.
#[derive(Debug)]
pub(super) struct Elsewhere;

impl Resolve for Elsewhere {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed = allowed(found.map(|address| address.ip()))?;
            let addresses: Addrs = Box::new(allowed.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// What may be asked of what was found; an error if that is nothing.
fn allowed(found: impl Iterator<Item = IpAddr>) -> io::Result<Vec<IpAddr>> {
    let allowed: Vec<IpAddr> = found.filter(|address| !is_hosts_own(*address)).collect();
    if allowed.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the name has no address, or only link-local ones, which are refused",
        ));
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_to_the_hosts_own_addresses() {
        let addresses =
            |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let own = addresses(&["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "fd00:ec2::254"]);
        assert!(allowed(own.clone().into_iter()).is_err());
        let others = addresses(&["127.0.0.1", "10.0.0.1", "2001:db8::1"]);
        assert_eq!(allowed(own.into_iter().chain(others.clone())).unwrap(), others);
    }
}
