//! Worker frames: header, kinds and codec. `FRAMES.md` is the definition; `frames/vectors.json` holds the
//! test vectors that this side and the Python side both pass.

mod codec;
mod header;
mod journal;
mod kinds;

pub use codec::{Decoder, Frame, encode};
pub use header::{FrameError, HEADER_LEN, Header, MAX_BODY};
pub use journal::{JOURNAL_SIZE, JournalImage};
pub use kinds::Kind;

/// Flag of [`Kind::Call`]: items of a generator may be sent one by one.
pub const FLAG_STREAM: u8 = 1;
/// Flag of [`Kind::Result`] and [`Kind::Item`]: the payload is raw bytes, not JSON.
pub const FLAG_OCTETS: u8 = 1;
/// Flag of [`Kind::Result`]: the payload is the JSON array of a generator's items.
pub const FLAG_LIST: u8 = 2;
