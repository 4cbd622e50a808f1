//! Answers that a worker reads on its main socket, until they are written there.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use par_proto::frames::{HEADER_LEN, Header, encode};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::side::MOST;

/// Those of one worker.
#[derive(Debug, Default)]
pub(super) struct Mainline {
    bytes: Mutex<BytesMut>,
    /// Whether there are any, for who looks without the lock: almost no worker has.
    some: AtomicBool,
    /// Whether one could not even wait: the worker is to be given up.
    is_full: AtomicBool,
    /// Rung when the channel's task has something to do.
    wake: Notify,
}

impl Mainline {
    /// Appends an answer.
    pub(super) fn put(&self, header: Header, payload: &[u8]) {
        let mut bytes = self.bytes.lock();
        if bytes.len() + payload.len() < MOST {
            bytes.reserve(HEADER_LEN + payload.len());
            encode(&mut bytes, header, b"", payload);
            self.some.store(true, Ordering::Release);
        } else {
            // A hole would be waited for.
            self.is_full.store(true, Ordering::Release);
        }
        drop(bytes);
        self.wake.notify_one();
    }

    /// Moves what there is behind the calls that are to be written.
    pub(super) fn take(&self, outbox: &mut BytesMut) {
        if self.some.load(Ordering::Acquire) {
            let mut bytes = self.bytes.lock();
            self.some.store(false, Ordering::Release);
            if outbox.is_empty() {
                std::mem::swap(&mut *bytes, outbox);
            } else {
                outbox.extend_from_slice(&bytes);
                bytes.clear();
            }
        }
    }

    /// Whether more was lost than may wait.
    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Tells the channel's task that something is to be written.
    pub(super) fn ring(&self) {
        self.wake.notify_one();
    }

    /// Waits until something is.
    pub(super) async fn rung(&self) {
        self.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use par_proto::frames::Kind;

    use super::*;

    fn header(call: u64) -> Header {
        Header { size: 0, meta: 0, kind: Kind::Reply, flags: 0, call, a: 0, b: 0 }
    }

    #[test]
    fn answers_come_behind_the_calls_that_wait_and_once() {
        let line = Mainline::default();
        let mut outbox = BytesMut::from(&b"calls"[..]);
        line.put(header(1), b"one");
        line.put(header(2), b"two");
        line.take(&mut outbox);
        assert_eq!(outbox.len(), 5 + 2 * (HEADER_LEN + 3));
        assert!(outbox.starts_with(b"calls") && outbox.ends_with(b"two"));
        let whole = outbox.len();
        line.take(&mut outbox);
        assert_eq!(outbox.len(), whole);
    }

    #[test]
    fn a_worker_that_reads_none_of_too_much_is_given_up() {
        let line = Mainline::default();
        let large = vec![0; MOST / 3];
        for call in 0..2 {
            line.put(header(call), &large);
            assert!(!line.is_full());
        }
        line.put(header(2), &large);
        assert!(line.is_full());
    }
}
