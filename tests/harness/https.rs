//! A real HTTPS server with an authority of its own, whose answers a test can spoil.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::client::install_crypto;

/// What a path answers.
#[derive(Debug, Clone)]
enum Reply {
    Bytes(Vec<u8>),
    Status(u16),
    Redirect(String),
    /// The length is announced, half of the bytes come, then the connection ends.
    Half(Vec<u8>),
    /// The head comes, nothing else ever does.
    Stall,
}

/// Runs until it is dropped.
pub(crate) struct HttpsServer {
    port: u16,
    authority: PathBuf,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl HttpsServer {
    /// Listens on a free port of 127.0.0.1; its authority's certificate is written below `directory`.
    pub(crate) async fn start(directory: &Path) -> Self {
        install_crypto();
        let (acceptor, authority_pem) = identity();
        let authority = directory.join("authorities.pem");
        fs::write(&authority, format!("{}\n{authority_pem}", system_authorities())).expect("a file");

        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let replies = Arc::<Mutex<HashMap<String, Reply>>>::default();
        let asked = Arc::<AtomicUsize>::default();
        let (known, counter) = (Arc::clone(&replies), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, known, counter) = (acceptor.clone(), Arc::clone(&known), Arc::clone(&counter));
                tokio::spawn(serve(stream, acceptor, known, counter));
            }
        });
        Self { port, authority, replies, asked, task }
    }

    /// For `SSL_CERT_FILE`: the system's authorities and ours.
    pub(crate) fn authorities(&self) -> &str {
        self.authority.to_str().expect("a path of text")
    }

    /// Address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// How many requests came.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Answers with these bytes.
    pub(crate) fn gives(&self, path: &str, bytes: Vec<u8>) -> String {
        self.replies(path, Reply::Bytes(bytes))
    }

    /// Answers with this status.
    pub(crate) fn fails(&self, path: &str, status: u16) -> String {
        self.replies(path, Reply::Status(status))
    }

    /// Sends elsewhere.
    pub(crate) fn redirects(&self, path: &str, to: &str) -> String {
        self.replies(path, Reply::Redirect(to.to_owned()))
    }

    /// Breaks off in the middle.
    pub(crate) fn breaks_off(&self, path: &str, bytes: Vec<u8>) -> String {
        self.replies(path, Reply::Half(bytes))
    }

    /// Begins and never goes on.
    pub(crate) fn stalls(&self, path: &str) -> String {
        self.replies(path, Reply::Stall)
    }

    fn replies(&self, path: &str, reply: Reply) -> String {
        self.replies.lock().expect("no holder panics").insert(path.to_owned(), reply);
        self.url(path)
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn system_authorities() -> String {
    let given = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = PathBuf::from("/etc/ssl/certs/ca-certificates.crt");
    fs::read_to_string(given.unwrap_or(usual)).unwrap_or_default()
}

/// A certificate for this machine, signed by an authority that is made for the occasion.
fn identity() -> (TlsAcceptor, String) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(vec![]).expect("no names");
    // Equal names of issuer and subject would mean: signed by itself.
    authority.distinguished_name.push(DnType::CommonName, "an authority for one test");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).expect("a certificate").pem();
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate =
        CertificateParams::new(names).expect("two names").signed_by(&key, &issuer).expect("a certificate");
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], secret)
        .expect("key and certificate fit");
    (TlsAcceptor::from(Arc::new(config)), authority_pem)
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    known: Arc<Mutex<HashMap<String, Reply>>>,
    asked: Arc<AtomicUsize>,
) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let reply = known.lock().expect("no holder panics").get(path).cloned().unwrap_or(Reply::Status(404));
    let (answer, stays) = match reply {
        Reply::Bytes(bytes) => (response(200, "", bytes.len(), &bytes), false),
        Reply::Half(bytes) => (response(200, "", bytes.len(), &bytes[..bytes.len() / 2]), false),
        Reply::Status(status) => (response(status, "", 0, b""), false),
        Reply::Redirect(to) => (response(302, &format!("Location: {to}\r\n"), 0, b""), false),
        Reply::Stall => (response(200, "", 1_000_000, b""), true),
    };
    stream.write_all(&answer).await.ok();
    stream.flush().await.ok();
    if stays {
        std::future::pending::<()>().await;
    }
    stream.shutdown().await.ok();
}

fn response(status: u16, header: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n{header}Connection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}
