//! What reads the bytes of templates and workers, as functions of the bytes: for the targets of `fuzz/`, and only
//! there.

use bytes::BytesMut;
use par_proto::frames::{Decoder, Frame};

use super::{arrival::collect, control::Said};

/// One message of a template.
pub fn said(bytes: &[u8]) {
    drop(serde_json::from_slice::<Said>(bytes));
}

/// The frames of a worker whose bytes arrive in pieces of `step`, up to the first that is none.
pub fn answers(bytes: &[u8], step: usize) -> Vec<Frame> {
    let (mut decoder, mut inbox, mut frames) = (Decoder::default(), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(step) {
        inbox.extend_from_slice(piece);
        if collect(&mut decoder, &mut inbox, &mut frames).is_err() {
            break;
        }
    }
    frames
}
