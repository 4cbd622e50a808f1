//! How many connections there are at once, in all and from one address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

/// The places for connections.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    most_per_address: Option<usize>,
    taken: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// All are taken.
    All,
    /// All that one address may take.
    Address,
}

/// One place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    places: Arc<Places>,
    address: Option<IpAddr>,
}

impl Places {
    pub(super) fn new(most: usize, most_per_address: Option<usize>) -> Arc<Self> {
        let addresses = Mutex::new(HashMap::new());
        Arc::new(Self { most, most_per_address, taken: AtomicUsize::new(0), addresses })
    }

    /// A place for a connection from `address`; none: its address does not count.
    pub(super) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Permit, Full> {
        let most = self.most;
        let more = |taken| if taken < most { Some(taken + 1) } else { None };
        self.taken.fetch_update(Relaxed, Relaxed, more).map_err(|_taken| Full::All)?;
        let mut permit = Permit { places: Arc::clone(self), address: None };
        let (Some(most), Some(address)) = (self.most_per_address, address.map(source)) else {
            return Ok(permit);
        };
        let mut addresses = self.addresses.lock();
        let taken = addresses.entry(address).or_insert(0);
        if *taken >= most {
            // Dropping the permit gives back the place.
            return Err(Full::Address);
        }
        *taken += 1;
        permit.address = Some(address);
        Ok(permit)
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Relaxed);
        let Some(address) = self.address else { return };
        let mut addresses = self.places.addresses.lock();
        if let Some(taken) = addresses.get_mut(&address) {
            *taken -= 1;
            if *taken == 0 {
                addresses.remove(&address);
            }
        }
    }
}

/// What counts as one source: an address, and in IPv6 a /64, which is the least that anybody is given.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "it is what permits are asked for with")]
    fn from(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_place_is_given_back_whatever_became_of_its_connection() {
        let places = Places::new(2, None);
        let first = places.take(from("10.0.0.1")).unwrap();
        let second = places.take(from("10.0.0.1")).unwrap();
        assert_eq!(places.take(from("10.0.0.2")).unwrap_err(), Full::All);
        drop(first);
        let third = places.take(from("10.0.0.2")).unwrap();
        assert_eq!(places.taken(), 2);
        drop((second, third));
        assert_eq!(places.taken(), 0);
    }

    #[test]
    fn one_address_takes_no_more_than_its_share() {
        let places = Places::new(10, Some(1));
        let one = places.take(from("10.0.0.1")).unwrap();
        assert_eq!(places.take(from("10.0.0.1")).unwrap_err(), Full::Address);
        assert_eq!(
            places.take(from("::ffff:10.0.0.1")).unwrap_err(),
            Full::Address,
            "the same in another dress"
        );
        let other = places.take(from("10.0.0.2")).unwrap();
        let unnamed = (places.take(None).unwrap(), places.take(None).unwrap());
        assert_eq!(places.taken(), 4, "those that were refused take no place");
        drop((one, other, unnamed));
        assert!(places.take(from("10.0.0.1")).is_ok());
        assert!(places.addresses.lock().is_empty(), "addresses that are gone are forgotten");
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let places = Places::new(10, Some(1));
        let _one = places.take(from("2001:db8:1:2::1")).unwrap();
        assert_eq!(places.take(from("2001:db8:1:2:ffff::9")).unwrap_err(), Full::Address);
        assert!(places.take(from("2001:db8:1:3::1")).is_ok());
    }
}
