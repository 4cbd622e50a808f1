//! The inner sockets of the management side, and who may speak there: `par` itself on the control socket, the same
//! user on `PAR_SOCKET` unless it is a descendant of ours, that is, an agent.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use axum::{
    Router, extract::Request, http::HeaderMap, middleware::Next, response::Response, serve::Listener,
};
use tokio::net::{UnixListener, UnixStream, unix::SocketAddr};

use crate::auth::Role;

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Ourselves,
    SameUser,
}

/// A listener that drops connections of others.
#[derive(Debug)]
pub(crate) struct Guarded {
    listener: UnixListener,
    door: Door,
}

/// The control socket: in a directory with an unguessable name, for `par` itself.
pub(crate) fn control(run_dir: &Path) -> io::Result<(Guarded, PathBuf)> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let directory = run_dir.join(hex::encode(random));
    fs::create_dir_all(&directory)?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
    let path = directory.join("control.sock");
    Ok((Guarded { listener: UnixListener::bind(&path)?, door: Door::Ourselves }, path))
}

/// `PAR_SOCKET`: for people and their tools on this machine. A socket that nobody answers is replaced.
pub(crate) fn local(path: &Path) -> io::Result<Guarded> {
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
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(Guarded { listener, door: Door::SameUser })
}

impl Listener for Guarded {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) if admits(self.door, &stream) => return (stream, address),
                Ok((stream, _)) => {
                    tracing::warn!(event = "inner_socket_refused", peer = ?stream.peer_cred().ok(), "somebody else spoke to an inner socket");
                }
                // Out of descriptors, most likely: waiting is all that can be done.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn admits(door: Door, stream: &UnixStream) -> bool {
    let Ok(peer) = stream.peer_cred() else { return false };
    let Some(pid) = peer.pid().and_then(|pid| u32::try_from(pid).ok()) else { return false };
    match door {
        Door::Ourselves => pid == std::process::id(),
        Door::SameUser => {
            peer.uid() == rustix::process::geteuid().as_raw() && !descends(pid, std::process::id(), parent)
        }
    }
}

/// Whether a process has `ancestor` above it. One that cannot be looked at counts as a descendant: it may be one that
/// has just ended.
fn descends(pid: u32, ancestor: u32, parent: impl Fn(u32) -> Option<u32>) -> bool {
    let mut at = pid;
    loop {
        match parent(at) {
            Some(above) if above == ancestor => return true,
            Some(0 | 1) => return false,
            Some(above) => at = above,
            None => return true,
        }
    }
}

fn parent(pid: u32) -> Option<u32> {
    if pid == 1 {
        return Some(0);
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything, spaces and parentheses included.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The router as `PAR_SOCKET` offers it: who may connect is an operator, whatever the headers say.
pub(crate) fn for_operators(router: Router) -> Router {
    router.layer(axum::middleware::from_fn(|mut request: Request, next: Next| {
        clean(request.headers_mut());
        Role::Operator.stamp(request.headers_mut());
        async move { Ok::<Response, std::convert::Infallible>(next.run(request).await) }
    }))
}

fn clean(headers: &mut HeaderMap) {
    let claimed: Vec<_> =
        headers.keys().filter(|name| name.as_str().starts_with("x-par-")).cloned().collect();
    for name in claimed {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_of_ours_are_recognised_through_any_number_of_parents() {
        let parents = |pid| match pid {
            30 => Some(20),
            20 => Some(10),
            10 | 5 => Some(1),
            _ => None,
        };
        assert!(descends(30, 10, parents));
        assert!(descends(20, 10, parents));
        assert!(!descends(5, 10, parents));
        assert!(descends(99, 10, parents), "a process that is gone is refused");
    }

    #[test]
    fn we_are_a_child_of_our_parent() {
        assert_eq!(parent(std::process::id()), Some(std::os::unix::process::parent_id()));
    }
}
