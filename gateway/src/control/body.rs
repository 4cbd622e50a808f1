//! JSON bodies of the management side: small, and wrong ones are told apart.

use std::time::Duration;

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use par_proto::code::Code;
use serde::{Serialize, de::DeserializeOwned};

use super::refusal::Refusal;
use crate::observe::Redactor;

/// Largest JSON body: the largest of ours is a path, a digest and a flag.
const LARGEST: usize = 64 << 10;

/// Longest time of a whole body. Some are read before anybody has shown a right, and each holds a connection to us.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads a whole body, 413 if it is larger than `largest`, 408 if it takes too long.
pub(super) async fn whole(body: Body, largest: usize) -> Result<Bytes, Refusal> {
    within(PATIENCE, body, largest).await
}

async fn within(patience: Duration, body: Body, largest: usize) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(patience, to_bytes(body, largest)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => {
            Err(Refusal::new(Code::TooLarge, format!("the body is cut off or has more than {largest} bytes")))
        }
        Err(_elapsed) => {
            let text = format!("the body did not arrive within {} s", patience.as_secs());
            Err(Refusal::new(Code::RequestTimeout, text))
        }
    }
}

/// Reads a body of `T`; `None` if it is empty. 415 for another type, 400 for what is no JSON or no `T`, 413.
pub(super) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<Option<T>, Refusal> {
    let bytes = whole(body, LARGEST).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let kind = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let essence = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    if essence.is_some_and(|essence| essence != "application/json" && !essence.ends_with("+json")) {
        return Err(Refusal::new(Code::UnsupportedMediaType, "send the body as application/json"));
    }
    let value: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::new(Code::BadJson, format!("the body is not JSON: {error}")))?;
    serde_json::from_value(value).map(Some).map_err(|error| Refusal::new(Code::BadRequest, error.to_string()))
}

/// A result that quotes what packages and servers say, as JSON without their secrets.
pub(super) fn quoting<T: Serialize>(redactor: &Redactor, value: &T) -> Result<Response, Refusal> {
    let mut bytes = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(event = "control", %error, "a result is no JSON");
        Refusal::new(Code::Internal, "the result could not be written")
    })?;
    redactor.mask(&mut bytes);
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

/// A result as JSON.
pub(super) fn answer<T: Serialize>(value: &T) -> Response {
    axum::Json(value).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_never_ends_is_not_waited_for() {
        let soon = Duration::from_millis(20);
        let endless = Body::from_stream(futures_util::stream::pending::<std::io::Result<Bytes>>());
        let status = |refusal: Refusal| refusal.into_response().status().as_u16();
        assert_eq!(status(within(soon, endless, LARGEST).await.unwrap_err()), 408);
        assert_eq!(status(whole(Body::from("four"), 3).await.unwrap_err()), 413);
        assert_eq!(whole(Body::from("four"), 4).await.unwrap(), "four");
    }
}
