//! The last lines that a process has printed, kept to explain its end.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::watch;

/// Lines kept per process. The dump of a worker with a dozen threads has 200; half of them would lose the thread that
/// hangs.
const LINES: usize = 200;

/// Bytes kept per process: lines may have 16 KiB each, and there may be hundreds of processes.
const BYTES: usize = 32 << 10;

/// First words of the dumps of stacks that CPython's faulthandler and our JavaScript worker write.
const DUMPS: [&str; 4] =
    ["Fatal Python error", "Current thread 0x", "Thread 0x", "The main thread, most recent call first"];

/// Whether a dump of stacks begins with this line.
pub(crate) fn begins_dump(line: &str) -> bool {
    DUMPS.iter().any(|dump| line.starts_with(dump))
}

/// What a process printed last.
#[derive(Debug)]
pub struct Tail {
    kept: Mutex<Kept>,
    /// Pipes that are still read.
    open: watch::Sender<usize>,
    /// Whether a dump of its stacks has begun.
    dumping: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
}

/// One pipe that is read; dropping it says that its end was seen.
#[derive(Debug)]
pub(super) struct Reading(Arc<Tail>);

impl Default for Tail {
    fn default() -> Self {
        Self { kept: Mutex::default(), open: watch::Sender::new(0), dumping: watch::Sender::new(false) }
    }
}

impl Tail {
    /// Notes that a pipe of the process is read from now on.
    pub(super) fn read(self: &Arc<Self>) -> Reading {
        self.open.send_modify(|open| *open += 1);
        Reading(Arc::clone(self))
    }

    pub(super) fn push(&self, line: &str) {
        let mut kept = self.kept.lock();
        kept.lines.push_back(line.to_owned());
        kept.bytes += line.len();
        while kept.lines.len() > LINES || kept.bytes > BYTES {
            let Some(oldest) = kept.lines.pop_front() else { return };
            kept.bytes -= oldest.len();
        }
        drop(kept);
        if begins_dump(line) {
            self.dumping.send_replace(true);
        }
    }

    /// Waits until the process has begun to say where it is, at most for `patience`: it may be beyond that.
    pub(crate) async fn dump(&self, patience: Duration) {
        let mut dumping = self.dumping.subscribe();
        drop(tokio::time::timeout(patience, dumping.wait_for(|dumping| *dumping)).await);
    }

    /// What there is, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.kept.lock().lines.iter().cloned().collect()
    }

    /// Waits until all that the process has printed is read, at most for `patience`: what it has started may hold its
    /// pipes open.
    pub(crate) async fn whole(&self, patience: Duration) {
        let mut open = self.open.subscribe();
        drop(tokio::time::timeout(patience, open.wait_for(|open| *open == 0)).await);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_within_their_bounds() {
        let tail = Tail::default();
        for number in 0..LINES + 10 {
            tail.push(&number.to_string());
        }
        let lines = tail.lines();
        assert_eq!((lines.len(), lines.first().map(String::as_str)), (LINES, Some("10")));
        tail.push(&"x".repeat(BYTES - 1));
        assert_eq!(tail.lines().len(), 1);
        tail.push("yz");
        assert_eq!(tail.lines(), ["yz"]);
    }

    #[tokio::test]
    async fn a_dump_is_waited_for_until_its_first_line() {
        let tail = Arc::new(Tail::default());
        let waiting = Arc::clone(&tail);
        let waited = tokio::spawn(async move { waiting.dump(Duration::from_secs(60)).await });
        tail.push("a line");
        tokio::task::yield_now().await;
        assert!(!waited.is_finished());
        tail.push("Thread 0x00007f1971238b80 (most recent call first):");
        waited.await.unwrap();
        Tail::default().dump(Duration::from_millis(1)).await;
    }

    #[tokio::test]
    async fn a_tail_is_whole_when_both_pipes_have_ended() {
        let tail = Arc::new(Tail::default());
        let (one, two) = (tail.read(), tail.read());
        let waiting = Arc::clone(&tail);
        let waited = tokio::spawn(async move { waiting.whole(Duration::from_secs(60)).await });
        drop(one);
        tokio::task::yield_now().await;
        assert!(!waited.is_finished());
        drop(two);
        waited.await.unwrap();
        let _held = tail.read();
        tail.whole(Duration::from_millis(1)).await;
    }
}
