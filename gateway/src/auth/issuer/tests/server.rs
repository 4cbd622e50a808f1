//! An issuer that is scripted to the byte: counts who asks, and answers when it is told to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What it answers.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// The body of discovery; `{issuer}` stands for its own address.
    pub(super) discovery: String,
    /// Status line of the key set.
    pub(super) status: &'static str,
    /// Further header lines of the key set.
    pub(super) headers: String,
    /// The key set.
    pub(super) keys: Vec<u8>,
}

/// The running server; ends when it is dropped.
pub(super) struct Server {
    pub(super) issuer: String,
    pub(super) script: Arc<Mutex<Script>>,
    discoveries: Arc<AtomicUsize>,
    key_sets: Arc<AtomicUsize>,
    /// Key sets are answered while this is open.
    gate: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Serves these keys.
    pub(super) async fn start(keys: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let script = Script {
            discovery: r#"{"issuer":"{issuer}","jwks_uri":"{issuer}/keys","other":1}"#.to_owned(),
            status: "200 OK",
            headers: String::new(),
            keys,
        };
        let script = Arc::new(Mutex::new(script));
        let (discoveries, key_sets) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (gate, open) = watch::channel(true);
        let serving = Serving {
            issuer: issuer.clone(),
            script: Arc::clone(&script),
            discoveries: Arc::clone(&discoveries),
            key_sets: Arc::clone(&key_sets),
            open,
        };
        let task = tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().answer(connection));
            }
        });
        Self { issuer, script, discoveries, key_sets, gate, task }
    }

    /// How often its keys were asked for.
    pub(super) fn key_sets(&self) -> usize {
        self.key_sets.load(SeqCst)
    }

    /// How often discovery was asked for.
    pub(super) fn discoveries(&self) -> usize {
        self.discoveries.load(SeqCst)
    }

    /// Publishes other keys.
    pub(super) fn publish(&self, keys: Vec<u8>) {
        self.script.lock().keys = keys;
    }

    /// Holds the answers for keys back, or lets them go.
    pub(super) fn open(&self, open: bool) {
        self.gate.send_replace(open);
    }

    /// Waits until its keys were asked for this often.
    pub(super) async fn asked(&self, times: usize) {
        let asked = async {
            while self.key_sets() < times {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), asked).await.expect("nobody asks");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Serving {
    issuer: String,
    script: Arc<Mutex<Script>>,
    discoveries: Arc<AtomicUsize>,
    key_sets: Arc<AtomicUsize>,
    open: watch::Receiver<bool>,
}

impl Serving {
    /// One question, one answer, one connection.
    async fn answer(mut self, mut connection: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match connection.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let script = || self.script.lock().clone();
        let (status, headers, body) = if head.starts_with(b"GET /moved ") {
            ("200 OK", String::new(), script().keys)
        } else if head.starts_with(b"GET /.well-known/openid-configuration ") {
            self.discoveries.fetch_add(1, SeqCst);
            ("200 OK", String::new(), script().discovery.replace("{issuer}", &self.issuer).into_bytes())
        } else if head.starts_with(b"GET /keys ") {
            // What it answers is decided when it is asked, like a database that was read before the network
            // was slow.
            let Script { status, headers, keys, .. } = script();
            self.key_sets.fetch_add(1, SeqCst);
            self.open.wait_for(|open| *open).await.ok();
            (status, headers, keys)
        } else {
            ("404 Not Found", String::new(), Vec::new())
        };
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
        // A client that has left does not read it.
        connection.write_all(head.as_bytes()).await.ok();
        connection.write_all(&body).await.ok();
    }
}
