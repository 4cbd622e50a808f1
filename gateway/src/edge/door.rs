//! Which port a request came to.

use std::net::SocketAddr;

use tokio::sync::oneshot;

/// The ports that the edge answers on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// The main port: everything over HTTP.
    Http,
    /// gRPC alone.
    Grpc,
    /// A port for the UI of the one package, at its root.
    Ui {
        /// Its number.
        port: u16,
    },
}

/// A port that the edge listens on.
#[derive(Debug)]
pub(crate) struct Doorway {
    /// What comes in there.
    pub(crate) door: Door,
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// Listens as soon as this is told; none: from the start.
    pub(crate) opens: Option<oneshot::Receiver<()>>,
}
