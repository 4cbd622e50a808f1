//! What both sides of the runtime share: identifiers, the closed set of error codes, and the frames
//! between `par` and its worker processes (`FRAMES.md`). Depends on nothing else of ours.

pub mod code;
pub mod frames;
pub mod ids;
