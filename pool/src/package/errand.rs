//! Threads for what packages need that takes the processor or the disk: hashing, unpacking, clearing up. Nobody waits for
//! it as one waits for a call, so they are less important than those of calls, for as long as they live.

use std::{io, sync::LazyLock};

use rustix::process::setpriority_process;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinError,
};

/// As unimportant as installers and imports.
const LOW: i32 = 19;

/// Several packages at once come in with one processor each to spare; more would only fight for the disk.
const MOST: usize = 4;

static THREADS: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(MOST)
        .thread_name("par-errand")
        .on_thread_start(|| {
            // On Linux this is about the calling thread alone. One that stays important is a nuisance, no fault.
            setpriority_process(None, LOW).ok();
        })
        .build()
});

/// Runs `work` on one of the threads. It goes on when the caller stops waiting.
///
/// # Errors
/// If it panicked.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    match THREADS.as_ref() {
        Ok(threads) => threads.spawn_blocking(work).await,
        // Without threads of our own the caller's are better than nothing.
        Err(_) => tokio::task::spawn_blocking(work).await,
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    #[tokio::test]
    async fn errands_are_less_important_and_callers_stay_as_they_are() {
        let ours = getpriority_process(None).unwrap();
        let theirs = super::run(|| getpriority_process(None).unwrap()).await.unwrap();
        assert_eq!((theirs, getpriority_process(None).unwrap()), (super::LOW.max(ours), ours));
    }
}
