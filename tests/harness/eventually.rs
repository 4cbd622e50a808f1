//! Waiting for a fact instead of for a time.

use std::time::{Duration, Instant};

/// Long enough for a busy machine of two cores; a test that needs it all has failed anyway.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until there is an answer, and fails the test with `what` when there is none in time.
pub(crate) async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, probe).await
}

/// The same with a patience of its own.
pub(crate) async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + patience;
    let mut pause = Duration::from_millis(5);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < end, "never happened within {patience:?}: {what}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
