//! JSON bodies of the management side: small, and wrong ones are told apart.

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use par_proto::code::Code;
use serde::{Serialize, de::DeserializeOwned};

use super::refusal::Refusal;

/// Largest JSON body: the largest of ours is a path, a digest and a flag.
const LARGEST: usize = 64 << 10;

/// Reads a body of `T`; `None` if it is empty. 415 for another type, 400 for what is no JSON or no `T`, 413.
pub(super) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<Option<T>, Refusal> {
    let bytes = to_bytes(body, LARGEST).await.map_err(|_| {
        Refusal::new(Code::TooLarge, format!("the body is cut off or has more than {LARGEST} bytes"))
    })?;
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

/// A result as JSON.
pub(super) fn answer<T: Serialize>(value: &T) -> Response {
    axum::Json(value).into_response()
}
