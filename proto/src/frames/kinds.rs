//! The closed set of frame kinds.

use super::FrameError;

/// What a frame says. Numbers below 64 go to the worker, from 64 on they come from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// One call; `a` is the export's index, `b` the milliseconds to its deadline.
    Call = 1,
    /// The caller is gone.
    Cancel = 2,
    /// A stream may send `a` bytes more.
    Credit = 3,
    /// Answer to the worker's own [`Kind::Invoke`].
    Reply = 4,
    /// Give back every call that has not started.
    Recall = 5,
    /// Finish what was received, then exit.
    Stop = 6,
    /// A session is over; its state is dropped.
    Forget = 7,
    /// First frame of a worker.
    Ready = 64,
    /// A call's result; `a` is the handler's time in microseconds.
    Result = 65,
    /// A call's failure.
    Error = 66,
    /// One item of a stream.
    Item = 67,
    /// The regular end of a stream.
    End = 68,
    /// A call that never started.
    Returned = 69,
    /// A call ended by [`Kind::Cancel`].
    Cancelled = 70,
    /// A call from an agent to an agent.
    Invoke = 71,
    /// The worker could not start.
    Failed = 72,
    /// Items of the answer to an [`Kind::Invoke`] were taken: `a` bytes more may be sent.
    Consumed = 73,
    /// Spans of the handler of a call whose trace is kept.
    Spans = 74,
    /// What a call has used so far: counts if the worker dies with it.
    Used = 75,
}

impl TryFrom<u8> for Kind {
    type Error = FrameError;

    fn try_from(byte: u8) -> Result<Self, FrameError> {
        Ok(match byte {
            1 => Self::Call,
            2 => Self::Cancel,
            3 => Self::Credit,
            4 => Self::Reply,
            5 => Self::Recall,
            6 => Self::Stop,
            7 => Self::Forget,
            64 => Self::Ready,
            65 => Self::Result,
            66 => Self::Error,
            67 => Self::Item,
            68 => Self::End,
            69 => Self::Returned,
            70 => Self::Cancelled,
            71 => Self::Invoke,
            72 => Self::Failed,
            73 => Self::Consumed,
            74 => Self::Spans,
            75 => Self::Used,
            other => return Err(FrameError::UnknownKind(other)),
        })
    }
}
