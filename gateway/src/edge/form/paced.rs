//! A body for the reader of forms, which would take all that is there at once and keep a head of any length: it gets one
//! piece when what it has is not enough, and no endless heads.

use std::{
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use par_proto::code::Code;

use super::super::refusal::Refusal;

/// Longest head of a part, and longest text before the first one. The reader keeps it until it is complete.
const HEAD: usize = 16 << 10;

/// Bytes of one piece while it looks for a part. Before the first one it may be given two pieces before it looks, so a
/// larger one could be taken for an endless head although a part is in it.
const SLICE: usize = 4 << 10;

/// A refusal on its way through a reader that knows only errors.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.detail)]
pub(super) struct Stopped(pub(super) Refusal);

/// What the reader is asked for.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Whether the reader shall look at what it has first.
    sated: AtomicBool,
    /// Whether it looks for a part.
    looking: AtomicBool,
    /// What it got since it began to.
    given: AtomicUsize,
}

impl Pace {
    /// The next part is asked for.
    pub(super) fn part(&self) {
        self.given.store(0, Relaxed);
        self.looking.store(true, Relaxed);
        self.sated.store(true, Relaxed);
    }

    /// More of a part is asked for.
    pub(super) fn more(&self) {
        self.looking.store(false, Relaxed);
        self.sated.store(true, Relaxed);
    }
}

/// A body that keeps the pace.
pub(super) struct Paced<'a, S> {
    body: Pin<Box<S>>,
    /// What has come and was not given yet.
    rest: Bytes,
    pace: &'a Pace,
}

impl<'a, S> Paced<'a, S> {
    pub(super) fn new(body: S, pace: &'a Pace) -> Self {
        Self { body: Box::pin(body), rest: Bytes::new(), pace }
    }
}

impl<S: Stream<Item = Result<Bytes, Refusal>>> Stream for Paced<'_, S> {
    type Item = Result<Bytes, Stopped>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let pace = self.pace;
        if pace.sated.swap(false, Relaxed) {
            // Whoever is asked again at once needs more.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let is_looking = pace.looking.load(Relaxed);
        if is_looking && pace.given.load(Relaxed) >= HEAD {
            let text =
                format!("there are over {HEAD} bytes where a part of the form should begin, or in its head");
            return Poll::Ready(Some(Err(Stopped(Refusal::new(Code::BadRequest, text)))));
        }
        if self.rest.is_empty() {
            match ready!(self.body.as_mut().poll_next(context)) {
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(refusal)) => return Poll::Ready(Some(Err(Stopped(refusal)))),
                None => return Poll::Ready(None),
            }
        }
        let most = if is_looking { SLICE } else { usize::MAX };
        let length = self.rest.len().min(most);
        let piece = self.rest.split_to(length);
        pace.given.fetch_add(length, Relaxed);
        pace.sated.store(true, Relaxed);
        Poll::Ready(Some(Ok(piece)))
    }
}
