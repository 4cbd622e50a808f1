//! Pages of other origins: what a browser may let them do. Off unless configured; nothing here lets anybody in, it
//! only tells browsers which pages may see answers.

use http::{HeaderMap, HeaderValue, Method, header};
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};

use crate::config::Cors;

/// Headers of ours that a page may read.
const EXPOSED: &str = "X-Request-ID, X-PAR-Agent, X-PAR-Version, X-PAR-Generation, Server-Timing, Retry-After, RateLimit, RateLimit-Policy";

/// Whether a request asks what a page may do, before it does it.
pub(super) fn is_preflight(request: &RequestHeader) -> bool {
    request.method == Method::OPTIONS
        && request.headers.contains_key(header::ORIGIN)
        && request.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The origin to name in the answer, if the page may see it.
fn allowed<'a>(cors: &Cors, request: &'a HeaderMap) -> Option<&'a HeaderValue> {
    let origin = request.get(header::ORIGIN)?;
    let named = |origins: &Vec<String>| origins.iter().any(|one| one.as_bytes() == origin.as_bytes());
    cors.origins.as_ref().is_none_or(named).then_some(origin)
}

/// Adds what the browser needs to let the page see an answer.
pub(super) fn expose(cors: &Cors, request: &HeaderMap, answer: &mut ResponseHeader) -> Result<()> {
    answer.append_header(header::VARY, HeaderValue::from_static("Origin"))?;
    let Some(origin) = allowed(cors, request) else { return Ok(()) };
    answer.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())?;
    answer.insert_header(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED))?;
    if cors.credentials {
        answer.insert_header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"))?;
    }
    Ok(())
}

/// Adds what a page may do, to the answer of a preflight.
pub(super) fn permit(cors: &Cors, request: &HeaderMap, answer: &mut ResponseHeader) -> Result<()> {
    if allowed(cors, request).is_some() {
        answer.insert_header(header::ACCESS_CONTROL_ALLOW_METHODS, cors.methods.clone())?;
        answer.insert_header(header::ACCESS_CONTROL_ALLOW_HEADERS, cors.headers.clone())?;
        answer.insert_header(header::ACCESS_CONTROL_MAX_AGE, cors.max_age.clone())?;
    }
    Ok(())
}
