//! How a call ended.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    process::{Death, Spent},
    session::Denied,
};

/// How a call ended.
#[derive(Debug)]
pub enum Outcome {
    /// With a result.
    Done {
        /// Flags of the frame: [`par_proto::frames::FLAG_OCTETS`], [`par_proto::frames::FLAG_LIST`].
        flags: u8,
        /// Metadata of the frame.
        meta: Bytes,
        /// The result.
        payload: Bytes,
    },
    /// All its items were sent one by one.
    Ended {
        /// Metadata of the frame.
        meta: Bytes,
    },
    /// The agent failed; JSON as in `FRAMES.md`, kind `ERROR`.
    Failed(Bytes),
    /// Its worker died with it.
    Crashed(Arc<Death>),
    /// The deadline passed, in the queue or in the worker.
    Deadline {
        /// Whether it had started.
        started: bool,
    },
    /// It could not have started before its deadline.
    QueueFull {
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// As many calls as the pool takes at once run or wait, whoever they are for.
    AtLimit {
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// It was made by an agent, and every worker that could answer it waits for a call of its own.
    Entangled,
    /// The workers die again and again.
    CrashLoop {
        /// When the next worker is started.
        retry_after: Duration,
    },
    /// Its session does not take it.
    Session(Denied),
    /// The generation is over.
    Stopping,
}

/// An outcome and where the time went.
#[derive(Debug)]
pub struct Answer {
    /// How it ended.
    pub outcome: Outcome,
    /// Time before the call was sent to the worker that answered.
    pub queued: Duration,
    /// What the worker says that it has used; nothing if it never answered.
    pub spent: Spent,
    /// Process id of that worker, 0 if there was none.
    pub pid: u32,
}

impl Outcome {
    /// Whether the agent is to blame: an error that it raised, a crash, or a call that ran past its deadline.
    pub(crate) fn is_fault(&self) -> bool {
        match self {
            Self::Failed(payload) => {
                #[derive(serde::Deserialize)]
                struct Kind {
                    kind: String,
                }
                // Input that does not fit is the caller's fault.
                serde_json::from_slice::<Kind>(payload).is_ok_and(|fault| fault.kind != "input")
            }
            Self::Crashed(_) | Self::CrashLoop { .. } | Self::Deadline { started: true } => true,
            Self::Done { .. }
            | Self::Ended { .. }
            | Self::Deadline { started: false }
            | Self::QueueFull { .. }
            | Self::AtLimit { .. }
            | Self::Entangled
            | Self::Session(_)
            | Self::Stopping => false,
        }
    }
}
