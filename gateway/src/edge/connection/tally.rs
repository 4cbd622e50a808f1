//! Connections that were refused or ended: all are counted, and a line a second tells of them, so that
//! whoever opens connections cannot fill the log.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use prometheus::IntCounterVec;

/// Least time between two lines of one kind.
const MILLISECONDS: u64 = 1_000;

/// Why a connection was refused or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// There are as many connections as may be.
    Connections,
    /// There are as many of this address.
    ConnectionsPerAddress,
    /// A head was not whole in time.
    HeaderTimeout,
    /// Frames of HTTP/2 that ask for work and bring none.
    Flood,
}

impl Reason {
    /// Label of `par_limited_total`.
    const fn text(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::HeaderTimeout => "header_timeout",
            Self::Flood => "http2_flood",
        }
    }
}

/// Counts, and remembers when it spoke last.
#[derive(Debug)]
pub(super) struct Tally {
    limited: IntCounterVec,
    begin: Instant,
    untold: [Untold; 4],
}

#[derive(Debug, Default)]
struct Untold {
    count: AtomicU64,
    /// Milliseconds since the beginning from which the next line may be written.
    next: AtomicU64,
}

impl Untold {
    /// Counts one more; how many there were since the last line, if a line is due.
    fn more(&self, now: u64) -> Option<u64> {
        self.count.fetch_add(1, Relaxed);
        let next = self.next.load(Relaxed);
        let due =
            now >= next && self.next.compare_exchange(next, now + MILLISECONDS, Relaxed, Relaxed).is_ok();
        due.then(|| self.count.swap(0, Relaxed))
    }
}

impl Tally {
    /// Counts in `par_limited_total`.
    pub(super) fn new(limited: IntCounterVec) -> Self {
        Self { limited, begin: Instant::now(), untold: Default::default() }
    }

    /// One more; `open` is the number of connections there are.
    pub(super) fn note(&self, reason: Reason, open: usize) {
        self.limited.with_label_values(&[reason.text()]).inc();
        let [connections, per_address, late, flood] = &self.untold;
        let untold = match reason {
            Reason::Connections => connections,
            Reason::ConnectionsPerAddress => per_address,
            Reason::HeaderTimeout => late,
            Reason::Flood => flood,
        };
        let now = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Some(count) = untold.more(now) else { return };
        let reason_text = reason.text();
        match reason {
            Reason::Connections | Reason::ConnectionsPerAddress => {
                tracing::warn!(event = "connections_refused", reason = reason_text, count, open);
            }
            // Slow networks do this, too.
            Reason::HeaderTimeout | Reason::Flood => {
                tracing::info!(event = "connections_ended", reason = reason_text, count, open);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_second_tells_of_all() {
        let untold = Untold::default();
        assert_eq!(untold.more(0), Some(1), "the first at once");
        assert_eq!((untold.more(1), untold.more(999)), (None, None));
        assert_eq!(untold.more(1000), Some(3));
        assert_eq!(untold.more(5000), Some(1));
    }
}
