//! Ports that are ours from the start and accept only when everything is ready: bound, but nobody listens.

use std::{io, net::SocketAddr, os::fd::OwnedFd};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

/// Keeps a port from others. Connections to it are refused until somebody listens on the socket.
///
/// # Errors
/// The address cannot be had.
pub(crate) fn reserved(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    // Without it, what remains of closed connections would keep us from the port for a minute.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_reserved_port_refuses_connections_until_somebody_listens() {
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let socket = reserved(free).unwrap();
        assert_eq!(TcpStream::connect(free).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        net::listen(&socket, 1).unwrap();
        TcpStream::connect(free).unwrap();
        assert_eq!(reserved(free).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
