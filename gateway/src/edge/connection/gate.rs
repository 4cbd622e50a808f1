//! Where a connection stands: shared by the stream that sees its bytes, the edge that sees its requests, and
//! the watch that ends it. All of them run on one thread; the atomics are for the type system, and cost what
//! plain cells do.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between two requests.
    Resting,
    /// Part of a head is there.
    Head,
    /// A request is being answered.
    Serving,
}

/// Why the connection is ended from below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client left where nothing is lost.
    Gone,
    /// A head grew beyond all limits and was answered.
    TooLarge,
    /// Frames of HTTP/2 that ask for work and bring none.
    Flood,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Gate {
    phase: AtomicU8,
    /// How many heads have begun, so that a clock knows its own.
    heads: AtomicU32,
    end: AtomicU8,
    /// Bytes that the client's side has taken.
    sent: AtomicU64,
    /// The framework itself refused a head that it could not read.
    pub(super) unreadable: AtomicBool,
    /// The client is told something before it has said all: closing at once would take the answer away from
    /// it.
    pub(super) parting: AtomicBool,
}

impl Gate {
    /// A new connection: its first head is awaited as if it had begun.
    pub(super) fn new() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Head as u8),
            heads: AtomicU32::new(0),
            end: AtomicU8::new(0),
            sent: AtomicU64::new(0),
            unreadable: AtomicBool::new(false),
            parting: AtomicBool::new(false),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Resting,
            1 => Phase::Head,
            _ => Phase::Serving,
        }
    }

    /// A head begins.
    pub(super) fn begin(&self) {
        self.heads.store(self.heads.load(Relaxed).wrapping_add(1), Relaxed);
        self.phase.store(Phase::Head as u8, Relaxed);
    }

    /// A head is whole.
    pub(super) fn serve(&self) {
        self.phase.store(Phase::Serving as u8, Relaxed);
    }

    /// A request is over.
    pub(super) fn rest(&self) {
        self.phase.store(Phase::Resting as u8, Relaxed);
    }

    /// The number of the head that is not whole yet.
    pub(super) fn open_head(&self) -> Option<u32> {
        (self.phase() == Phase::Head).then(|| self.heads.load(Relaxed))
    }

    /// Bytes were taken.
    pub(super) fn send(&self, bytes: usize) {
        self.sent.store(self.sent.load(Relaxed).wrapping_add(bytes as u64), Relaxed);
    }

    /// Bytes that were taken until now.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Nothing more is to be done.
    pub(super) fn close(&self, end: End) {
        self.end.store(end as u8 + 1, Relaxed);
    }

    /// Whether nothing more is to be done, and why.
    pub(super) fn closed(&self) -> Option<End> {
        match self.end.load(Relaxed) {
            0 => None,
            1 => Some(End::Gone),
            2 => Some(End::TooLarge),
            _ => Some(End::Flood),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_head_has_a_number_of_its_own() {
        let gate = Gate::new();
        assert_eq!(gate.open_head(), Some(0), "the first head is awaited from the beginning");
        gate.serve();
        assert_eq!((gate.phase(), gate.open_head()), (Phase::Serving, None));
        gate.rest();
        assert_eq!((gate.phase(), gate.open_head()), (Phase::Resting, None));
        gate.begin();
        assert_eq!(gate.open_head(), Some(1));
    }

    #[test]
    fn an_end_tells_why() {
        let gate = Gate::new();
        assert_eq!(gate.closed(), None);
        for end in [End::Gone, End::TooLarge, End::Flood] {
            gate.close(end);
            assert_eq!(gate.closed(), Some(end));
        }
    }
}
