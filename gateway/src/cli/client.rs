//! The management API of a running `par`, over its local socket.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio_util::io::ReaderStream;

use super::{Exit, Failure};

/// Largest answer that is read whole: 2,000 log lines with tracebacks have less.
const LARGEST_ANSWER: usize = 64 << 20;

/// A body to send.
pub(super) type Body = BoxBody<Bytes, io::Error>;

/// One `par`, by its socket.
pub(super) struct Client {
    socket: PathBuf,
}

impl Client {
    /// The `par` that listens at `socket`.
    pub(super) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Sends a request on a connection of its own. Answers that are no success become the failure they tell of.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        // Its error is seen by the request, which is what is reported.
        tokio::spawn(async move { connection.await.ok() });
        let response = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = self.whole(response).await?;
        Err(Failure::new(Exit::Refused, refusal(status.as_u16(), &text)))
    }

    /// Asks without a body and reads the answer whole.
    pub(super) async fn ask(&self, method: Method, path: &str) -> Result<Bytes, Failure> {
        self.ask_with(request(method, path, Empty::new().map_err(|never| match never {}).boxed())).await
    }

    /// Asks with JSON and reads the answer whole.
    pub(super) async fn ask_json(&self, method: Method, path: &str, body: &Value) -> Result<Bytes, Failure> {
        let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed();
        let mut request = request(method, path, body);
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        self.ask_with(request).await
    }

    /// Asks and reads the answer whole.
    pub(super) async fn ask_with(&self, request: Request<Body>) -> Result<Bytes, Failure> {
        let response = self.send(request).await?;
        self.whole(response).await
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        let limited = http_body_util::Limited::new(response.into_body(), LARGEST_ANSWER);
        let read = limited.collect().await;
        Ok(read.map_err(|error| self.broken(&error))?.to_bytes())
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let socket = self.socket.display();
        let kind = error.kind();
        let text = if matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
            format!("no par answers at {socket}")
        } else if kind == io::ErrorKind::PermissionDenied {
            format!("the par at {socket} belongs to another user")
        } else {
            format!("no par answers at {socket}: {error}")
        };
        Failure::new(Exit::Unreachable, text)
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> Failure {
        let text = format!("the par at {} broke the connection off: {error}", self.socket.display());
        Failure::new(Exit::Unreachable, text)
    }
}

/// A request for the local socket.
pub(super) fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    // Paths are put together here from encoded parts; one that is none asks for the root, which answers 404.
    *request.uri_mut() = path.parse().unwrap_or_default();
    request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("localhost"));
    request
}

/// A body that is read from a file while it is sent, between two texts.
pub(super) fn around_file(before: String, file: tokio::fs::File, after: String) -> Body {
    let text = |text: String| futures_util::stream::iter([Ok(Bytes::from(text))]);
    let whole = futures_util::StreamExt::chain(text(before), ReaderStream::new(file));
    let whole = futures_util::StreamExt::chain(whole, text(after));
    BodyExt::boxed(StreamBody::new(whole.map_ok(Frame::data)))
}

/// What a problem document says, in one line.
fn refusal(status: u16, text: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(text).unwrap_or_default();
    let member = |name: &str| problem.get(name).and_then(Value::as_str);
    match (member("detail"), member("code"), member("step")) {
        (Some(detail), Some(code), Some(step)) => format!("{detail} ({code}, step {step})"),
        (Some(detail), Some(code), None) => format!("{detail} ({code})"),
        _ => format!("it answered {status}"),
    }
    .replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line() {
        let document = br#"{"detail":"agent.yaml\nis missing","code":"package_invalid","step":"unpack"}"#;
        assert_eq!(refusal(422, document), "agent.yaml is missing (package_invalid, step unpack)");
        assert_eq!(refusal(409, br#"{"detail":"d","code":"conflict"}"#), "d (conflict)");
        assert_eq!(refusal(502, b"<html>"), "it answered 502");
    }
}
