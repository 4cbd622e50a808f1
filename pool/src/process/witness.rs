//! What workers tell of calls whose traces are kept, handed to whoever keeps them.

use std::{any::Any, fmt::Debug};

/// Watches one call for its trace.
pub trait Witness: Any + Debug + Send + Sync {
    /// Its worker has said that it is over. `meta` is the metadata of its last frame (`FRAMES.md`), empty or not.
    fn ended(&self, meta: &[u8]);

    /// Spans of its handler: the payload of a frame `SPANS` as it came.
    fn spans(&self, payload: &[u8]);
}
