//! Packets out, by UDP or a Unix datagram socket. Nothing here waits: what the kernel does not take at once is lost.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::unix::net::UnixDatagram,
    time::Duration,
};

use crate::config::telemetry::SinkAddress;

/// How long a name may take to look up: a round that waits for longer is left out.
const LOOKUP: Duration = Duration::from_secs(2);

/// A socket that leads to one receiver.
#[derive(Debug)]
pub(super) enum Socket {
    /// UDP.
    Udp(UdpSocket),
    /// Unix.
    Unix(UnixDatagram),
}

impl Socket {
    /// Leads to an address; names are looked up.
    pub(super) async fn to(address: &SinkAddress) -> io::Result<Self> {
        match address {
            SinkAddress::Udp(address) => udp(*address),
            SinkAddress::Named(name) => {
                let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host(name.as_str())).await;
                let mut found = found.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
                udp(found.next().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?)
            }
            SinkAddress::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                socket.connect(path)?;
                Ok(Self::Unix(socket))
            }
        }
    }

    /// Sends one packet now or never.
    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(packet),
            Self::Unix(socket) => socket.send(packet),
        }
        .map(drop)
    }
}

fn udp(address: SocketAddr) -> io::Result<Socket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    Ok(Socket::Udp(socket))
}
