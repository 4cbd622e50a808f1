//! A server that is asked who calls, and answers as the test says: an introspection endpoint, or a check.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

/// What it was asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The method.
    pub(crate) method: Method,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The fields of the form, or nothing.
    pub(crate) form: Vec<(String, String)>,
}

impl Question {
    /// A header; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header of text"))
    }

    /// A field of the form; empty if there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.form.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }
}

/// Status, headers and body.
pub(crate) type Verdict = (StatusCode, Vec<(&'static str, String)>, Value);

type Judge = Box<dyn Fn(&Question) -> Verdict + Send + Sync>;

struct Shared {
    judge: Mutex<Judge>,
    questions: Mutex<Vec<Question>>,
}

/// Runs until it is dropped.
pub(crate) struct Endpoint {
    shared: Arc<Shared>,
    port: u16,
    task: JoinHandle<()>,
}

impl Endpoint {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) async fn start(judge: impl Fn(&Question) -> Verdict + Send + Sync + 'static) -> Self {
        Self::listen(0, judge).await
    }

    /// Listens on this port: for one that was away.
    pub(crate) async fn listen(
        port: u16,
        judge: impl Fn(&Question) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared { judge: Mutex::new(Box::new(judge)), questions: Mutex::default() });
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { shared, port, task }
    }

    /// Where it is asked.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/ask", self.port)
    }

    /// From now on it answers like this.
    pub(crate) fn judges(&self, judge: impl Fn(&Question) -> Verdict + Send + Sync + 'static) {
        *self.shared.judge.lock().expect("no holder panics") = Box::new(judge);
    }

    /// All that it was asked, in order.
    pub(crate) fn questions(&self) -> Vec<Question> {
        self.shared.questions.lock().expect("no holder panics").clone()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a short body");
    let form = url::form_urlencoded::parse(&body).into_owned().collect();
    let question = Question { method: parts.method, headers: parts.headers, form };
    let (status, headers, body) = (shared.judge.lock().expect("no holder panics"))(&question);
    shared.questions.lock().expect("no holder panics").push(question);
    let mut response = (status, body.to_string()).into_response();
    for (name, value) in headers {
        response.headers_mut().append(name, value.parse().expect("a header"));
    }
    response
}
