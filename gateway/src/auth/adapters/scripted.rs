//! What tests of adapters need: a server on loopback that answers as its script says, and requests to prove.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{Router, body::Body, extract::State, response::Response};
use http::{HeaderMap, Method, StatusCode, request::Parts};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle, time::timeout};
use url::Url;

use crate::auth::{AuthFault, Authenticator, ClientCertificate, Evidence, Proof};

/// Longest wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What it is answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "tests write values where they use them")]
    pub(super) fn json(body: impl ToString) -> Self {
        Self { body: body.to_string(), ..Self::status(200) }
    }

    #[expect(clippy::needless_pass_by_value, reason = "tests write values where they use them")]
    pub(super) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

#[derive(Clone)]
struct Shared {
    reply: Arc<Mutex<Reply>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    gate: Arc<Semaphore>,
    came: Arc<Semaphore>,
}

/// The server; it ends when it is dropped.
pub(super) struct Scripted {
    pub(super) url: Url,
    shared: Shared,
    server: JoinHandle<()>,
}

impl Scripted {
    /// Answers with this, until something else is said.
    pub(super) async fn start(reply: Reply) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/ask", listener.local_addr().unwrap()).parse().unwrap();
        let shared = Shared {
            reply: Arc::new(Mutex::new(reply)),
            asked: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            came: Arc::new(Semaphore::new(0)),
        };
        let routes = Router::new().fallback(answer).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, shared, server }
    }

    pub(super) fn says(&self, reply: Reply) {
        *self.shared.reply.lock() = reply;
    }

    /// Answers nothing until [`Self::goes_on`].
    pub(super) fn holds(&self) {
        self.shared.gate.forget_permits(usize::MAX);
    }

    pub(super) fn goes_on(&self) {
        self.shared.gate.add_permits(1000);
    }

    /// Until so many requests have come since the last call.
    pub(super) async fn has_come(&self, count: u32) {
        timeout(PATIENCE, self.shared.came.acquire_many(count)).await.unwrap().unwrap().forget();
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shared): State<Shared>, request: axum::extract::Request) -> Response {
    let (Parts { method, headers, .. }, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    shared.asked.lock().push(Asked { method, headers, body });
    shared.came.add_permits(1);
    shared.gate.acquire().await.unwrap().forget();
    let reply = shared.reply.lock().clone();
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    for (name, value) in reply.headers {
        response.headers_mut().append(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    response
}

/// An address where nobody listens.
pub(super) fn nobody() -> Url {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/ask", listener.local_addr().unwrap()).parse().unwrap()
}

/// A request that wants to be proved.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) headers: HeaderMap,
    pub(super) certificate: Option<ClientCertificate>,
    token: Option<String>,
}

impl Request {
    pub(super) fn with(token: &str) -> Self {
        let headers = [(http::header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())];
        let token = Some(token.to_owned());
        Self { headers: headers.into_iter().collect(), certificate: None, token }
    }

    pub(super) fn bare() -> Self {
        Self { headers: HeaderMap::new(), certificate: None, token: None }
    }

    pub(super) fn showing(mut self, certificate: &ClientCertificate) -> Self {
        self.certificate = Some(certificate.clone());
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.append(name, value.parse().unwrap());
        self
    }

    pub(super) async fn to(&self, authenticator: &dyn Authenticator) -> Result<Option<Proof>, AuthFault> {
        let evidence = Evidence {
            token: self.token.as_deref(),
            certificate: self.certificate.as_ref(),
            address: Some(IpAddr::from([10, 1, 2, 3])),
            method: &Method::PUT,
            path: "/agents/echo/x?y=%20z",
            headers: &self.headers,
            request_id: "req-1",
        };
        authenticator.authenticate(&evidence).await
    }
}

/// What came of a request, in one word: a subject, `nobody's`, a reason, or `unavailable`.
pub(super) fn told(proof: &Result<Option<Proof>, AuthFault>) -> String {
    match proof {
        Ok(Some(proof)) => proof.caller.subject.to_string(),
        Ok(None) => "nobody's".to_owned(),
        Err(AuthFault::Refused { reason, .. }) => reason.text().to_owned(),
        Err(AuthFault::Unavailable { .. }) => "unavailable".to_owned(),
    }
}

/// A certificate of this name that is good for an hour.
pub(super) fn certificate(name: &str) -> ClientCertificate {
    ClientCertificate {
        subject: format!("CN={name},O=Acme"),
        common_name: Some(name.to_owned()),
        alternatives: vec![format!("{name}.example"), format!("spiffe://example/{name}")],
        fingerprint: format!("fingerprint of {name}"),
        not_after: SystemTime::now() + Duration::from_hours(1),
    }
}
