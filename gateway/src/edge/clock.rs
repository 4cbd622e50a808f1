//! The time that an application has to begin its answer. The framework's own time-out covers every read, and would end
//! streams that are silent for a while; this one ends with the head of the answer.

use std::{
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::task::AbortHandle;

/// Ends a connection to an application that does not begin its answer. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Clock {
    face: Arc<Face>,
    patience: Duration,
    task: AbortHandle,
}

#[derive(Debug)]
struct Face {
    until: Mutex<Instant>,
    is_over: AtomicBool,
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Clock {
    /// Starts now.
    pub(super) fn start(patience: Duration, connection: Arc<UnixStream>) -> Self {
        let until = Mutex::new(Instant::now() + patience);
        let face = Arc::new(Face { until, is_over: AtomicBool::new(false) });
        let watched = Arc::clone(&face);
        let watching = async move {
            loop {
                let until = *watched.until.lock();
                if Instant::now() >= until {
                    break;
                }
                tokio::time::sleep_until(until.into()).await;
            }
            watched.is_over.store(true, Ordering::Relaxed);
            // One that is closed has ended otherwise.
            connection.shutdown(Shutdown::Both).ok();
        };
        Self { face, patience, task: tokio::spawn(watching).abort_handle() }
    }

    /// The application got more of its request: it has all the time again.
    pub(super) fn again(&self) {
        *self.face.until.lock() = Instant::now() + self.patience;
    }

    /// Whether it has ended the connection.
    pub(super) fn is_over(&self) -> bool {
        self.face.is_over.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    fn pair() -> (Arc<UnixStream>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Arc::new(ours), theirs)
    }

    async fn ended(mut theirs: UnixStream) {
        let read = tokio::task::spawn_blocking(move || theirs.read(&mut [0; 1]).unwrap()).await;
        assert_eq!(read.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_connection_without_an_answer_ends_in_time() {
        let (ours, theirs) = pair();
        let clock = Clock::start(PATIENCE, ours);
        assert!(!clock.is_over());
        ended(theirs).await;
        assert!(clock.is_over());
    }

    #[tokio::test]
    async fn whoever_is_still_sent_something_has_all_the_time_again() {
        let (ours, theirs) = pair();
        let begin = Instant::now();
        let clock = Clock::start(PATIENCE, ours);
        tokio::time::sleep(PATIENCE / 2).await;
        clock.again();
        ended(theirs).await;
        assert!(begin.elapsed() >= PATIENCE * 3 / 2);
    }

    #[tokio::test]
    async fn a_clock_that_is_stopped_ends_nothing() {
        let (ours, theirs) = pair();
        drop(Clock::start(PATIENCE, Arc::clone(&ours)));
        tokio::time::sleep(PATIENCE * 2).await;
        theirs.set_nonblocking(true).unwrap();
        let read = (&theirs).read(&mut [0; 1]);
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
