//! A connection on which both sides may speak at length at the same time.
//!
//! The framework writes a piece of the request or reads a piece of the answer, one after the other. An application that
//! answers while it is still being asked stops reading when nobody takes its answer, and both would wait for ever. So
//! while a write waits, what comes meanwhile is read ahead.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
};

/// Most bytes that are read ahead of one answer. An application needs to get rid of what it holds before it reads on:
/// some hundred KB where it answers as much as it is asked. With a tenth, one that unpacks would wait.
const AHEAD: usize = 8 << 20;

/// Bytes that are read at a time.
const PIECE: usize = 64 * 1024;

/// Largest request that can be written at once, whatever the other side does: a fraction of what a socket holds.
pub(super) const AT_ONCE: u64 = 64 * 1024;

/// A connection that reads while it waits to write.
#[derive(Debug)]
pub(super) struct Duplex<S = UnixStream> {
    inner: S,
    ahead: BytesMut,
    has_ended: bool,
}

impl<S: AsyncRead + Unpin> Duplex<S> {
    /// Nothing is read yet.
    pub(super) fn new(inner: S) -> Self {
        Self { inner, ahead: BytesMut::new(), has_ended: false }
    }

    /// Reads what there is. What goes wrong is met again by the next read.
    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        while !self.has_ended && self.ahead.len() < AHEAD {
            let length = self.ahead.len();
            self.ahead.resize(length + PIECE, 0);
            let space = self.ahead.get_mut(length..).unwrap_or_default();
            let mut space = ReadBuf::new(space);
            let read = Pin::new(&mut self.inner).poll_read(cx, &mut space);
            let came = space.filled().len();
            self.ahead.truncate(length + came);
            match read {
                Poll::Ready(Ok(())) => self.has_ended = came == 0,
                Poll::Ready(Err(_)) | Poll::Pending => return,
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Duplex<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() && !self.has_ended {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let length = self.ahead.len().min(buf.remaining());
        buf.put_slice(self.ahead.get(..length).unwrap_or_default());
        self.ahead.advance(length);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Duplex<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        if written.is_pending() {
            self.read_ahead(cx);
        }
        Poll::Ready(ready!(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl VirtualSocket for Duplex {
    /// A pair within one machine has none of these.
    fn set_socket_option(&self, _option: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// Gives back what it gets, and reads on only when that is taken.
    async fn echo(mut other: tokio::io::DuplexStream) {
        let mut piece = [0; 64];
        while let Ok(read @ 1..) = other.read(&mut piece).await {
            other.write_all(&piece[..read]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn whoever_answers_while_it_is_asked_is_asked_to_the_end() {
        let (ours, theirs) = duplex(64);
        tokio::spawn(echo(theirs));
        let mut stream = Duplex::new(ours);
        let asked: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
        // First everything, then the answer: nobody reads meanwhile.
        stream.write_all(&asked).await.unwrap();
        let mut answered = vec![0; asked.len()];
        stream.read_exact(&mut answered).await.unwrap();
        assert!(answered == asked);
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_first_and_then_the_end() {
        let (ours, mut theirs) = duplex(4);
        let mut stream = Duplex::new(ours);
        theirs.write_all(b"now").await.unwrap();
        let writing = async {
            stream.write_all(b"longer than four").await.ok();
            stream
        };
        let other = async {
            let mut got = [0; 16];
            tokio::task::yield_now().await;
            theirs.read_exact(&mut got).await.unwrap();
            theirs.write_all(b"end").await.unwrap();
            drop(theirs);
        };
        let (mut stream, ()) = tokio::join!(writing, other);
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "nowend");
    }
}
