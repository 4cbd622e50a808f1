//! The second socket of a worker: short commands, and answers to calls of its own. What the worker does not read at
//! once waits here, in order.

use std::{
    io::{self, Write},
    os::unix::net::UnixStream as StdUnixStream,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::{Buf, BytesMut};
use par_proto::frames::{HEADER_LEN, Header, encode};
use parking_lot::Mutex;
use tokio::{net::UnixStream, sync::Notify};

/// Most bytes that wait. An answer may have 64 MiB; a worker that reads so little of several is as good as dead, and
/// its deadline ends it.
pub(super) const MOST: usize = 256 * 1024 * 1024;

/// Our end.
#[derive(Debug)]
pub(super) struct Side {
    socket: StdUnixStream,
    backlog: Mutex<BytesMut>,
    /// Whether something waits, for who looks without the lock.
    waits: AtomicBool,
    /// Whether something could not even wait: the worker is to be given up.
    is_full: AtomicBool,
    /// Rung when something begins to wait.
    stuck: Notify,
}

impl Side {
    /// Takes the socket, which does not block.
    pub(super) fn new(socket: StdUnixStream) -> Self {
        let (waits, is_full) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { socket, backlog: Mutex::default(), waits, is_full, stuck: Notify::new() }
    }

    /// Writes a frame; what the worker does not read at once waits.
    pub(super) fn send(&self, header: Header, meta: &[u8], payload: &[u8]) {
        let mut backlog = self.backlog.lock();
        if !backlog.is_empty() {
            if backlog.len() + payload.len() + meta.len() < MOST {
                encode(&mut backlog, header, meta, payload);
            } else {
                // A hole would be taken for the whole.
                self.is_full.store(true, Ordering::Release);
                self.stuck.notify_one();
            }
            return;
        }
        if meta.is_empty() && payload.is_empty() {
            let bytes = header.to_bytes();
            let written = written((&self.socket).write(&bytes));
            backlog.extend_from_slice(bytes.get(written..).unwrap_or_default());
        } else {
            backlog.reserve(HEADER_LEN + meta.len() + payload.len());
            encode(&mut backlog, header, meta, payload);
            let written = written((&self.socket).write(&backlog));
            backlog.advance(written);
        }
        if !backlog.is_empty() {
            self.waits.store(true, Ordering::Release);
            self.stuck.notify_one();
        }
    }

    /// Waits until something has to wait.
    pub(super) async fn stuck(&self) {
        self.stuck.notified().await;
    }

    /// Whether more was lost than may wait.
    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Whether something waits.
    pub(super) fn waits(&self) -> bool {
        self.waits.load(Ordering::Acquire)
    }

    /// A second handle, to be told when the worker reads.
    pub(super) fn watched(&self) -> io::Result<UnixStream> {
        UnixStream::from_std(self.socket.try_clone()?)
    }

    /// Writes what waits, as far as it goes.
    pub(super) fn flush(&self, watched: &UnixStream) {
        let mut backlog = self.backlog.lock();
        while !backlog.is_empty() {
            match watched.try_write(&backlog) {
                Ok(written) => backlog.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The main socket tells the end of the worker.
                Err(_) => backlog.clear(),
            }
        }
        // Large answers come rarely.
        *backlog = BytesMut::new();
        self.waits.store(false, Ordering::Release);
    }
}

/// What went out; a socket that is full takes nothing, and so does one whose worker is gone, which its end will tell.
fn written(outcome: io::Result<usize>) -> usize {
    outcome.unwrap_or_default()
}
