//! The page that a worker leaves behind when it dies: which call had started, and which answers were
//! finished but not yet written. Read by `par`, written by the worker.

use bytes::BytesMut;

use super::{Decoder, Frame};

/// Size of the journal file in bytes. Holds a full window of small answers; larger ones are written directly.
pub const JOURNAL_SIZE: usize = 262_144;

/// Offset of the pending frames.
const FRAMES_AT: usize = 16;

/// Bit of the first field: the worker waits for calls.
const RESTING: u64 = 1 << 63;

/// How far a worker has come, as the first field of its journal says.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Id of the call that started last; 0: none has.
    pub started: u64,
    /// It has answered what it was given and waits for more. A worker need not say so.
    pub resting: bool,
}

impl Progress {
    /// From the first field.
    pub fn of(word: u64) -> Self {
        Self { started: word & !RESTING, resting: word & RESTING != 0 }
    }
}

/// What a journal said at one moment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct JournalImage {
    /// Id of the call that started last.
    pub started: u64,
    /// Frames that were complete but not yet written to the main socket.
    pub frames: Vec<Frame>,
}

impl JournalImage {
    /// Reads what a worker left. A damaged journal yields the frames before the damage.
    pub fn parse(bytes: &[u8]) -> Self {
        let Some((&started, rest)) = bytes.split_first_chunk::<8>() else {
            return Self::default();
        };
        let Some((&pending, rest)) = rest.split_first_chunk::<8>() else {
            return Self::default();
        };
        debug_assert_eq!(bytes.len() - rest.len(), FRAMES_AT);
        let pending = usize::try_from(u64::from_le_bytes(pending)).unwrap_or(usize::MAX);
        let mut buffer = BytesMut::from(rest.get(..pending.min(rest.len())).unwrap_or_default());
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        while let Ok(Some(frame)) = decoder.next(&mut buffer) {
            frames.push(frame);
        }
        Self { started: Progress::of(u64::from_le_bytes(started)).started, frames }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Header, Kind, encode};

    #[test]
    fn finished_answers_are_found_after_a_death() {
        let mut frames = BytesMut::new();
        let header = Header { size: 0, meta: 0, kind: Kind::Result, flags: 0, call: 3, a: 0, b: 0 };
        encode(&mut frames, header, b"", b"1");
        encode(&mut frames, Header { call: 4, ..header }, b"", b"2");
        let mut bytes = vec![0u8; JOURNAL_SIZE];
        bytes[..8].copy_from_slice(&5u64.to_le_bytes());
        bytes[8..16].copy_from_slice(&(frames.len() as u64).to_le_bytes());
        bytes[16..16 + frames.len()].copy_from_slice(&frames);
        let image = JournalImage::parse(&bytes);
        assert_eq!(image.started, 5);
        assert_eq!(image.frames.iter().map(|f| f.header.call).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn a_worker_that_rests_says_which_call_was_its_last() {
        assert_eq!(Progress::of(7), Progress { started: 7, resting: false });
        assert_eq!(Progress::of(7 | 1 << 63), Progress { started: 7, resting: true });
        let mut bytes = vec![0u8; JOURNAL_SIZE];
        bytes[..8].copy_from_slice(&(7u64 | 1 << 63).to_le_bytes());
        assert_eq!(JournalImage::parse(&bytes), JournalImage { started: 7, frames: vec![] });
    }

    #[test]
    fn a_damaged_journal_yields_what_is_whole() {
        assert_eq!(JournalImage::parse(&[1, 2, 3]), JournalImage::default());
        let mut bytes = vec![0xffu8; 64];
        bytes[..8].copy_from_slice(&9u64.to_le_bytes());
        assert_eq!(JournalImage::parse(&bytes), JournalImage { started: 9, frames: vec![] });
    }
}
