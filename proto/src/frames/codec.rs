//! Bytes to frames and back, without copying payloads.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{FrameError, HEADER_LEN, Header};

/// One frame: its header, and metadata and payload as slices of the buffer it was read into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The checked header.
    pub header: Header,
    /// JSON object or empty.
    pub meta: Bytes,
    /// By kind.
    pub payload: Bytes,
}

/// Appends a frame to `out`. `header.size` and `header.meta` are set from the slices.
///
/// Callers bound their slices: metadata to 64 KiB, the body to [`super::MAX_BODY`].
pub fn encode(out: &mut BytesMut, mut header: Header, meta: &[u8], payload: &[u8]) {
    header.meta = meta.len() as u16;
    header.size = (meta.len() + payload.len()) as u32;
    out.reserve(HEADER_LEN + meta.len() + payload.len());
    out.put_slice(&header.to_bytes());
    out.put_slice(meta);
    out.put_slice(payload);
}

/// Takes complete frames from a growing buffer.
#[derive(Debug, Default)]
pub struct Decoder {
    header: Option<Header>,
}

impl Decoder {
    /// The next complete frame, or `None` until more bytes are there.
    ///
    /// Reserves room for a frame that is known to be coming, never more than [`super::MAX_BODY`].
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let Some(bytes) = buffer.first_chunk::<HEADER_LEN>() else {
                    return Ok(None);
                };
                let header = Header::from_bytes(bytes)?;
                buffer.advance(HEADER_LEN);
                self.header = Some(header);
                header
            }
        };
        let size = header.size as usize;
        if buffer.len() < size {
            buffer.reserve(size - buffer.len());
            return Ok(None);
        }
        self.header = None;
        let mut body = buffer.split_to(size).freeze();
        let meta = body.split_to(usize::from(header.meta));
        Ok(Some(Frame { header, meta, payload: body }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frames::Kind;

    fn header(kind: Kind, call: u64) -> Header {
        Header { size: 0, meta: 0, kind, flags: 0, call, a: 7, b: 9 }
    }

    #[test]
    fn vectors_hold_on_this_side() {
        #[derive(serde::Deserialize)]
        struct Vector {
            name: String,
            kind: u8,
            flags: u8,
            call: u64,
            a: u32,
            b: u32,
            meta: String,
            payload_hex: String,
            frame_hex: String,
        }
        #[derive(serde::Deserialize)]
        struct Bad {
            name: String,
            frame_hex: String,
        }
        #[derive(serde::Deserialize)]
        struct Vectors {
            frames: Vec<Vector>,
            refused: Vec<Bad>,
        }
        let vectors: Vectors = serde_json::from_str(include_str!("../../frames/vectors.json")).unwrap();
        for vector in vectors.frames {
            let bytes = hex::decode(&vector.frame_hex).unwrap();
            let frame =
                Decoder::default().next(&mut BytesMut::from(&bytes[..])).unwrap().expect(&vector.name);
            assert_eq!(frame.header.kind as u8, vector.kind, "{}", vector.name);
            assert_eq!(frame.header.flags, vector.flags, "{}", vector.name);
            assert_eq!(frame.header.call, vector.call, "{}", vector.name);
            assert_eq!((frame.header.a, frame.header.b), (vector.a, vector.b), "{}", vector.name);
            assert_eq!(frame.meta, vector.meta.as_bytes(), "{}", vector.name);
            assert_eq!(hex::encode(&frame.payload), vector.payload_hex, "{}", vector.name);
            let mut out = BytesMut::new();
            encode(&mut out, frame.header, &frame.meta, &frame.payload);
            assert_eq!(hex::encode(&out), vector.frame_hex, "{}", vector.name);
        }
        for bad in vectors.refused {
            let bytes = hex::decode(&bad.frame_hex).unwrap();
            assert!(Decoder::default().next(&mut BytesMut::from(&bytes[..])).is_err(), "{}", bad.name);
        }
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_frames(
            bodies in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..50), prop::collection::vec(any::<u8>(), 0..200)), 1..8),
            step in 1usize..64,
        ) {
            let mut wire = BytesMut::new();
            for (call, (meta, payload)) in bodies.iter().enumerate() {
                encode(&mut wire, header(Kind::Result, call as u64), meta, payload);
            }
            let mut decoder = Decoder::default();
            let mut buffer = BytesMut::new();
            let mut seen = Vec::new();
            for chunk in wire.chunks(step) {
                buffer.extend_from_slice(chunk);
                while let Some(frame) = decoder.next(&mut buffer).unwrap() {
                    seen.push((frame.meta.to_vec(), frame.payload.to_vec()));
                }
            }
            prop_assert_eq!(seen, bodies);
        }

        #[test]
        fn garbage_never_panics_and_never_reserves_without_bound(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            let mut decoder = Decoder::default();
            while let Ok(Some(_)) = decoder.next(&mut buffer) {}
            prop_assert!(buffer.capacity() <= crate::frames::MAX_BODY + 4096);
        }
    }
}
