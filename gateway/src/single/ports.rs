//! Ports that are ours from the start and accept only when everything is ready: bound, but nobody listens.

use std::{io, net::SocketAddr};

use tokio::net::TcpSocket;

/// Ports that are kept from others until they are dropped. The edge, which binds with the same option
/// (`SO_REUSEADDR`), can take one over before that.
#[derive(Debug)]
pub(crate) struct Reserved {
    _bound: Vec<TcpSocket>,
}

impl Reserved {
    /// Binds all of them.
    ///
    /// # Errors
    /// The address that cannot be had, and why.
    pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<Self, (SocketAddr, io::Error)> {
        let bound = addresses.iter().map(|address| bind(*address).map_err(|error| (*address, error)));
        Ok(Self { _bound: bound.collect::<Result<_, _>>()? })
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Without it, what remains of closed connections would keep us from the port for a minute.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_reserved_port_refuses_connections_until_the_edge_takes_it_over() {
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let reserved = Reserved::bind(&[free]).unwrap();
        assert_eq!(TcpStream::connect(free).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        // The way of the edge: with the option, which is that of the standard library, too.
        let listener = TcpListener::bind(free).unwrap();
        drop(reserved);
        TcpStream::connect(free).unwrap();
        let (address, error) = Reserved::bind(&[free]).unwrap_err();
        assert_eq!((address, error.kind()), (free, io::ErrorKind::AddrInUse));
        drop(listener);
    }
}
