//! What is to be written to a worker's main socket, and the cancels that have to wait for it: commands travel on a socket
//! of their own, and one that came before its call would be about nothing. Pure.

use bytes::BytesMut;
use par_proto::frames::{Header, encode};

/// What callers have appended and nobody has taken to write it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: BytesMut,
    /// How many calls these are.
    waiting: usize,
    /// The call that was appended last; ids ascend.
    appended: u64,
    /// The last call of what was taken.
    taken: u64,
    /// The last call that has left as a whole.
    left: u64,
    /// Calls that are cancelled as soon as they have left.
    cancelled: Vec<u64>,
}

impl Outbox {
    /// Appends a call. Returns how many wait now; if it is alone, nobody has told the writing task.
    pub(super) fn append(&mut self, header: Header, meta: &[u8], payload: &[u8]) -> usize {
        self.appended = header.call;
        encode(&mut self.bytes, header, meta, payload);
        self.waiting += 1;
        self.waiting
    }

    /// Whether a cancel of this call may be sent now. If not, [`Outbox::take`] gives it back when it may.
    pub(super) fn may_cancel(&mut self, call: u64) -> bool {
        let has_left = call <= self.left;
        if !has_left {
            self.cancelled.push(call);
        }
        has_left
    }

    /// For who writes, when all that was taken before is written: fills its empty buffer, and gives the cancels that have
    /// waited for that.
    pub(super) fn take(&mut self, empty: &mut BytesMut) -> Vec<u64> {
        self.left = self.taken;
        std::mem::swap(&mut self.bytes, empty);
        // With the bytes: whoever appends the next one rings.
        self.waiting = 0;
        self.taken = self.appended;
        if self.cancelled.is_empty() {
            return Vec::new();
        }
        let left = self.left;
        self.cancelled.extract_if(.., |call| *call <= left).collect()
    }

    /// There is nobody to write to.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.waiting = 0;
        self.cancelled.clear();
    }
}

#[cfg(test)]
mod tests {
    use par_proto::frames::Kind;

    use super::*;

    fn append(outbox: &mut Outbox, call: u64) -> usize {
        let header = Header { size: 0, meta: 0, kind: Kind::Call, flags: 0, call, a: 0, b: 0 };
        outbox.append(header, b"", b"{}")
    }

    #[test]
    fn a_cancel_waits_until_its_call_has_left() {
        let (mut outbox, mut writing) = (Outbox::default(), BytesMut::new());
        assert_eq!(append(&mut outbox, 1), 1);
        assert_eq!(append(&mut outbox, 2), 2, "the task knows already");
        assert!(!outbox.may_cancel(2), "nothing was written yet");
        assert!(outbox.take(&mut writing).is_empty(), "it is being written");
        assert_eq!(append(&mut outbox, 3), 1);
        assert!(!outbox.may_cancel(3) && !outbox.may_cancel(1));
        writing.clear();
        assert_eq!(outbox.take(&mut writing), [2, 1], "3 is only being written now");
        assert!(outbox.may_cancel(1) && outbox.may_cancel(2));
        writing.clear();
        assert_eq!(outbox.take(&mut writing), [3]);
        assert!(writing.is_empty() && outbox.may_cancel(3));
    }

    #[test]
    fn what_nobody_reads_is_forgotten_with_its_cancels() {
        let (mut outbox, mut writing) = (Outbox::default(), BytesMut::new());
        append(&mut outbox, 1);
        assert!(!outbox.may_cancel(1));
        outbox.clear();
        assert!(outbox.take(&mut writing).is_empty() && writing.is_empty());
    }
}
