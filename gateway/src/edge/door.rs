//! Which port a request came to, or whether to the local socket.

use std::{
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixListener},
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

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
    /// When that one opens.
    pub(crate) local_opens: Opening,
    /// Who connects there from then on is left to a successor.
    pub(crate) leaves_local: CancellationToken,
}

/// A port that the edge listens on.
#[derive(Debug)]
pub(crate) struct Doorway {
    /// What comes in there.
    pub(crate) door: Door,
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// The socket that listens there, or is bound to it and will listen when the door opens.
    pub(crate) socket: OwnedFd,
    /// When it opens.
    pub(crate) opens: Opening,
}

/// When a door opens.
#[derive(Debug)]
pub(crate) enum Opening {
    /// From the start.
    AtOnce,
    /// Listens as soon as this is told, and refuses connections until then; never if it is dropped.
    Told(oneshot::Receiver<()>),
    /// Listens already, for the process that this one was before. Connections wait in the kernel's queue until this says
    /// that there is something to answer.
    Kept(CancellationToken),
}

impl Opening {
    /// Waits for it. False: it never opens.
    pub(super) async fn opened(self) -> bool {
        match self {
            Self::AtOnce => true,
            Self::Told(told) => told.await.is_ok(),
            Self::Kept(settled) => {
                settled.cancelled().await;
                true
            }
        }
    }
}
