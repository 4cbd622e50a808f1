//! The 24 bytes before every frame.

use super::Kind;

/// Length of a header in bytes.
pub const HEADER_LEN: usize = 24;

/// Most bytes that may follow a header. Twice the largest body that the gateway accepts by default:
/// half would refuse results that agents may return, double only lets a broken worker cost more memory.
pub const MAX_BODY: usize = 64 * 1024 * 1024;

/// Why bytes are not a frame. Whoever meets one treats its peer as broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A kind that `FRAMES.md` does not name.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// A body longer than [`MAX_BODY`].
    #[error("frame of {0} bytes is over the limit")]
    TooLong(u32),
    /// More metadata than body.
    #[error("{meta} bytes of metadata in a body of {size}")]
    MetaOverrun {
        /// Declared metadata length.
        meta: u16,
        /// Declared body length.
        size: u32,
    },
}

/// A decoded header. `a` and `b` mean what `FRAMES.md` says for the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes after the header: metadata and payload.
    pub size: u32,
    /// How many of those are metadata.
    pub meta: u16,
    /// What the frame says.
    pub kind: Kind,
    /// Bits by kind.
    pub flags: u8,
    /// Id of the call, 0 for the worker itself.
    pub call: u64,
    /// First number, by kind.
    pub a: u32,
    /// Second number, by kind.
    pub b: u32,
}

impl Header {
    /// The header as bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0u8; HEADER_LEN];
        let (size, rest) = out.split_at_mut(4);
        size.copy_from_slice(&self.size.to_le_bytes());
        let (meta, rest) = rest.split_at_mut(2);
        meta.copy_from_slice(&self.meta.to_le_bytes());
        let (bits, rest) = rest.split_at_mut(2);
        bits.copy_from_slice(&[self.kind as u8, self.flags]);
        let (call, rest) = rest.split_at_mut(8);
        call.copy_from_slice(&self.call.to_le_bytes());
        let (a, b) = rest.split_at_mut(4);
        a.copy_from_slice(&self.a.to_le_bytes());
        b.copy_from_slice(&self.b.to_le_bytes());
        out
    }

    /// Reads a header and checks its bounds.
    pub fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Result<Self, FrameError> {
        let [s0, s1, s2, s3, m0, m1, kind, flags, rest @ ..] = *bytes;
        let [c0, c1, c2, c3, c4, c5, c6, c7, a0, a1, a2, a3, b0, b1, b2, b3] = rest;
        let size = u32::from_le_bytes([s0, s1, s2, s3]);
        let meta = u16::from_le_bytes([m0, m1]);
        if size as usize > MAX_BODY {
            return Err(FrameError::TooLong(size));
        }
        if u32::from(meta) > size {
            return Err(FrameError::MetaOverrun { meta, size });
        }
        Ok(Self {
            size,
            meta,
            kind: Kind::try_from(kind)?,
            flags,
            call: u64::from_le_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
            a: u32::from_le_bytes([a0, a1, a2, a3]),
            b: u32::from_le_bytes([b0, b1, b2, b3]),
        })
    }
}
