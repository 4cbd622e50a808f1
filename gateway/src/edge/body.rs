//! Reading a request's body before a worker is involved, within its limits of size, time and pace.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use par_proto::code::Code;
use pingora_core::{ErrorType, protocols::http::ServerSession};
use pingora_proxy::Session;
use tokio::time::{Instant, timeout_at};

use super::refusal::Refusal;
use crate::config::Limits;

/// Bytes of a refused body that are read and dropped so that an HTTP/2 client that sends first sees the
/// answer (curl 7.88 loses it otherwise). More would be work for nobody.
const DRAINED: usize = 256 * 1024;

/// How long a body may come as slowly as it likes: the time of a connection that begins on a bad line, and of
/// a client that first has to make what it sends.
const GRACE: Duration = Duration::from_secs(5);

/// Whether a body that has brought so many bytes after this time is slower than `rate` bytes a second; 0 is
/// no floor.
pub(crate) fn too_slow(rate: u64, after: Duration, received: usize) -> bool {
    floor(rate, received).is_some_and(|floor| after > floor)
}

/// When a body must have brought more than it has.
fn floor(rate: u64, received: usize) -> Option<Duration> {
    let nanoseconds = (received as u128 * 1_000_000_000).checked_div(u128::from(rate))?;
    Some(GRACE + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
}

/// Reads the whole body.
pub(crate) async fn read(session: &mut Session, limits: &Limits) -> Result<Bytes, Refusal> {
    let limit = usize::try_from(limits.body_bytes).unwrap_or(usize::MAX);
    expect(session, limits, limits.body_bytes).await?;
    let received = AtomicUsize::new(0);
    timed(limits, &received, collect(session, limit, &received)).await
}

/// Refuses a body that says that it is over its limit, and lets the client send any other.
pub(super) async fn expect(session: &mut Session, limits: &Limits, limit: u64) -> Result<(), Refusal> {
    let length = session.req_header().headers.get(CONTENT_LENGTH);
    let declared = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit) {
        Box::pin(drain(session, limits)).await;
        return Err(too_large(limit));
    }
    continue_100(session).await;
    Ok(())
}

/// Reads a body on the clock. `received` is what has arrived.
pub(super) async fn timed<T>(
    limits: &Limits,
    received: &AtomicUsize,
    reading: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let mut reading = pin!(reading);
    let begin = Instant::now();
    loop {
        let patience = patience(limits, received.load(Relaxed));
        // A body that came with its head never meets the clock.
        if let Ok(read) = timeout_at(begin + patience, &mut reading).await {
            return read;
        }
        if self::patience(limits, received.load(Relaxed)) <= patience {
            return Err(late(limits, patience));
        }
    }
}

/// The next bytes of a body; `None` at its end.
pub(super) async fn chunk(session: &mut Session) -> Result<Option<Bytes>, Refusal> {
    session.as_downstream_mut().read_request_body().await.map_err(|error| {
        let gone = matches!(error.etype, ErrorType::ConnectionClosed | ErrorType::ReadError);
        let (code, text) = if gone {
            (Code::ClientClosed, "the client left while it sent the body")
        } else if error.etype == ErrorType::ReadTimedout {
            // The connection's clock may be quicker than ours: they are set to the same time.
            (Code::RequestTimeout, "the body did not arrive in time")
        } else {
            (Code::BadRequest, "the body is not framed as HTTP demands")
        };
        Refusal::new(code, text).closing()
    })
}

/// How long a body that has brought so many bytes is waited for.
fn patience(limits: &Limits, received: usize) -> Duration {
    floor(limits.body_rate, received).map_or(limits.body_timeout, |floor| floor.min(limits.body_timeout))
}

fn late(limits: &Limits, waited: Duration) -> Refusal {
    let text = if waited >= limits.body_timeout {
        format!("the body did not arrive within {} s", limits.body_timeout.as_secs())
    } else {
        format!("the body comes slower than {} bytes a second", limits.body_rate)
    };
    Refusal::new(Code::RequestTimeout, text).closing()
}

pub(super) fn too_large(limit: u64) -> Refusal {
    Refusal::new(Code::TooLarge, format!("the body is over the limit of {limit} bytes")).closing()
}

async fn collect(session: &mut Session, limit: usize, received: &AtomicUsize) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    loop {
        let Some(chunk) = chunk(session).await? else {
            return Ok(if more.is_empty() { first } else { more.freeze() });
        };
        let length = first.len() + more.len() + chunk.len();
        if length > limit {
            return Err(too_large(limit as u64));
        }
        received.store(length, Relaxed);
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
}

/// pingora leaves `Expect: 100-continue` to us; the size was checked before.
async fn continue_100(session: &mut Session) {
    if !session.req_header().headers.contains_key(EXPECT) {
        return;
    }
    if let ServerSession::H1(h1) = session.as_downstream_mut() {
        h1.set_close_on_response_before_downstream_finish(false);
        // A client that is gone is met again by the read that follows.
        drop(Box::pin(h1.write_continue_response()).await);
        h1.set_close_on_response_before_downstream_finish(true);
    }
}

/// Takes what a client of HTTP/2 that sends first has on its way.
pub(super) async fn drain(session: &mut Session, limits: &Limits) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Forms;

    #[test]
    fn a_body_has_its_grace_and_then_a_floor() {
        let seconds = Duration::from_secs;
        assert!(!too_slow(1024, seconds(5), 0), "everybody has the grace");
        assert!(too_slow(1024, seconds(6), 0));
        assert!(!too_slow(1024, seconds(6), 1024));
        assert!(too_slow(1024, seconds(1005), 1_000_000), "a drip never catches up");
        assert!(!too_slow(1024, seconds(1005), 1_024_000));
        assert!(!too_slow(0, seconds(100_000), 0), "no floor");
        assert!(!too_slow(1, seconds(100_000), usize::MAX), "no overflow");
    }

    #[test]
    fn the_floor_never_gives_more_than_the_whole_time() {
        let limits = Limits {
            request_timeout: Duration::from_secs(1),
            max_concurrent: 1,
            body_bytes: 1,
            body_timeout: Duration::from_secs(30),
            body_rate: 1024,
            header_bytes: 1,
            forms: Forms { bytes: 1, file_bytes: 1, field_bytes: 1, parts: 1 },
        };
        assert_eq!(patience(&limits, 0), GRACE);
        assert_eq!(patience(&limits, 10 << 10), GRACE + Duration::from_secs(10));
        assert_eq!(patience(&limits, 1 << 20), limits.body_timeout);
        assert_eq!(patience(&Limits { body_rate: 0, ..limits }, 0), limits.body_timeout);
        assert_eq!(
            patience(&Limits { body_timeout: Duration::from_secs(1), ..limits }, 0),
            Duration::from_secs(1)
        );
    }
}
