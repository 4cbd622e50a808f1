//! `PAR_SOCKET`: the door for people and programs on this machine. Connections in; those of the same user that are no
//! agent's go to the application that answers at every door.
//!
//! The framework's own listener would remove and bind the socket's file once more and let everybody in. This one takes
//! what is bound already, asks the kernel who has connected, and answers until the process ends: also while calls are
//! drained, when whoever asks how far it is shall be told, and no other `par` may take the socket for abandoned.

mod gathered;

use std::{
    io,
    os::unix::net::{UnixListener as Bound, UnixStream as Accepted},
    sync::Arc,
    time::Duration,
};

use pingora_core::{apps::ServerApp as _, server::ShutdownWatch};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use super::{Opening, protocol::EitherHttp};
use crate::auth::neighbour;
use gathered::Gathered;

/// When accepting is tried again after it failed: for want of descriptors, most likely, and others give theirs back.
const AGAIN: Duration = Duration::from_millis(50);

/// The listener and what answers behind it.
pub(super) struct LocalDoor {
    listener: Bound,
    opens: Opening,
    leaves: CancellationToken,
    app: Arc<EitherHttp>,
}

impl LocalDoor {
    /// Opens and is left as told, once it is [served](Self::serve).
    pub(super) fn new(
        listener: Bound,
        (opens, leaves): (Opening, CancellationToken),
        app: EitherHttp,
    ) -> Self {
        Self { listener, opens, leaves, app: Arc::new(app) }
    }

    /// Answers until whoever connects is left to a successor: mostly for ever.
    pub(super) async fn serve(self) {
        let Self { listener, opens, leaves, app } = self;
        if !opens.opened().await {
            return;
        }
        let listener = match UnixListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(event = "inner_server_failed", name = "local", %error);
                return;
            }
        };
        let (_open, shutdown) = watch::channel(false);
        loop {
            let accepted = tokio::select! {
                biased;
                () = leaves.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let accepted = match accepted {
                Ok((stream, _)) => stream.into_std(),
                Err(error) => Err(error),
            };
            match accepted {
                Ok(stream) => {
                    let (app, shutdown) = (Arc::clone(&app), shutdown.clone());
                    pingora_runtime::current_handle().spawn(async move {
                        if let Err(error) = answer(&app, stream, &shutdown).await {
                            tracing::info!(event = "local_connection_failed", %error);
                        }
                    });
                }
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}

/// Answers one connection, on the thread that was chosen for it: its events come to the same thread.
async fn answer(app: &Arc<EitherHttp>, stream: Accepted, shutdown: &ShutdownWatch) -> io::Result<()> {
    let stream = UnixStream::from_std(stream)?;
    if let Err(stranger) = neighbour::admit(&stream) {
        tracing::warn!(
            event = "inner_socket_refused",
            reason = stranger.text(),
            peer = ?stream.peer_cred().ok(),
            "somebody else spoke to the local socket"
        );
        return Ok(());
    }
    // The application keeps what it is given.
    drop(app.process_new(Box::new(Gathered::new(stream)), shutdown).await);
    Ok(())
}
