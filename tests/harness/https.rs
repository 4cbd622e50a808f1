//! A real HTTPS server with an authority of its own, whose answers a test can spoil.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{Asked, Script, asked::Ending, client::install_crypto, faults};

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
    /// Zeros, as fast as they are taken, until the other side has enough.
    Endless,
    /// A byte now and then, for ever.
    Trickle,
}

/// How long a trickle pauses: shorter than any idle limit.
const DROP: Duration = Duration::from_millis(100);

/// Runs until it is dropped.
pub(crate) struct HttpsServer {
    port: u16,
    authority: PathBuf,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    /// What was asked, and what goes wrong.
    pub(crate) script: Script,
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
        let script = Script::default();
        let (known, noted) = (Arc::clone(&replies), script.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, known, script) = (acceptor.clone(), Arc::clone(&known), noted.clone());
                connections.spawn(async move { serve(stream, acceptor, &known, &script).await });
            }
        });
        Self { port, authority, replies, script, task }
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
        self.script.asked("").len()
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

    /// Never ends.
    pub(crate) fn floods(&self, path: &str) -> String {
        self.replies(path, Reply::Endless)
    }

    /// Goes on for ever, slowly.
    pub(crate) fn trickles(&self, path: &str) -> String {
        self.replies(path, Reply::Trickle)
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
    known: &Mutex<HashMap<String, Reply>>,
    script: &Script,
) -> Option<()> {
    let mut stream = acceptor.accept(stream).await.ok()?;
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let asked = Asked::parse(&String::from_utf8_lossy(&head));
    let path = asked.path.split('?').next().unwrap_or_default();
    let reply = known.lock().expect("no holder panics").get(path).cloned().unwrap_or(Reply::Status(404));
    let (place, fault) = script.begin(asked.clone());
    let stays = matches!(reply, Reply::Stall);
    let drops: Option<(&[u8], Duration)> = match reply {
        Reply::Endless => Some((&[0; 1 << 14], Duration::ZERO)),
        Reply::Trickle => Some((&[0], DROP)),
        Reply::Bytes(_) | Reply::Half(_) | Reply::Status(_) | Reply::Redirect(_) | Reply::Stall => None,
    };
    let answer = match reply {
        Reply::Bytes(bytes) => asked_for(&asked, &bytes),
        Reply::Half(bytes) => response(200, "", bytes.len(), &bytes[..bytes.len() / 2]),
        Reply::Status(status) => response(status, "", 0, b""),
        Reply::Redirect(to) => response(302, &format!("Location: {to}\r\n"), 0, b""),
        Reply::Stall => response(200, "", 1_000_000, b""),
        Reply::Endless | Reply::Trickle => b"HTTP/1.1 200 x\r\nConnection: close\r\n\r\n".to_vec(),
    };
    let (answer, ending) = fault.spoil(answer);
    script.end(place, &answer);
    stream.write_all(&answer).await.ok()?;
    stream.flush().await.ok()?;
    while let Some((bytes, pause)) = drops {
        stream.write_all(bytes).await.ok()?;
        stream.flush().await.ok()?;
        tokio::time::sleep(pause).await;
    }
    match ending {
        Ending::Close if stays => std::future::pending().await,
        Ending::Close => stream.shutdown().await.ok()?,
        Ending::Reset | Ending::Stall => faults::end(stream.get_mut().0, ending).await,
    }
    Some(())
}

/// The whole, the rest of it, or that nothing has changed.
fn asked_for(asked: &Asked, bytes: &[u8]) -> Vec<u8> {
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(bytes)[..8]));
    let headers = format!("ETag: {tag}\r\nAccept-Ranges: bytes\r\n");
    if asked.header("if-none-match") == Some(&tag) {
        return response(304, &headers, 0, b"");
    }
    let same = asked.header("if-range").is_none_or(|known| known == tag);
    match asked.from().filter(|_| same) {
        Some(from) if from < bytes.len() => {
            let range = format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
            response(206, &format!("{headers}{range}"), bytes.len() - from, &bytes[from..])
        }
        Some(_) => response(416, &headers, 0, b""),
        None => response(200, &headers, bytes.len(), bytes),
    }
}

fn response(status: u16, header: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n{header}Connection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}
