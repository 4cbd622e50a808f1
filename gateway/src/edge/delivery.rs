//! A body on its way to the client: bytes enter, and leave in as few writes as the connection takes.
//!
//! Each write to a socket is looked at by the kernel and by whoever waits at the other end: a megabyte in pieces of
//! 64 KiB costs twice to three times the processor time of one write. But a time-out of the framework covers a whole
//! write, and a slow client may need longer for a large one than for a small one. So what is watched is not the write
//! but whether the client takes anything.

use std::time::Duration;

use bytes::Bytes;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::time::sleep;

use super::connection::Taken;

/// What a client must take in the time that a write may take; else it is not there. In HTTP/2 it is the largest piece of
/// a write, too: more than a window is sent in several frames anyway.
pub(super) const PIECE: usize = 64 * 1024;

/// Writes a part of a body; `end`: the last one.
///
/// # Errors
/// Those of the connection; and a time-out if the client takes less than [`PIECE`] in the time of a write.
pub(super) async fn deliver(session: &mut Session, mut bytes: Bytes, end: bool) -> Result<()> {
    let taken = Taken::of(session);
    let downstream = session.as_downstream_mut();
    if bytes.len() <= PIECE {
        return downstream.write_response_body(bytes, end).await;
    }
    let Some((taken, patience)) = taken.zip(downstream.get_write_timeout()) else {
        while bytes.len() > PIECE {
            downstream.write_response_body(bytes.split_to(PIECE), false).await?;
        }
        return downstream.write_response_body(bytes, end).await;
    };
    downstream.set_write_timeout(None);
    let written = tokio::select! {
        written = downstream.write_response_body(bytes, end) => written,
        () = stalled(&taken, patience) => {
            let text = format!("the client took less than {PIECE} bytes in {patience:?}");
            Err(Error::explain(ErrorType::WriteTimedout, text).into_down())
        }
    };
    downstream.set_write_timeout(Some(patience));
    written
}

/// Ends when too little was taken for too long.
async fn stalled(taken: &Taken, patience: Duration) {
    let mut before = taken.bytes();
    loop {
        sleep(patience).await;
        let now = taken.bytes();
        if now.wrapping_sub(before) < PIECE as u64 {
            return;
        }
        before = now;
    }
}
