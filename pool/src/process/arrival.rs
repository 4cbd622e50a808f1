//! What a frame of a worker means. Pure: a frame enters, a value leaves.

use par_proto::frames::{FLAG_OCTETS, Frame, Kind};

use super::reply::{Item, Reply};

/// What came from a worker.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A call is over.
    End(Reply),
    /// One item of a call.
    Item(Item),
    /// What means nothing here.
    Nothing,
}

/// Reads a frame that a worker has sent.
pub(super) fn arrival(frame: Frame) -> Arrival {
    let Frame { header, meta, payload } = frame;
    let micros = header.a;
    match header.kind {
        Kind::Result => Arrival::End(Reply::Done { micros, flags: header.flags, meta, payload }),
        Kind::Error => Arrival::End(Reply::Failed { micros, payload }),
        Kind::End => Arrival::End(Reply::Ended { micros, meta }),
        Kind::Cancelled => Arrival::End(Reply::Cancelled { micros }),
        Kind::Returned => Arrival::End(Reply::Returned),
        Kind::Item => Arrival::Item(Item { octets: header.flags & FLAG_OCTETS != 0, meta, payload }),
        Kind::Call
        | Kind::Cancel
        | Kind::Credit
        | Kind::Reply
        | Kind::Recall
        | Kind::Stop
        | Kind::Ready
        | Kind::Invoke
        | Kind::Failed
        | Kind::Consumed => Arrival::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use par_proto::frames::Header;

    use super::*;

    fn frame(kind: Kind, flags: u8, meta: &'static str) -> Frame {
        let header = Header { size: 0, meta: 0, kind, flags, call: 1 << 63, a: 7, b: 0 };
        Frame { header, meta: Bytes::from_static(meta.as_bytes()), payload: Bytes::from_static(b"1") }
    }

    #[test]
    fn items_know_whether_they_are_bytes() {
        let is_octets = |flags| match arrival(frame(Kind::Item, flags, "")) {
            Arrival::Item(item) => item.octets,
            Arrival::End(_) | Arrival::Nothing => unreachable!(),
        };
        assert!(is_octets(FLAG_OCTETS) && !is_octets(0));
    }
}
