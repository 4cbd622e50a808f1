//! A request of the management side that is not answered with what it asked for. Handlers only name the code and one
//! sentence; [`finish`] writes the document, because it knows the request's id.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use par_pool::package::Step;
use par_proto::{code::Code, ids::is_request_id};

use crate::{
    observe::Redactor,
    problem::{Extras, PROBLEM_JSON, problem},
};

/// The header that names a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Tells the edge the code, for its access line; it goes no further.
pub(crate) const CODE_HEADER: HeaderName = HeaderName::from_static("x-par-code");

/// Why, and what the client may know of it.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    code: Code,
    detail: String,
    step: Option<Step>,
}

impl Refusal {
    /// A code with one sentence for the client.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), step: None }
    }

    /// The step of the street that failed.
    #[must_use]
    pub(super) fn at(mut self, step: Step) -> Self {
        self.step = Some(step);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if self.code == Code::Unauthenticated {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"par\""));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Around every route: names the request in the answer, and writes refusals as problem documents, without secrets.
pub(super) async fn finish(State(redactor): State<Redactor>, request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).filter(|id| is_request_id(id.as_bytes())).cloned();
    let id = given.unwrap_or_else(new_request_id);
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        let extras = Extras { step: refusal.step.map(Step::text), ..Extras::default() };
        let detail = redactor.masked(&refusal.detail);
        let document = problem(refusal.code, &detail, id.to_str().unwrap_or_default(), extras);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(CODE_HEADER, HeaderValue::from_static(refusal.code.text()));
        *response.body_mut() = Body::from(document);
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// For requests that come past the edge, which only tests do.
fn new_request_id() -> HeaderValue {
    let mut bytes = [0; 16];
    let filled = getrandom::fill(&mut bytes);
    let text = if filled.is_ok() { hex::encode(bytes) } else { "unnamed".to_owned() };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unnamed"))
}
