//! A receiver on loopback that answers as its script says and tells what arrived.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Response, Uri},
};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{
        Semaphore,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    task::JoinHandle,
    time::timeout,
};
use url::Url;

/// Longest wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Bytes,
}

impl Arrived {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(super) fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub(super) fn body(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    /// `package/export` of the switched agent.
    pub(super) fn agent(&self) -> String {
        self.body()["data"]["agents"][0].as_str().unwrap().replace("@1.0", "")
    }
}

/// What the receiver does with a request.
pub(super) enum Answer {
    Status(u16),
    /// With one header.
    With(u16, &'static str, &'static str),
    /// 200 once there is a permit.
    Hold(Arc<Semaphore>),
    /// Nothing, ever.
    Never,
}

type Script = dyn Fn(&Arrived) -> Answer + Send + Sync;

struct Shared {
    script: Box<Script>,
    arrived: UnboundedSender<Arrived>,
    running: AtomicUsize,
    most: AtomicUsize,
}

/// The receiver; it ends when it is dropped.
pub(super) struct Receiver {
    pub(super) url: Url,
    arrived: UnboundedReceiver<Arrived>,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Receiver {
    pub(super) async fn start(script: impl Fn(&Arrived) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap()).parse().unwrap();
        let (sender, arrived) = unbounded_channel();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            arrived: sender,
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let routes = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, arrived, shared, server }
    }

    /// The next request.
    pub(super) async fn next(&mut self) -> Arrived {
        timeout(PATIENCE, self.arrived.recv()).await.expect("a request should have come").unwrap()
    }

    /// Requests that have come and were not looked at.
    pub(super) fn rest(&mut self) -> usize {
        std::iter::from_fn(|| self.arrived.try_recv().ok()).count()
    }

    /// Most requests that were unanswered at the same time.
    pub(super) fn most_at_once(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response<Body> {
    let running = shared.running.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most.fetch_max(running, Ordering::SeqCst);
    let arrived = Arrived { path: uri.path().to_owned(), headers, bytes };
    let answer = (shared.script)(&arrived);
    shared.arrived.send(arrived).ok();
    let mut response = Response::builder();
    response = match answer {
        Answer::Status(status) => response.status(status),
        Answer::With(status, name, value) => response.status(status).header(name, value),
        Answer::Hold(permits) => {
            permits.acquire().await.unwrap().forget();
            response
        }
        Answer::Never => std::future::pending().await,
    };
    shared.running.fetch_sub(1, Ordering::SeqCst);
    response.body(Body::from("thank you")).unwrap()
}
