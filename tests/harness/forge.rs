//! Tokens by hand, signed rightly, wrongly or not at all, and a server on loopback that publishes keys: for tokens
//! that no provider would issue.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::UNIX_EPOCH,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, Uri, header::CACHE_CONTROL},
    response::IntoResponse,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{RSA_PKCS1_SHA256, RsaEncoding, RsaKeyPair},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{net::TcpListener, task::JoinHandle};

/// Base64 as tokens have it.
pub(crate) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970, and `after` more.
pub(crate) fn seconds(after: i64) -> i64 {
    let now = UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    i64::try_from(now).expect("before the sun ends") + after
}

/// A token without a signature.
pub(crate) fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}.", encoded(header), encoded(claims))
}

/// A token with HMAC-SHA256 as its signature, whatever its header says.
pub(crate) fn mac_signed(header: &str, claims: &str, secret: &[u8]) -> String {
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", encoded(mac.finalize().into_bytes()))
}

/// An RSA key of 2048 bits.
pub(crate) struct SigningKey {
    /// Its name in headers and in the set of keys.
    pub(crate) kid: String,
    /// The public half as PEM (SPKI), as anybody has it.
    pub(crate) public_pem: String,
    pair: RsaKeyPair,
}

impl SigningKey {
    /// Made by the real openssl.
    pub(crate) fn new(kid: &str) -> Self {
        let private = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], b"");
        let public = openssl(&["pkey", "-pubout"], &private);
        let der = PrivatePkcs8KeyDer::from_pem_slice(&private).expect("a key");
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("a key that ring takes");
        Self { kid: kid.to_owned(), public_pem: String::from_utf8(public).expect("PEM is text"), pair }
    }

    /// The public half as PKCS#1.
    pub(crate) fn public_der(&self) -> &[u8] {
        self.pair.public().as_ref()
    }

    /// The public half as in a set of keys.
    pub(crate) fn jwk(&self) -> Value {
        let parts = PublicKeyComponents::<Vec<u8>>::from(self.pair.public());
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
            "n": encoded(parts.n), "e": encoded(parts.e),
        })
    }

    /// The header that belongs to it.
    pub(crate) fn header(&self) -> Value {
        json!({"alg": "RS256", "typ": "at+jwt", "kid": self.kid})
    }

    /// A token with a signature of RS256 over exactly these texts, whatever the header says.
    pub(crate) fn signed(&self, header: &str, claims: &str) -> String {
        self.signed_as(&RSA_PKCS1_SHA256, header, claims)
    }

    /// The same with another padding or digest.
    pub(crate) fn signed_as(&self, how: &'static dyn RsaEncoding, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair.sign(how, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("a signature");
        format!("{signed}.{}", encoded(signature))
    }
}

fn openssl(words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("openssl is installed");
    child.stdin.take().expect("stdin is piped").write_all(input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "openssl {words:?}");
    output.stdout
}

#[derive(Debug, Default)]
struct Published {
    keys: Vec<Value>,
    /// `Cache-Control` of the keys.
    caching: Option<&'static str>,
    asked: Vec<String>,
}

/// An issuer that only publishes keys. Runs until it is dropped.
pub(crate) struct KeyServer {
    port: u16,
    published: Arc<Mutex<Published>>,
    task: JoinHandle<()>,
}

impl KeyServer {
    /// Listens on a free port of 127.0.0.1 and publishes these keys.
    pub(crate) async fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let published = Arc::<Mutex<Published>>::default();
        let issuer = format!("http://127.0.0.1:{port}");
        let routes = Router::new().fallback(answer).with_state((issuer, Arc::clone(&published)));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        let server = Self { port, published, task };
        server.publishes(keys);
        server
    }

    /// Its `iss`.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// These keys instead of those before.
    pub(crate) fn publishes(&self, keys: &[&SigningKey]) {
        let keys = keys.iter().map(|key| key.jwk()).collect();
        self.published.lock().expect("no holder panics").keys = keys;
    }

    /// How long its keys are good for, as `Cache-Control` says it.
    pub(crate) fn caches(&self, how: &'static str) {
        self.published.lock().expect("no holder panics").caching = Some(how);
    }

    /// Every path that was asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.published.lock().expect("no holder panics").asked.clone()
    }

    /// Claims of a token that it might have issued, for [`AUDIENCE`](super::issuer::AUDIENCE).
    pub(crate) fn claims(&self) -> Value {
        json!({
            "iss": self.url(), "aud": super::issuer::AUDIENCE, "sub": "somebody",
            "iat": seconds(-5), "nbf": seconds(-5), "exp": seconds(600),
        })
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State((issuer, published)): State<(String, Arc<Mutex<Published>>)>,
    uri: Uri,
) -> impl IntoResponse {
    let mut published = published.lock().expect("no holder panics");
    published.asked.push(uri.path().to_owned());
    match uri.path() {
        "/.well-known/openid-configuration" => {
            (HeaderMap::new(), Json(json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")})))
        }
        _ => {
            let caching = published.caching.map(|how| (CACHE_CONTROL, HeaderValue::from_static(how)));
            (caching.into_iter().collect(), Json(json!({"keys": published.keys})))
        }
    }
}
