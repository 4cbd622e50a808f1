//! What is sent to a worker for a call, and how it can end.

use std::sync::Arc;

use bytes::Bytes;

use super::death::Death;

/// The metadata and input of one call.
#[derive(Debug, Clone)]
pub struct CallFrame {
    /// Index of the export.
    pub export: u32,
    /// JSON object as in `FRAMES.md`.
    pub meta: Bytes,
    /// The input as JSON.
    pub payload: Bytes,
}

/// How a call ended, as its worker said it or as the worker's end implies.
#[derive(Debug)]
pub enum Reply {
    /// The handler returned.
    Done {
        /// Microseconds it took.
        micros: u32,
        /// Flags of the frame.
        flags: u8,
        /// Metadata of the frame: usage, content type.
        meta: Bytes,
        /// The result.
        payload: Bytes,
    },
    /// The handler failed; the payload says how.
    Failed {
        /// Microseconds it took.
        micros: u32,
        /// JSON as in `FRAMES.md`, kind `ERROR`.
        payload: Bytes,
    },
    /// It ended because its caller was gone.
    Cancelled {
        /// Microseconds it took.
        micros: u32,
    },
    /// It never started; it may be sent elsewhere.
    Returned,
    /// It had started when its worker died.
    Died(Arc<Death>),
}

/// What a call leaves with its worker; ended exactly once, whatever happens.
pub trait Ticket: Send + 'static {
    /// The call is over.
    fn end(self, reply: Reply);

    /// For the log lines that the agent prints meanwhile.
    fn request_id(&self) -> Arc<str>;

    /// Whether calls like this one run one after the other in a worker, so that a long one holds up the rest.
    fn in_turn(&self) -> bool;
}
