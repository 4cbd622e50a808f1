//! Worker frames: header, kinds and codec. `FRAMES.md` is the definition; `frames/vectors.json` holds the
//! test vectors that this side and the Python side both pass.

mod codec;
mod header;
mod journal;
mod kinds;

pub use codec::{Decoder, Frame, encode};
pub use header::{FrameError, HEADER_LEN, Header, MAX_BODY};
pub use journal::{JOURNAL_SIZE, JournalImage, Progress};
pub use kinds::Kind;

/// Flag of [`Kind::Call`] and [`Kind::Invoke`]: items of a generator may be sent one by one.
pub const FLAG_STREAM: u8 = 1;
/// Flag of [`Kind::Call`]: items that are bytes may be sent one by one.
pub const FLAG_PIECES: u8 = 2;
/// Flag of [`Kind::Call`]: members of the input are files, as the metadata says.
pub const FLAG_FILES: u8 = 4;
/// Flag of [`Kind::Call`]: its trace is kept, and spans of its handler are taken.
pub const FLAG_TRACED: u8 = 8;
/// Flag of [`Kind::Result`] and [`Kind::Item`]: the payload is raw bytes, not JSON.
pub const FLAG_OCTETS: u8 = 1;
/// Flag of [`Kind::Result`]: the payload is the JSON array of a generator's items.
pub const FLAG_LIST: u8 = 2;
/// Flag of [`Kind::Reply`]: the call failed; the payload is as in [`Kind::Error`].
pub const FLAG_FAILED: u8 = 1;
/// Flag of [`Kind::Reply`]: one item of a stream, more follow.
pub const FLAG_ITEM: u8 = 2;
/// Flag of [`Kind::Reply`]: the payload is raw bytes, not JSON.
pub const FLAG_REPLY_OCTETS: u8 = 4;
/// Flag of [`Kind::Consumed`]: nobody waits for the rest of the answer.
pub const FLAG_ABANDONED: u8 = 1;
/// Flag of `INVOKE`: its only `REPLY` is read on the main socket.
pub const FLAG_ON_MAIN: u8 = 2;

/// Bytes of items that a stream may send before any [`Kind::Credit`] has come. What a slow reader has not taken waits
/// in the gateway: twice would be felt with a thousand streams, half would make a fast one wait for its credit.
pub const STREAM_CREDIT: u32 = 256 * 1024;

/// Bytes of credit that an item takes besides its own: what it costs to keep it. Without them empty items would cost
/// nothing and a million of them might wait.
pub const ITEM_WEIGHT: u32 = 64;
