//! Sockets of ours that are files: that of the management side, where `par` itself speaks and nobody else, and
//! `PAR_SOCKET`, which the edge serves (`edge/local.rs`).

use std::{
    fs, io,
    os::fd::OwnedFd,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixListener as Bound,
    },
    path::{Path, PathBuf},
};

use axum::serve::Listener;
use tokio::net::{UnixListener, UnixStream, unix::SocketAddr};

use crate::{auth::neighbour, sockets::BACKLOG};

/// A listener that drops connections of others than ourselves.
#[derive(Debug)]
pub(crate) struct Guarded(UnixListener);

/// The control socket: in a directory with an unguessable name, for `par` itself.
pub(crate) fn control(run_dir: &Path) -> io::Result<(Guarded, PathBuf)> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let directory = run_dir.join(hex::encode(random));
    fs::create_dir_all(&directory)?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
    let path = directory.join("control.sock");
    Ok((Guarded(UnixListener::bind(&path)?), path))
}

/// `PAR_SOCKET`, bound: whoever connects from now on is answered as soon as the edge is there. A socket that nobody
/// answers is replaced. One that was given is taken as it is: whoever has made it answers for where it is and who may
/// connect.
pub(crate) fn local(path: &Path, given: Option<OwnedFd>) -> io::Result<Bound> {
    if let Some(given) = given {
        return Ok(given.into());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it exists and is no socket"));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another par answers there"));
        }
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = Bound::bind(path)?;
    // Whoever does not fit into the queue of a Unix socket is refused at once.
    rustix::net::listen(&listener, BACKLOG)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Runs a server of ours to its end, which is told if it should not have come.
pub(crate) async fn serving(name: &'static str, server: impl Future<Output = io::Result<()>>) {
    if let Err(error) = server.await {
        tracing::error!(event = "inner_server_failed", name, %error);
    }
}

impl Listener for Guarded {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok((stream, address)) if neighbour::is_ourselves(&stream) => return (stream, address),
                Ok((stream, _)) => {
                    tracing::warn!(event = "inner_socket_refused", peer = ?stream.peer_cred().ok(), "somebody else spoke to an inner socket");
                }
                // Out of descriptors, most likely: waiting is all that can be done.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream as Connection;

    use super::*;

    #[test]
    fn a_socket_that_nobody_answers_is_replaced_and_nothing_else_is() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("deep/par.sock");
        let first = local(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(local(&path, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let second = local(&path, None).unwrap();
        Connection::connect(&path).unwrap();
        drop(second);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "somebody's text").unwrap();
        assert_eq!(local(&path, None).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's text");
    }
}
