//! What is sent to a worker for a call, and how it can end.

use std::sync::Arc;

use bytes::Bytes;
use par_proto::frames::ITEM_WEIGHT;

use super::{
    death::Death,
    logs::CallName,
    nested::{Answering, Line},
    witness::Witness,
};

/// The metadata and input of one call.
#[derive(Debug, Clone)]
pub struct CallFrame {
    /// Index of the export.
    pub export: u32,
    /// JSON object as in `FRAMES.md`.
    pub meta: Bytes,
    /// The input as JSON.
    pub payload: Bytes,
    /// [`par_proto::frames::FLAG_STREAM`], [`par_proto::frames::FLAG_PIECES`].
    pub flags: u8,
}

/// One item of a call that streams.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its place among the items of its call, from 0.
    pub number: u32,
    /// Whether it is bytes and not JSON.
    pub octets: bool,
    /// Metadata of the frame: with the first item of bytes, what they are.
    pub meta: Bytes,
    /// The item.
    pub payload: Bytes,
}

impl Item {
    /// What it takes of the credit of its call, in bytes.
    pub fn weight(&self) -> u32 {
        u32::try_from(self.payload.len() + self.meta.len()).unwrap_or(u32::MAX).saturating_add(ITEM_WEIGHT)
    }
}

/// A worker has sent what it may not send: it is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Overrun {
    /// An item for which it had no credit, or which nobody has asked for.
    #[error("an item that it may not send")]
    Item,
    /// A call of its own by the id of another one that is not answered yet.
    #[error("a call by an id that is taken")]
    Id,
}

/// A call that a handler makes.
#[derive(Debug, Clone)]
pub struct Invoked {
    /// Its id, chosen by the worker.
    pub id: u64,
    /// The worker's call in which it is made.
    pub parent: u64,
    /// Any id of the agent that is meant.
    pub agent_id: Box<str>,
    /// The handler's span in which it is made, if it has opened one: 16 hexadecimal digits, or anything else.
    pub span: Option<Box<str>>,
    /// Whether its items may come one by one.
    pub streams: bool,
    /// Whether the worker reads its answer on the main socket.
    pub on_main: bool,
    /// The input as JSON.
    pub input: Bytes,
}

/// How a call ended, as its worker said it or as the worker's end implies.
#[derive(Debug)]
pub enum Reply {
    /// The handler returned.
    Done {
        /// Microseconds it took.
        micros: u32,
        /// Microseconds of processor time; 0: not told.
        cpu: u32,
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
        /// Microseconds of processor time; 0: not told.
        cpu: u32,
        /// Metadata of the frame: usage.
        meta: Bytes,
        /// JSON as in `FRAMES.md`, kind `ERROR`.
        payload: Bytes,
    },
    /// Every item has been sent.
    Ended {
        /// Microseconds it took.
        micros: u32,
        /// Microseconds of processor time; 0: not told.
        cpu: u32,
        /// Metadata of the frame: usage.
        meta: Bytes,
    },
    /// It ended because its caller was gone.
    Cancelled {
        /// Microseconds it took.
        micros: u32,
        /// Microseconds of processor time; 0: not told.
        cpu: u32,
        /// Metadata of the frame: usage.
        meta: Bytes,
    },
    /// It never started; it may be sent elsewhere.
    Returned,
    /// It had started when its worker died.
    Died {
        /// Why.
        death: Arc<Death>,
        /// Metadata of the last frame `USED`: what it had told until then.
        meta: Bytes,
    },
}

/// What a call leaves with its worker; ended exactly once, whatever happens.
pub trait Ticket: Send + 'static {
    /// The call is over.
    fn end(self, reply: Reply);

    /// One item, before the end.
    ///
    /// # Errors
    /// Nobody has asked for items, or the worker had no credit for it: it is broken.
    fn item(&self, item: Item) -> Result<(), Overrun>;

    /// Who watches it for its trace, if that is kept.
    fn witness(&self) -> Option<Arc<dyn Witness>>;

    /// Answers a call that its handler makes. Not to be asked for anything else meanwhile: the caller holds a lock.
    fn connect(&self, invoked: Invoked, line: Line) -> Answering;

    /// For the log lines that the agent prints meanwhile.
    fn name(&self) -> CallName;

    /// Whether calls like this one run one after the other in a worker, so that a long one holds up the rest.
    fn in_turn(&self) -> bool;
}
