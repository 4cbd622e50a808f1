//! On whose account a call goes: the tenant of whoever was proved to call, else the address that it comes from.

use std::{
    cell::RefCell,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use super::{Edge, ctx::Ctx};

/// Names of addresses that each thread of the edge remembers. A name that is not remembered costs one allocation.
const REMEMBERED: usize = 256;

type Name = (IpAddr, Arc<str>);

thread_local! {
    static NAMES: RefCell<Vec<Option<Name>>> = const { RefCell::new(Vec::new()) };
}

impl Edge {
    /// The tenant of a call.
    pub(super) fn tenant(ctx: &Ctx) -> Arc<str> {
        match (&ctx.caller, ctx.client.address) {
            (Some(caller), _) => Arc::clone(&caller.tenant),
            (None, Some(address)) => remembered(network(address)),
            // A trusted proxy that does not say for whom it speaks.
            (None, None) => Arc::from("unknown"),
        }
    }
}

/// An address of IPv4; of IPv6 the network of 64 bits, since whoever has one of its addresses has them all.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, _, _, _, _] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

fn name(network: IpAddr) -> Arc<str> {
    match network {
        IpAddr::V4(address) => Arc::from(address.to_string()),
        IpAddr::V6(address) => Arc::from(format!("{address}/64")),
    }
}

/// The name of a network, from a small table in which each has one place.
fn remembered(network: IpAddr) -> Arc<str> {
    let place = match network {
        IpAddr::V4(address) => address.octets().into_iter().fold(0, place),
        IpAddr::V6(address) => address.octets().into_iter().fold(0, place),
    } % REMEMBERED;
    NAMES.with_borrow_mut(|names| {
        if names.is_empty() {
            names.resize(REMEMBERED, None);
        }
        match names.get_mut(place) {
            Some(Some((known, name))) if *known == network => Arc::clone(name),
            Some(other) => {
                let name = name(network);
                *other = Some((network, Arc::clone(&name)));
                name
            }
            None => name(network),
        }
    })
}

fn place(sum: usize, octet: u8) -> usize {
    sum.wrapping_mul(31).wrapping_add(usize::from(octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_tenant_and_of_ipv6_its_network_is() {
        for (address, wanted) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ] {
            let address = network(address.parse().unwrap());
            assert_eq!((&*remembered(address), &*remembered(address)), (wanted, wanted));
        }
    }

    #[test]
    fn addresses_that_share_a_place_are_not_taken_for_each_other() {
        for number in 0..100_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            assert_eq!(*remembered(address), *address.to_string());
        }
        let first = remembered("127.0.0.1".parse().unwrap());
        assert!(Arc::ptr_eq(&first, &remembered("127.0.0.1".parse().unwrap())));
    }
}
