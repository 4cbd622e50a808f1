//! What a frame of a worker means. Pure: a frame enters, a value leaves.

use bytes::{Bytes, BytesMut};
use par_proto::frames::{
    Decoder, FLAG_ABANDONED, FLAG_OCTETS, FLAG_ON_MAIN, FLAG_STREAM, Frame, FrameError, Header, Kind,
};
use serde::Deserialize;

use super::reply::{Invoked, Item, Reply};

/// What came from a worker.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A call is over.
    End(Reply),
    /// One item of a call.
    Item(Item),
    /// A call of its own.
    Invoke(Invoked),
    /// So many bytes of the answer to such a call were taken.
    Consumed(u32),
    /// Nobody waits for the rest of it.
    Abandoned,
    /// Spans of the handler of a call.
    Spans(Bytes),
    /// What a call has used so far: metadata of the frame.
    Used(Bytes),
    /// What means nothing here.
    Nothing,
}

/// Reads a frame that a worker has sent.
pub(super) fn arrival(frame: Frame) -> Arrival {
    let Frame { header, meta, payload } = frame;
    let (micros, cpu) = (header.a, header.b);
    match header.kind {
        Kind::Result => Arrival::End(Reply::Done { micros, cpu, flags: header.flags, meta, payload }),
        Kind::Error => Arrival::End(Reply::Failed { micros, cpu, meta, payload }),
        Kind::End => Arrival::End(Reply::Ended { micros, cpu, meta }),
        Kind::Cancelled => Arrival::End(Reply::Cancelled { micros, cpu, meta }),
        Kind::Returned => Arrival::End(Reply::Returned),
        Kind::Item => {
            let octets = header.flags & FLAG_OCTETS != 0;
            Arrival::Item(Item { number: header.a, octets, meta, payload })
        }
        Kind::Invoke => Arrival::Invoke(invoked(&header, &meta, payload)),
        Kind::Spans => Arrival::Spans(payload),
        Kind::Used => Arrival::Used(meta),
        Kind::Consumed if header.flags & FLAG_ABANDONED != 0 => Arrival::Abandoned,
        Kind::Consumed => Arrival::Consumed(header.a),
        Kind::Call
        | Kind::Cancel
        | Kind::Credit
        | Kind::Reply
        | Kind::Recall
        | Kind::Stop
        | Kind::Forget
        | Kind::Ready
        | Kind::Failed => Arrival::Nothing,
    }
}

/// Metadata of an `INVOKE`.
#[derive(Debug, Default, Deserialize)]
struct Wanted {
    #[serde(default)]
    agent_id: Box<str>,
    #[serde(default)]
    parent: u64,
    #[serde(default)]
    span: Option<Box<str>>,
}

fn invoked(header: &Header, meta: &[u8], input: Bytes) -> Invoked {
    // What cannot be read names no agent and no call, which is answered as such.
    let Wanted { agent_id, parent, span } = serde_json::from_slice(meta).unwrap_or_default();
    let has = |flag| header.flags & flag != 0;
    let (streams, on_main) = (has(FLAG_STREAM), has(FLAG_ON_MAIN));
    Invoked { id: header.call, parent, agent_id, span, streams, on_main, input }
}

/// Takes the complete frames out of what a worker has sent.
pub(super) fn collect(
    decoder: &mut Decoder,
    inbox: &mut BytesMut,
    frames: &mut Vec<Frame>,
) -> Result<(), FrameError> {
    while let Some(frame) = decoder.next(inbox)? {
        let from_worker = frame.header.kind as u8 >= Kind::Ready as u8;
        if !from_worker {
            return Err(FrameError::UnknownKind(frame.header.kind as u8));
        }
        frames.push(frame);
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "one of many")]
mod tests {
    use super::*;

    fn frame(kind: Kind, flags: u8, meta: &'static str) -> Frame {
        let header = Header { size: 0, meta: 0, kind, flags, call: 1 << 63, a: 7, b: 0 };
        Frame { header, meta: Bytes::from_static(meta.as_bytes()), payload: Bytes::from_static(b"1") }
    }

    #[test]
    fn a_call_of_the_workers_own_names_its_agent_and_the_call_it_belongs_to() {
        let read = |flags, meta| match arrival(frame(Kind::Invoke, flags, meta)) {
            Arrival::Invoke(invoked) => invoked,
            _ => unreachable!(),
        };
        let invoked = read(FLAG_STREAM, r#"{"agent_id":"a/b","parent":5}"#);
        assert_eq!((&*invoked.agent_id, invoked.parent, invoked.id), ("a/b", 5, 1 << 63));
        assert!(invoked.streams && !invoked.on_main);
        assert!(read(FLAG_ON_MAIN, "{}").on_main);
        let garbled = read(0, "{");
        assert_eq!((&*garbled.agent_id, garbled.parent, garbled.streams), ("", 0, false));
    }

    #[test]
    fn items_know_whether_they_are_bytes() {
        let is_octets = |flags| match arrival(frame(Kind::Item, flags, "")) {
            Arrival::Item(item) => item.octets,
            _ => unreachable!(),
        };
        assert!(is_octets(FLAG_OCTETS) && !is_octets(0));
    }
}
