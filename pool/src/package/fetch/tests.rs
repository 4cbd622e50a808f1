//! Downloads from a server that misbehaves as told.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// What the server does with one connection.
#[derive(Clone)]
enum Act {
    /// Answers with these bytes and closes.
    Say(String),
    /// Closes at once.
    Hang,
    /// Answers nothing.
    Wait,
}

fn ok(body: &str) -> Act {
    Act::Say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()))
}

fn status(line: &str) -> Act {
    Act::Say(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
}

fn redirect(to: &str) -> Act {
    Act::Say(format!(
        "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    ))
}

struct Server {
    url: Url,
    asked: Arc<AtomicUsize>,
    client: Client,
    store: Store,
    _directory: tempfile::TempDir,
}

/// An https server that plays its acts, one a connection, the last one for ever.
async fn server(acts: Vec<Act>) -> Server {
    rustls::crypto::ring::default_provider().install_default().ok();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            let act = acts[number.min(acts.len() - 1)].clone();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let mut request = [0; 4096];
                drop(stream.read(&mut request).await);
                match act {
                    Act::Say(text) => {
                        drop(stream.write_all(text.as_bytes()).await);
                        drop(stream.shutdown().await);
                    }
                    Act::Hang => {}
                    Act::Wait => std::future::pending().await,
                }
            });
        }
    });
    let root = reqwest::Certificate::from_der(certified.cert.der()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    Server {
        url: Url::parse(&format!("https://user:secret@localhost:{port}/a.apkg?token=secret")).unwrap(),
        asked,
        client: client(vec![root]).unwrap(),
        store: Store::open(directory.path()).unwrap(),
        _directory: directory,
    }
}

impl Server {
    async fn download(&self, timeout: Duration) -> Result<Fetched, PullError> {
        let outcome = download(&self.client, &self.url, &self.store, 1000, timeout).await;
        if let Err(error) = &outcome {
            let text = format!("{error:?}");
            assert!(!text.contains("secret") && !text.contains("token"), "{text}");
        }
        outcome
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_download_is_hashed_while_it_is_read() {
    let server = server(vec![ok("hello")]).await;
    let fetched = server.download(LONG).await.unwrap();
    assert_eq!(std::fs::read(fetched.file.path()).unwrap(), b"hello");
    assert_eq!(
        fetched.digest.to_string(),
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    );
    assert_eq!(fetched.bytes, 5);
    let path = fetched.file.path().to_path_buf();
    drop(fetched);
    assert!(!path.exists());
}

#[tokio::test]
async fn causes_that_may_go_away_are_tried_three_times() {
    let cut = Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhel".to_owned());
    let recovering = server(vec![status("503 Unavailable"), cut.clone(), ok("hello")]).await;
    assert_eq!(recovering.download(LONG).await.unwrap().bytes, 5);
    for act in [Act::Hang, cut, status("500 Oops"), status("429 Slow")] {
        let failing = server(vec![act]).await;
        let error = failing.download(LONG).await.unwrap_err();
        assert_eq!((error.transient, error.step, failing.asked()), (true, Step::Fetch, 3), "{error}");
    }
}

#[tokio::test]
async fn other_causes_are_not_tried_again() {
    let big = "x".repeat(1001);
    let unbounded = Act::Say(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{big}"));
    for (act, text) in [
        (status("404 Not Found"), "answered 404"),
        (status("403 Forbidden"), "answered 403"),
        (ok(&big), "larger than the 1000 bytes"),
        (unbounded, "larger than the 1000 bytes"),
        (redirect("http://localhost:1/x"), "away from https"),
        (redirect("http://example.com/x"), "away from https"),
        (redirect("https://169.254.169.254/latest"), "link-local"),
    ] {
        let failing = server(vec![act]).await;
        let error = failing.download(LONG).await.unwrap_err();
        assert!(error.detail.contains(text), "{error}");
        assert_eq!((error.transient, failing.asked()), (false, 1), "{error}");
    }
}

#[tokio::test]
async fn redirects_are_followed_five_times() {
    let five = server([vec![redirect("/next"); 5], vec![ok("hello")]].concat()).await;
    assert_eq!(five.download(LONG).await.unwrap().bytes, 5);
    let endless = server(vec![redirect("/next")]).await;
    assert!(endless.download(LONG).await.unwrap_err().detail.contains("more than 5 redirects"));
    assert_eq!(endless.asked(), 6);
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let silent = server(vec![Act::Wait]).await;
    let began = std::time::Instant::now();
    let error = silent.download(Duration::from_millis(300)).await.unwrap_err();
    assert!(error.transient && error.detail.contains("within 0.3 s"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_final() {
    let mut server = server(vec![ok("hello")]).await;
    server.client = client(Vec::new()).unwrap();
    let error = server.download(LONG).await.unwrap_err();
    assert!(!error.transient && error.detail.contains("certificate"), "{error:?}");
    assert_eq!(server.asked(), 1);
}
