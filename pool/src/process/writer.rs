//! What is being written to a worker's main socket: by the channel's task, or by whoever's call fills a batch.

use std::{
    io::{self, Write as _},
    os::unix::net::UnixStream as StdUnixStream,
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use parking_lot::Mutex;
use tokio::{net::UnixStream, time::sleep};

/// Before another try to write what a full socket did not take, where no descriptor is left to be told by.
const PAUSE: Duration = Duration::from_millis(10);

/// The socket's writing side, once a thread has it. One writes at a time, so bytes leave in their order.
#[derive(Debug, Default)]
pub(super) struct Writer {
    writing: Mutex<Option<Writing>>,
}

#[derive(Debug)]
struct Writing {
    /// It does not block.
    socket: StdUnixStream,
    /// What the socket did not take yet.
    rest: BytesMut,
}

/// How a write has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing waits any more.
    All,
    /// The socket is full; what it did not take is kept.
    Part,
}

/// Lets go of the socket when the channel's task is over, however it ends.
#[derive(Debug)]
pub(super) struct Opened<'a>(&'a Writer);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        *self.0.writing.lock() = None;
    }
}

impl Writer {
    /// Begins to write to a socket, which does not block.
    pub(super) fn open(&self, socket: StdUnixStream) -> Opened<'_> {
        *self.writing.lock() = Some(Writing { socket, rest: BytesMut::new() });
        Opened(self)
    }

    /// Writes what `take` puts into its empty buffer, until that is nothing or the socket is full.
    ///
    /// # Errors
    /// What the socket says: nobody reads there any more, or it is not open.
    pub(super) fn write(&self, take: impl FnMut(&mut BytesMut)) -> io::Result<Written> {
        self.writing.lock().as_mut().ok_or(io::ErrorKind::NotConnected)?.write(take)
    }

    /// The same, unless somebody else is writing; what is not written, and an error, are left to the channel's task. It
    /// comes to them: the first call of every batch rings for it after it was appended.
    pub(super) fn write_early(&self, take: impl FnMut(&mut BytesMut)) {
        if let Some(mut writing) = self.writing.try_lock()
            && let Some(writing) = writing.as_mut()
        {
            writing.write(take).ok();
        }
    }

    /// Waits until a full socket takes more. On a handle of its own: whoever is to be told of room is woken by each
    /// read of the worker, whether or not he has something to write.
    ///
    /// # Errors
    /// The socket is not open.
    pub(super) async fn room(&self) -> io::Result<()> {
        let writing = || self.writing.lock().as_ref().map(|writing| writing.socket.try_clone());
        match writing().ok_or(io::ErrorKind::NotConnected)?.and_then(UnixStream::from_std) {
            Ok(handle) => handle.writable().await,
            Err(_) => {
                sleep(PAUSE).await;
                Ok(())
            }
        }
    }
}

impl Writing {
    fn write(&mut self, mut take: impl FnMut(&mut BytesMut)) -> io::Result<Written> {
        loop {
            while !self.rest.is_empty() {
                match self.socket.write(&self.rest) {
                    Ok(written) => self.rest.advance(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Written::Part),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.rest.clear();
            take(&mut self.rest);
            if self.rest.is_empty() {
                return Ok(Written::All);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    static FILLING: [u8; 64 << 10] = [7; 64 << 10];

    /// Gives each of these once.
    fn each<const N: usize>(parts: [&'static [u8]; N]) -> impl FnMut(&mut BytesMut) {
        let mut parts = parts.into_iter();
        move |bytes| bytes.extend_from_slice(parts.next().unwrap_or_default())
    }

    #[tokio::test]
    async fn what_a_full_socket_does_not_take_leaves_first_when_it_does() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let writer = Writer::default();
        let opened = writer.open(ours.into_std().unwrap());
        let mut sent = FILLING.len();
        while writer.write(each([&FILLING])).unwrap() == Written::All {
            sent += FILLING.len();
        }
        writer.write_early(each([b"nobody takes this before there is room"]));
        assert_eq!(writer.write(|_| panic!("there is no room")).unwrap(), Written::Part);

        let mut got = vec![0; sent];
        let reading = tokio::spawn(async move {
            theirs.read_exact(&mut got).await.unwrap();
            let mut last = [0; 3];
            theirs.read_exact(&mut last).await.unwrap();
            (got, last)
        });
        loop {
            writer.room().await.unwrap();
            if writer.write(|_| {}).unwrap() == Written::All {
                break;
            }
        }
        writer.write_early(each([b"one"]));
        let (got, last) = reading.await.unwrap();
        assert!(got.iter().all(|byte| *byte == 7));
        assert_eq!(&last, b"one");
        drop(opened);
    }

    #[tokio::test]
    async fn a_socket_that_is_let_go_takes_nothing() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let writer = Writer::default();
        assert!(writer.write(each([b"too early"])).is_err());
        drop(writer.open(ours.into_std().unwrap()));
        writer.write_early(|_| panic!("nobody would read it"));
        assert!(writer.write(each([b"too late"])).is_err());
        assert!(writer.room().await.is_err());
        assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0, "it is closed");
    }
}
