//! The pingora server around the edge: listener, threads, and their registration as homes of channels.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use par_pool::fleet::Pool;
use pingora_core::{
    listeners::ListenerConfig,
    protocols::l4::stream::L4BufferSettings,
    server::{ListenFds, Server, ShutdownWatch, configuration::ServerConf},
    services::{Service, listening::Service as Listening},
};
use tokio::sync::oneshot;

use super::{Edge, protocol::EitherHttp};
use crate::tls::Gate;

/// One `send` for a whole small answer; the default of 1,460 bytes splits head and body of anything larger.
const WRITE_BUFFER: usize = 16 * 1024;

/// Tries until every thread of the runtime has been met; each try meets one at random.
const TRIES_PER_THREAD: usize = 64;

/// The proxy service, started on threads that first register as homes.
struct Homed {
    inner: Listening<EitherHttp>,
    pool: Arc<Pool>,
    threads: usize,
    started: Option<oneshot::Sender<()>>,
}

#[async_trait]
impl Service for Homed {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        for _ in 0..self.threads * TRIES_PER_THREAD {
            if self.pool.homes().count() >= self.threads {
                break;
            }
            let pool = Arc::clone(&self.pool);
            let registering = pingora_runtime::current_handle().spawn(async move { pool.homes().register() });
            drop(registering.await);
        }
        if let Some(started) = self.started.take() {
            // Nobody waiting means that the start was given up.
            started.send(()).ok();
        }
        self.inner.start_service(fds, shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &'static str {
        "edge"
    }

    fn threads(&self) -> Option<usize> {
        Some(self.threads)
    }
}

/// A server that is ready to run, and a receiver that tells when its threads are there. Its port listens without TLS:
/// handshakes are part of the connection (`tls/gate.rs`), where they can be limited, timed and told like the rest of it.
pub(crate) fn server(
    edge: Edge,
    address: SocketAddr,
    threads: usize,
    grace: Duration,
    tls: Option<Arc<Gate>>,
) -> (Server, oneshot::Receiver<()>) {
    let conf = ServerConf {
        threads,
        // A call, its channel and its connection stay on one thread (a fifth less CPU a call than with stealing).
        work_stealing: false,
        grace_period_seconds: Some(grace.as_secs()),
        graceful_shutdown_timeout_seconds: Some(1),
        // One more try where nothing was begun: `error_while_proxy` decides.
        max_retries: 2,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let pool = Arc::clone(&edge.pool);
    let app = EitherHttp::new(&server.configuration, edge, tls);
    let mut inner = Listening::new("edge".to_owned(), app);
    let listener =
        ListenerConfig::tcp(address.to_string()).l4_buffer(L4BufferSettings::default().write(WRITE_BUFFER));
    inner.add_listener(listener);
    let (sender, started) = oneshot::channel();
    server.add_service(Homed { inner, pool, threads, started: Some(sender) });
    (server, started)
}
