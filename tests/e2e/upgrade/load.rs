//! Callers do not notice, but for a pause: over HTTP/1.1 and HTTP/2, with TLS, on connections that are kept and new ones.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{copy, runs, started_again, upgraded};
use crate::harness::{
    Answered as _, Client, Par, Streamed, WebSocket, eventually, par, scratch,
    websocket::{CLOSE, TEXT},
};

/// What callers have met.
#[derive(Default)]
struct Met {
    over: AtomicBool,
    answered: AtomicU64,
    slowest: AtomicU64,
}

impl Met {
    fn slowest(&self) -> Duration {
        Duration::from_millis(self.slowest.load(Ordering::Relaxed))
    }
}

/// Which connection a caller asks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    /// A new one each time.
    New,
    /// One of HTTP/1.1 that is kept. One that was closed while nobody asked on it is replaced, as every client of HTTP/1.1
    /// has to be ready for (RFC 9112 §9.5): nothing was begun.
    Kept,
    /// One of HTTP/2. It needs no second try: GOAWAY says what is answered still.
    Two,
}

/// Calls one after the other until it is over; none may fail.
async fn calls(made: impl Fn() -> Client, on: On, met: Arc<Met>) {
    let mut client = made();
    while !met.over.load(Ordering::Relaxed) {
        if on == On::New {
            client = made();
        }
        let begin = Instant::now();
        let ask = || client.request(Method::POST, "/agents/echo/invoke").json(&json!(1)).try_answer();
        let answer = match ask().await {
            Err(error) if on == On::Kept && !error.is_connect() => ask().await,
            first => first,
        };
        let answer = answer.unwrap_or_else(|error| panic!("{on:?}: {error:?}"));
        assert_eq!(answer.status, 200, "{on:?}: {}", answer.text());
        met.answered.fetch_add(1, Ordering::Relaxed);
        let took = u64::try_from(begin.elapsed().as_millis()).expect("it fits");
        met.slowest.fetch_max(took, Ordering::Relaxed);
    }
}

/// Makes a client.
type Made = Arc<dyn Fn() -> Client + Send + Sync>;

struct Load {
    met: Arc<Met>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    fn begin(made: &[(On, Made)]) -> Self {
        let met = Arc::new(Met::default());
        let callers = made.iter().map(|(on, made)| {
            let made = Arc::clone(made);
            tokio::spawn(calls(move || made(), *on, Arc::clone(&met)))
        });
        let callers = callers.collect();
        Self { met, callers }
    }

    async fn goes_on(&self) {
        let before = self.met.answered.load(Ordering::Relaxed);
        let more = 20 * self.callers.len() as u64;
        eventually("calls go on", async || {
            (self.met.answered.load(Ordering::Relaxed) > before + more).then_some(())
        })
        .await;
    }

    /// No call has failed, and each is in the ledger once.
    async fn ends_well(self, par: &Par) {
        self.met.over.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.expect("no call failed");
        }
        let answered = self.met.answered.load(Ordering::Relaxed);
        eventually("all are added up, each once", async || {
            let usage = par.operator().get("/runtime/usage?by=agent").await.ok();
            let rows = usage["rows"].as_array()?;
            rows.iter().any(|row| row["agent"] == "echo/echo" && row["requests"] == answered).then_some(())
        })
        .await;
    }
}

async fn long_call(par: &Par, seconds: f64) -> JoinHandle<serde_json::Value> {
    let long = par.http.clone();
    let begun = par.lines().len();
    let call = tokio::spawn(async move { long.invoke("sleep", &json!({"seconds": seconds})).await.ok() });
    eventually("the long call runs", async || {
        par.lines()[begun..].iter().any(|line| line.mentions("sleep began")).then_some(())
    })
    .await;
    call
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_call_fails_and_each_is_recorded_once() {
    let folder = scratch();
    let par = par().production().agent("echo").agent("slow").start().await;
    let (port, socket) = (par.port, par.data_dir().join("par.sock"));
    let load = Load::begin(&[
        (On::New, Arc::new(move || Client::new(port))),
        (On::Kept, Arc::new(move || Client::new(port))),
        (On::Kept, Arc::new(move || Client::new(port))),
        (On::Kept, Arc::new(move || Client::local(&socket))),
        (On::Two, Arc::new(move || Client::http2(port))),
    ]);
    load.goes_on().await;
    for name in ["one", "two"] {
        let begin = Instant::now();
        upgraded(&par, &copy(folder.path(), name)).await;
        let took = begin.elapsed();
        load.goes_on().await;
        eprintln!("{name}: upgraded in {took:?}; the slowest call took {:?}", load.met.slowest());
    }
    assert_eq!(runs(&par), folder.path().join("two"), "one process, another binary");
    started_again(&par, 2).await;
    load.ends_well(&par).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_no_call_fails_either() {
    let folder = scratch();
    let par = par().production().agent("echo").env("PAR_TLS", "self-signed").start().await;
    let port = par.port;
    let one =
        move || Client::secured(port, |builder| builder.http1_only().tls_danger_accept_invalid_certs(true));
    let load = Load::begin(&[
        (On::New, Arc::new(one)),
        (On::Kept, Arc::new(one)),
        (On::Two, Arc::new(move || Client::https(port))),
    ]);
    load.goes_on().await;
    upgraded(&par, &copy(folder.path(), "par-next")).await;
    load.goes_on().await;
    load.ends_well(&par).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_call_and_a_stream_are_finished_and_hold_up_nobody_until_then() {
    let folder = scratch();
    let par = par().production().agent("echo").agent("slow").agent("streams").start().await;
    let port = par.port;
    let load = Load::begin(&[(On::New, Arc::new(move || Client::new(port)))]);
    let (seconds, items) = (8.0, 40);
    let long = long_call(&par, seconds).await;
    let stream = par.http.request(Method::POST, "/agents/streams/acount/invoke");
    let input = json!({"to": items, "pause": 0.15});
    let stream = stream.header("accept", "application/x-ndjson").json(&input);
    let mut stream = Streamed::open(stream).await.of_kind("application/x-ndjson");
    assert_eq!(stream.item().await, Some(json!({"number": 0})));
    let begin = Instant::now();
    upgraded(&par, &copy(folder.path(), "par-next")).await;
    let took = begin.elapsed();
    load.goes_on().await;
    let slowest = load.met.slowest();
    eprintln!("upgraded in {took:?} with a call of {seconds} s; the slowest short call took {slowest:?}");
    assert!(took > Duration::from_secs(5), "it has waited for the long call: {took:?}");
    assert!(slowest < took / 2, "and nobody else has: {slowest:?} of {took:?}");
    assert_eq!(long.await.expect("the task"), json!({"slept": seconds}), "by the former one");
    let rest = stream.items().await;
    assert_eq!(rest.len(), items - 1, "to its last item: {rest:?}");
    load.ends_well(&par).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_all_at_once_during_the_pause_is_answered() {
    // Fewer than may be called at the same time.
    const BURST: usize = 400;
    let folder = scratch();
    let par = par().production().agent("echo").start().await;
    let port = par.port;
    let next = copy(folder.path(), "par-next");
    let ((), answers) = tokio::join!(upgraded(&par, &next), async {
        par.wait_for_line("the doors are closed", |line| line.event() == "stopped").await;
        let burst = (0..BURST).map(|_| async move {
            let call = Client::new(port).request(Method::POST, "/agents/echo/invoke").json(&json!(1));
            call.try_answer().await.map(|answer| answer.status)
        });
        futures_util::future::join_all(burst.map(tokio::spawn)).await
    });
    for answer in answers {
        assert_eq!(answer.expect("a task").expect("an answer"), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_has_its_grace_and_makes_nobody_wait() {
    const GRACE: Duration = Duration::from_secs(6);
    let folder = scratch();
    let par = par().production().agent("echo").agent("surfaces");
    let par = par.env("GRACEFUL_SHUTDOWN_TIMEOUT_SEC", GRACE.as_secs().to_string()).start().await;
    let port = par.port;
    let path = "/agents/surfaces/api/ws";
    let mut socket = WebSocket::open(port, path, "").await.expect("it opens");
    let load = Load::begin(&[(On::New, Arc::new(move || Client::new(port)))]);
    let begin = Instant::now();
    let next = copy(folder.path(), "par-next");
    let asked = tokio::spawn(async move {
        upgraded(&par, &next).await;
        par
    });
    while begin.elapsed() < GRACE / 2 {
        socket.send(TEXT, b"still here").await;
        assert_eq!(socket.next().await, Some((TEXT, b"still here".to_vec())));
    }
    let par = asked.await.expect("the task");
    let took = begin.elapsed();
    load.goes_on().await;
    assert!(took >= GRACE, "it had its grace: {took:?}");
    assert!(load.met.slowest() < GRACE, "nobody has waited for its end: {:?}", load.met.slowest());
    // Applications say so, as they do with every restart: 1012.
    assert_eq!(socket.next().await, Some((CLOSE, 1012_u16.to_be_bytes().to_vec())));
    assert_eq!(socket.next().await, None, "it was cut");
    assert!(WebSocket::open(port, path, "").await.is_ok(), "and comes back");
    load.ends_well(&par).await;
}
