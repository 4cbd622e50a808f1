//! Calls over HTTP and what comes back.

use std::{path::Path, sync::Once, time::Duration};

use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::Value;

/// A client that trusts nobody's proxy and follows no redirect: what is asked is what is sent.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    bearer: Option<String>,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// Headers.
    pub(crate) headers: HeaderMap,
    /// The whole body.
    pub(crate) body: Vec<u8>,
}

/// One rustls provider for all clients of this process.
pub(crate) fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().ok();
    });
}

impl Client {
    /// Speaks to `127.0.0.1:port`.
    pub(crate) fn new(port: u16) -> Self {
        Self::dressed(port, |builder| builder)
    }

    /// Speaks from another address of loopback, which makes it another tenant while identity is off.
    pub(crate) fn from_address(port: u16, address: std::net::IpAddr) -> Self {
        Self::dressed(port, |builder| builder.local_address(address))
    }

    /// Speaks HTTP/2 from the first byte, without TLS.
    pub(crate) fn http2(port: u16) -> Self {
        Self::dressed(port, reqwest::ClientBuilder::http2_prior_knowledge)
    }

    /// Speaks to the local socket at `path`.
    pub(crate) fn local(path: &Path) -> Self {
        Self { base: "http://localhost".to_owned(), ..Self::dressed(0, |builder| builder.unix_socket(path)) }
    }

    /// Speaks TLS, whatever the certificate.
    pub(crate) fn https(port: u16) -> Self {
        Self::secured(port, |builder| builder.tls_danger_accept_invalid_certs(true))
    }

    /// Speaks TLS to `localhost:port` as the test wants it.
    pub(crate) fn secured(
        port: u16,
        dress: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Self {
        // Names may lead to ::1 first, where somebody else may listen.
        let here = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let dressed = Self::dressed(port, |builder| dress(builder.resolve("localhost", here)));
        Self { base: format!("https://localhost:{port}"), ..dressed }
    }

    fn dressed(port: u16, dress: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Self {
        install_crypto();
        let builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(90));
        let http = dress(builder).build().expect("a client");
        Self { http, base: format!("http://127.0.0.1:{port}"), bearer: None }
    }

    /// The same with a token in every request.
    pub(crate) fn with_bearer(&self, token: &str) -> Self {
        Self { bearer: Some(token.to_owned()), ..self.clone() }
    }

    /// A request to be dressed by the test.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.bearer {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// `GET`.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path).answer().await
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path).answer().await
    }

    /// `POST` of JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::POST, path).json(body).answer().await
    }

    /// `POST` without a body.
    pub(crate) async fn post_empty(&self, path: &str) -> Answer {
        self.request(Method::POST, path).answer().await
    }

    /// A call: body in, result out. `agent` stands in the path as it is.
    pub(crate) async fn invoke(&self, agent: &str, input: &Value) -> Answer {
        self.post(&format!("/agents/{agent}/invoke"), input).await
    }

    /// A call by the envelope.
    pub(crate) async fn envelope(&self, agent: &str, envelope: &Value) -> Answer {
        self.post(&format!("/runtime/agents/{agent}/invoke"), envelope).await
    }
}

/// Sends what was dressed and reads all that comes.
pub(crate) trait Answered {
    /// Fails the test if nothing comes.
    async fn answer(self) -> Answer;
    /// Tells why nothing came.
    async fn try_answer(self) -> reqwest::Result<Answer>;
}

impl Answered for RequestBuilder {
    async fn answer(self) -> Answer {
        self.try_answer().await.expect("an answer")
    }

    async fn try_answer(self) -> reqwest::Result<Answer> {
        let response = self.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
    }
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {} {}", self.status, self.text()))
    }

    /// A header's text; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header of text"))
    }

    /// 200, and the body as JSON.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// A problem document of this status and code, complete as the contract wants it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let kind = self.header("content-type");
        assert!(kind.starts_with("application/problem+json"), "{kind}: {}", self.text());
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        for field in ["type", "title", "detail", "request_id"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {problem}");
        }
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{problem}");
        problem
    }

    /// A problem whose detail (or `error`) names all of these.
    #[track_caller]
    pub(crate) fn problem_naming(&self, status: u16, code: &str, names: &[&str]) -> Value {
        let problem = self.problem(status, code);
        let told = format!("{} {} {}", problem["detail"], problem["error"], problem["errors"]).to_lowercase();
        for name in names {
            assert!(told.contains(&name.to_lowercase()), "`{name}` is not named in {problem}");
        }
        problem
    }
}
