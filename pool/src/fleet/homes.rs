//! The threads on which channels live: those that serve requests, so that a call and its answer need no wake-up
//! across threads.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread::ThreadId,
};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

/// Registered threads; empty until the edge has started.
#[derive(Debug)]
pub struct Homes {
    threads: ArcSwap<Vec<(ThreadId, Handle)>>,
    fallback: Handle,
    next: AtomicUsize,
}

impl Homes {
    pub(crate) fn new(fallback: Handle) -> Self {
        Self { threads: ArcSwap::default(), fallback, next: AtomicUsize::new(0) }
    }

    /// Registers the calling thread, whose runtime must run tasks on this thread only.
    pub fn register(&self) {
        let here = std::thread::current().id();
        let handle = Handle::current();
        self.threads.rcu(|threads| {
            let mut threads = Vec::clone(threads);
            if !threads.iter().any(|(id, _)| *id == here) {
                threads.push((here, handle.clone()));
            }
            threads
        });
    }

    /// Number of registered threads.
    pub fn count(&self) -> usize {
        self.threads.load().len()
    }

    /// The calling thread if it is registered, else one of the registered ones in turn.
    pub(crate) fn pick(&self) -> Handle {
        let threads = self.threads.load();
        let here = std::thread::current().id();
        if let Some((_, handle)) = threads.iter().find(|(id, _)| *id == here) {
            return handle.clone();
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        threads
            .get(turn.checked_rem(threads.len()).unwrap_or(0))
            .map_or_else(|| self.fallback.clone(), |(_, handle)| handle.clone())
    }
}
