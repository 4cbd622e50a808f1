//! Which port a request came to, or whether to the local socket.

use std::{
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixListener},
};

use tokio::sync::oneshot;

/// The ports and the socket that the edge answers on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// The main port: everything over HTTP.
    Http,
    /// `PAR_SOCKET`: the same, for the same user.
    Local,
    /// gRPC alone.
    Grpc,
    /// A port for the UI of the one package, at its root.
    Ui {
        /// Its number.
        port: u16,
    },
}

/// Everything that the edge listens on.
#[derive(Debug)]
pub(crate) struct Doors {
    /// Ports.
    pub(crate) ports: Vec<Doorway>,
    /// `PAR_SOCKET`, bound and non-blocking.
    pub(crate) local: UnixListener,
}

/// A port that the edge listens on.
#[derive(Debug)]
pub(crate) struct Doorway {
    /// What comes in there.
    pub(crate) door: Door,
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// The socket that listens there; none: it is bound when the door opens.
    pub(crate) socket: Option<OwnedFd>,
    /// Listens as soon as this is told; none: from the start.
    pub(crate) opens: Option<oneshot::Receiver<()>>,
}
