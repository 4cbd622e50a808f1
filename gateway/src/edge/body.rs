//! Reading a request's body before a worker is involved, within its limits of size and time.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use par_proto::code::Code;
use pingora_core::protocols::http::ServerSession;
use pingora_proxy::Session;

use super::refusal::Refusal;
use crate::config::Limits;

/// Bytes of a refused body that are read and dropped so that an HTTP/2 client that sends first sees the answer
/// (curl 7.88 loses it otherwise). More would be work for nobody.
const DRAINED: usize = 256 * 1024;

/// Reads the whole body.
pub(crate) async fn read(session: &mut Session, limits: &Limits) -> Result<Bytes, Refusal> {
    let limit = usize::try_from(limits.body_bytes).unwrap_or(usize::MAX);
    let declared = session
        .req_header()
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limits.body_bytes) {
        drain(session, limits).await;
        return Err(too_large(limit));
    }
    continue_100(session).await;
    let reading = tokio::time::timeout(limits.body_timeout, collect(session, limit)).await;
    match reading {
        Ok(read) => read,
        Err(_elapsed) => Err(Refusal::new(
            Code::RequestTimeout,
            format!("the body did not arrive within {} s", limits.body_timeout.as_secs()),
        )
        .closing()),
    }
}

fn too_large(limit: usize) -> Refusal {
    Refusal::new(Code::TooLarge, format!("the body is over the limit of {limit} bytes")).closing()
}

async fn collect(session: &mut Session, limit: usize) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    loop {
        match session.as_downstream_mut().read_request_body().await {
            Ok(Some(chunk)) => {
                if first.len() + more.len() + chunk.len() > limit {
                    return Err(too_large(limit));
                }
                if first.is_empty() && more.is_empty() {
                    first = chunk;
                } else {
                    if more.is_empty() {
                        more.extend_from_slice(&first);
                        first = Bytes::new();
                    }
                    more.extend_from_slice(&chunk);
                }
            }
            Ok(None) => return Ok(if more.is_empty() { first } else { more.freeze() }),
            Err(error) => {
                let gone = matches!(
                    error.etype,
                    pingora_core::ErrorType::ConnectionClosed | pingora_core::ErrorType::ReadError
                );
                return Err(if gone {
                    Refusal::new(Code::ClientClosed, "the client left while it sent the body").closing()
                } else {
                    Refusal::new(Code::BadRequest, "the body is not framed as HTTP demands").closing()
                });
            }
        }
    }
}

/// pingora leaves `Expect: 100-continue` to us; the size was checked before.
async fn continue_100(session: &mut Session) {
    if !session.req_header().headers.contains_key(EXPECT) {
        return;
    }
    if let ServerSession::H1(h1) = session.as_downstream_mut() {
        h1.set_close_on_response_before_downstream_finish(false);
        // A client that is gone is met again by the read that follows.
        drop(h1.write_continue_response().await);
        h1.set_close_on_response_before_downstream_finish(true);
    }
}

async fn drain(session: &mut Session, limits: &Limits) {
    let session = session.as_downstream_mut();
    if !session.is_http2() {
        return;
    }
    let reading = async {
        let mut left = DRAINED;
        while let Ok(Some(chunk)) = session.read_request_body().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    drop(tokio::time::timeout(limits.body_timeout, reading).await);
}
