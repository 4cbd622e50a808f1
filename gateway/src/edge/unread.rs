//! The body of a request that is refused before anybody reads it. A small one that is here, or about to be, is read and
//! dropped, so that the connection can be used again; for more the connection is closed instead.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use pingora_proxy::Session;

/// Largest body that is read only to be dropped: what a kernel has in its buffer anyway.
const SMALL: u64 = 64 * 1024;

/// How long it may take to arrive. It was sent with the head; more would be patience for somebody who is refused.
const PATIENCE: Duration = Duration::from_millis(100);

/// Reads and drops a small body. False: it is not small, or not here; the connection cannot be used again.
pub(super) async fn drain(session: &mut Session) -> bool {
    let headers = &session.req_header().headers;
    let declared = headers.get(CONTENT_LENGTH);
    let is_small = declared.is_none_or(|length| {
        // Of a body in chunks nobody knows the length; it is counted.
        length.to_str().ok().and_then(|text| text.parse().ok()).is_some_and(|length: u64| length <= SMALL)
    });
    // Who waits for `100 Continue` has sent nothing, and after a refusal may send it or not.
    if !is_small || headers.contains_key(EXPECT) {
        return false;
    }
    if declared.is_none() && !headers.contains_key(TRANSFER_ENCODING) && !session.is_http2() {
        return true;
    }
    let reading = async {
        let mut left = SMALL;
        while let Ok(read) = session.as_downstream_mut().read_request_body().await {
            let Some(chunk) = read else { return true };
            match left.checked_sub(chunk.len() as u64) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        false
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or(false)
}
