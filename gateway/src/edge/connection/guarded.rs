//! A connection's bytes on their way to and from the framework. Everything is passed on as it is, but for
//! five things that the framework does not do: it notes where heads begin, holds heads to a size before they
//! are kept in memory, counts the frames of HTTP/2, keeps silent about clients that leave where nothing is
//! lost, and says in our words what the framework refuses in its own.
//!
//! A request costs a few plain loads and stores here; nothing is allocated, and no clock is read.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use par_proto::code::Code;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
    raw_connect::ProxyDigest,
    tls::{SslDigest, TlsRef},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    frames::{Fault, Frames, Seen},
    gate::{End, Gate, Phase},
    parting,
    permit::Permit,
};
use crate::{
    edge::{RequestIds, hygiene},
    problem::{Extras, PROBLEM_JSON, problem},
};

/// How the framework's own refusal of a head begins.
const THEIR_REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\nServer: Pingora\r\n";

/// What a head may grow beyond its limit before it is cut: whoever is only a little over is told so by name,
/// in the request's own answer.
const SLACK: usize = 16 * 1024;

/// Which HTTP a stream carries, and what is known of it.
#[derive(Debug)]
enum Wire {
    One {
        /// Bytes of the head that has begun.
        head: usize,
        /// Whether its first line has ended.
        lined: bool,
        /// Our words in the place of the framework's, and how much of them has left.
        instead: Option<(Vec<u8>, usize)>,
    },
    Two(Box<Frames>),
}

/// A connection's stream.
#[derive(Debug)]
pub(crate) struct Guarded {
    inner: Option<Stream>,
    gate: Arc<Gate>,
    wire: Wire,
    header_bytes: usize,
    ids: Arc<RequestIds>,
    /// Counts as long as the stream is open.
    permit: Option<Permit>,
}

impl Guarded {
    /// A stream whose peer speaks HTTP/2 or HTTP/1.1. Heads beyond `header_bytes` are not read to their end.
    pub(super) fn new(
        inner: Stream,
        gate: Arc<Gate>,
        is_http2: bool,
        header_bytes: u64,
        ids: Arc<RequestIds>,
        permit: Permit,
    ) -> Self {
        let wire = if is_http2 {
            Wire::Two(Box::default())
        } else {
            Wire::One { head: 0, lined: false, instead: None }
        };
        let header_bytes = usize::try_from(header_bytes).unwrap_or(usize::MAX);
        Self { inner: Some(inner), gate, wire, header_bytes, ids, permit: Some(permit) }
    }

    /// Where the connection stands.
    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    fn inner(&self) -> Option<&Stream> {
        self.inner.as_ref()
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        self.inner.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// A head that is larger than any that is taken: answered from here, as nobody else will ever see it
    /// whole.
    fn cut(&mut self, cx: &mut Context<'_>, lined: bool) {
        let (code, text) = if lined {
            (Code::HeadersTooLarge, hygiene::Flaw::HeadTooLarge.text())
        } else {
            (Code::UriTooLong, hygiene::Flaw::TargetTooLong.text())
        };
        let answer = refusal(code, text, &self.ids);
        if let Ok(mut inner) = self.stream() {
            // Whoever does not take these few bytes at once never reads them.
            drop(inner.as_mut().poll_write(cx, &answer));
            drop(inner.as_mut().poll_flush(cx));
        }
        self.gate.parting.store(true, Relaxed);
        self.gate.close(End::TooLarge);
    }

    /// Notes what came.
    fn came(&mut self, bytes: &[u8]) -> Result<(), End> {
        match &mut self.wire {
            Wire::One { head, lined, .. } => match self.gate.phase() {
                Phase::Serving => {}
                // A client may leave between requests, and before it has asked for anything.
                Phase::Resting | Phase::Head if bytes.is_empty() => return Err(End::Gone),
                phase @ (Phase::Resting | Phase::Head) => {
                    if phase == Phase::Resting {
                        self.gate.begin();
                        (*head, *lined) = (0, false);
                    }
                    *head += bytes.len();
                    *lined = *lined || memchr::memchr(b'\n', bytes).is_some();
                }
            },
            Wire::Two(frames) => match frames.take(bytes, Instant::now) {
                Ok(Seen::Whole) => self.gate.serve(),
                Ok(Seen::Head) if self.gate.phase() == Phase::Head => {}
                Ok(Seen::Head) => self.gate.begin(),
                Err(Fault::Preface) => return Err(End::Gone),
                Err(Fault::Flood) => return Err(End::Flood),
            },
        }
        Ok(())
    }
}

/// A whole answer to a head that never became a request.
fn refusal(code: Code, text: &'static str, ids: &RequestIds) -> Vec<u8> {
    let id = ids.choose(None);
    let body = problem(code, text, &id, Extras::default());
    let reason = http::StatusCode::from_u16(code.http()).ok().and_then(|status| status.canonical_reason());
    let status = reason.unwrap_or_default();
    let mut answer = format!(
        "HTTP/1.1 {} {status}\r\nContent-Type: {PROBLEM_JSON}\r\nContent-Length: {}\r\n\
         X-Request-ID: {id}\r\nConnection: close\r\n\r\n",
        code.http(),
        body.len(),
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    answer
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Wire::One { head, lined, .. } = self.wire
            && self.gate.phase() == Phase::Head
        {
            let limit =
                if lined { self.header_bytes.saturating_add(SLACK) } else { hygiene::LONGEST_TARGET + SLACK };
            if head > limit {
                self.cut(cx, lined);
                return Poll::Pending;
            }
        }
        let before = buf.filled().len();
        let read = match self.stream()?.poll_read(cx, buf) {
            Poll::Ready(read) => read,
            Poll::Pending => return Poll::Pending,
        };
        let lost = match (&read, self.gate.phase()) {
            // The watch ends what waits here for ever. The framework would call it an error, and everybody
            // could fill the log with connections that are begun and left.
            (Err(_), Phase::Resting | Phase::Head) => Some(End::Gone),
            (Err(_), Phase::Serving) => None,
            (Ok(()), _) => {
                let came = buf.filled().get(before..).unwrap_or_default();
                self.came(came).err()
            }
        };
        if let Some(end) = lost {
            self.gate.close(end);
            return Poll::Pending;
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match &mut this.wire {
            Wire::One { instead, .. } if this.gate.phase() != Phase::Serving => {
                if instead.is_none() && buf.starts_with(THEIR_REFUSAL) {
                    this.gate.unreadable.store(true, Relaxed);
                    this.gate.parting.store(true, Relaxed);
                    let text = "the request cannot be read as HTTP";
                    *instead = Some((refusal(Code::BadRequest, text, &this.ids), 0));
                }
                let Some((answer, left)) = instead else { return this.stream()?.poll_write(cx, buf) };
                let Some(inner) = &mut this.inner else { return Poll::Ready(Ok(buf.len())) };
                while let Some(rest) = answer.get(*left..).filter(|rest| !rest.is_empty()) {
                    match Pin::new(&mut *inner).poll_write(cx, rest)? {
                        Poll::Ready(written) => *left += written,
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Poll::Ready(Ok(buf.len()))
            }
            Wire::One { .. } | Wire::Two(_) => {
                let written = this.stream()?.poll_write(cx, buf);
                this.note_sent(&written);
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write_vectored(cx, bufs);
        self.note_sent(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner().is_some_and(AsyncWrite::is_write_vectored)
    }
}

impl Guarded {
    fn note_sent(&mut self, written: &Poll<io::Result<usize>>) {
        let Poll::Ready(Ok(bytes)) = written else { return };
        match &mut self.wire {
            Wire::One { .. } => self.gate.send(*bytes),
            Wire::Two(frames) => frames.sent(*bytes),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.gate.parting.load(Relaxed)
            && let (Some(stream), Some(permit)) = (self.inner.take(), self.permit.take())
        {
            parting::linger(stream, permit);
        }
    }
}

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        if let Some(inner) = &mut self.inner {
            Shutdown::shutdown(&mut **inner).await;
        }
    }
}

/// The protocol was found out before.
impl Peek for Guarded {}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.inner().map_or(-1, |inner| inner.id())
    }
}

impl Ssl for Guarded {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner()?.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner()?.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner()?.selected_alpn_proto()
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner().map_or_else(Vec::new, |inner| inner.get_timing_digest())
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner().map_or(Duration::ZERO, |inner| inner.get_read_pending_time())
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner().map_or(Duration::ZERO, |inner| inner.get_write_pending_time())
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner()?.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        if let Some(inner) = &mut self.inner {
            inner.set_proxy_digest(digest);
        }
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner()?.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        if let Some(inner) = &mut self.inner {
            inner.set_socket_digest(digest);
        }
    }
}
