//! What a handler leaves of a request's body. A server that answers before it has read all of it closes the connection,
//! and may find out too late to say so: whoever keeps connections to us would send its next request into one that is at
//! its end. So a small rest is read and dropped before the answer leaves, and else the answer says that it is the last.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;

/// Largest rest that is read only to be dropped: every JSON body of ours, and what the edge drains likewise.
const SMALL: usize = 64 << 10;

/// How long it may take to arrive. It was sent with the head; more would be patience for somebody who has an answer.
const PATIENCE: Duration = Duration::from_millis(100);

/// Around every route: no connection ends without a word because of a body that nobody read.
pub(super) async fn settle(request: Request, next: Next) -> Response {
    // Who waits for `100 Continue` has sent nothing, and after an answer may send it or not.
    let waits = request.headers().contains_key(header::EXPECT);
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let left = Left::default();
    let watched = Body::new(Lent { body: Some(body), left: Arc::clone(&left) });
    let mut response = next.run(Request::from_parts(parts, watched)).await;
    let rest = std::mem::replace(&mut *left.lock(), Rest::Lent);
    let settled = match rest {
        Rest::Read => true,
        Rest::Unread(body) => !waits && dropped(body).await,
        Rest::Lent | Rest::Broken => false,
    };
    if !settled {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Reads and drops a small body. False: it is not small, or not here.
async fn dropped(mut body: Body) -> bool {
    let reading = async {
        let mut room = SMALL;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let length = frame.data_ref().map_or(0, Bytes::len);
            match room.checked_sub(length) {
                Some(less) => room = less,
                None => return false,
            }
        }
        true
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or(false)
}

/// What became of a body.
#[derive(Debug, Default)]
enum Rest {
    /// Somebody still has it.
    #[default]
    Lent,
    /// It was read to its end.
    Read,
    /// It cannot be read any further.
    Broken,
    /// It was given back before its end.
    Unread(Body),
}

type Left = Arc<Mutex<Rest>>;

/// A body that is given back when it is dropped.
struct Lent {
    body: Option<Body>,
    left: Left,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        let end = match &polled {
            Poll::Ready(None) => Rest::Read,
            Poll::Ready(Some(Err(_))) => Rest::Broken,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => return polled,
        };
        self.body = None;
        *self.left.lock() = end;
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            *self.left.lock() = if body.is_end_stream() { Rest::Read } else { Rest::Unread(body) };
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, middleware, routing::post};
    use futures_util::{StreamExt as _, stream};
    use tower::ServiceExt as _;

    use super::*;

    /// A route that reads its body, one that does not look at it, and one that stops in the middle.
    fn routes() -> Router {
        Router::new()
            .route("/read", post(async |body: Bytes| body.len().to_string()))
            .route("/refuse", post(async || "no"))
            .route(
                "/half",
                post(async |body: Body| {
                    body.into_data_stream().next().await;
                }),
            )
            .layer(middleware::from_fn(settle))
    }

    async fn is_last(path: &str, expects: bool, body: Body) -> bool {
        let mut request = Request::post(path).body(body).unwrap();
        if expects {
            request.headers_mut().insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        }
        let answer = routes().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.headers().contains_key(header::CONNECTION)
    }

    fn pieces(count: usize) -> Body {
        Body::from_stream(
            stream::iter(vec![Bytes::from(vec![0; 1 << 10]); count]).map(Ok::<_, std::io::Error>),
        )
    }

    #[tokio::test]
    async fn an_answer_is_the_last_of_its_connection_where_much_was_left_unread() {
        let endless = || Body::from_stream(stream::pending::<std::io::Result<Bytes>>());
        let broken = || Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other("cut"))]));
        for path in ["/read", "/refuse", "/half"] {
            for body in [Body::empty(), Body::from("four"), pieces(3), pieces(64)] {
                assert!(!is_last(path, false, body).await, "{path}");
            }
        }
        assert!(!is_last("/read", true, pieces(3)).await);
        assert!(!is_last("/read", false, pieces(200)).await);
        for path in ["/refuse", "/half"] {
            assert!(is_last(path, false, pieces(200)).await, "{path}: too much is left");
            assert!(is_last(path, true, pieces(3)).await, "{path}: it may never come");
        }
        assert!(is_last("/refuse", false, endless()).await);
        assert!(is_last("/refuse", false, broken()).await);
        assert!(is_last("/half", false, broken()).await);
    }
}
