//! The pingora server around the edge: listeners, threads, and their registration as homes of channels.

use std::{
    net::SocketAddr,
    os::fd::{IntoRawFd as _, OwnedFd},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::{join, join_all};
use par_pool::fleet::Pool;
use parking_lot::Mutex;
use pingora_core::{
    listeners::ListenerConfig,
    protocols::l4::stream::L4BufferSettings,
    server::{Fds, ListenFds, Server, ShutdownWatch, configuration::ServerConf},
    services::{Service, listening::Service as Listening},
};
use tokio::sync::oneshot;

use super::{
    Door, Doors, Doorway, Edge, Opening, connection::Connections, local::LocalDoor, protocol::EitherHttp,
};
use crate::{config, tls::Gate};

/// One `send` for a whole small answer; the default of 1,460 bytes splits head and body of anything larger.
pub(super) const WRITE_BUFFER: usize = 16 * 1024;

/// A TLS record. Longer bodies are read past it; the default of 64 KiB is memory that every connection keeps.
const READ_BUFFER: usize = 16 * 1024;

/// Tries until every thread of the runtime has been met; each try meets one at random.
const TRIES_PER_THREAD: usize = 64;

/// Connections at the local socket at once: a pool of each of many programs on this machine. Half would still be more
/// than they need; twice would take descriptors from everybody else.
const NEIGHBOURS: usize = 1_024;

/// A doorway with what answers behind it.
struct Entrance {
    inner: Listening<EitherHttp>,
    opens: Option<Opening>,
    address: SocketAddr,
    socket: Option<OwnedFd>,
}

impl Entrance {
    async fn serve(&mut self, mut shutdown: ShutdownWatch, listeners_per_fd: usize) {
        if let Some(opens) = self.opens.take() {
            let opened = tokio::select! {
                biased;
                opened = opens.opened() => opened,
                _ = shutdown.wait_for(|stop| *stop) => false,
            };
            if !opened {
                return;
            }
        }
        // The framework takes a socket that is there by the address that it would bind.
        let fds = self.socket.take().map(|socket| {
            let mut fds = Fds::new();
            fds.add(self.address.to_string(), socket.into_raw_fd());
            Arc::new(Mutex::new(fds))
        });
        self.inner.start_service(fds, shutdown, listeners_per_fd).await;
    }
}

/// The proxy service of all doors, started on threads that first register as homes.
struct Homed {
    entrances: Vec<Entrance>,
    local: Option<LocalDoor>,
    pool: Arc<Pool>,
    threads: usize,
    started: Option<oneshot::Sender<()>>,
}

#[async_trait]
impl Service for Homed {
    async fn start_service(
        &mut self,
        _: Option<ListenFds>,
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
        let serving =
            self.entrances.iter_mut().map(|entrance| entrance.serve(shutdown.clone(), listeners_per_fd));
        let local = self.local.take();
        let local = async move {
            if let Some(local) = local {
                local.serve().await;
            }
        };
        join(join_all(serving), local).await;
    }

    fn name(&self) -> &'static str {
        "edge"
    }

    fn threads(&self) -> Option<usize> {
        Some(self.threads)
    }
}

/// A server that is ready to run, and a receiver that tells when its threads are there. Its ports share threads and
/// the limits of connections, and listen without TLS: handshakes are part of the connection (`tls/gate.rs`), where
/// they can be limited, timed and told like the rest of it.
pub(crate) fn server(
    edge: &Edge,
    doors: Doors,
    threads: usize,
    grace: Duration,
    tls: Option<&Arc<Gate>>,
) -> (Server, oneshot::Receiver<()>) {
    let conf = ServerConf {
        threads,
        // A call, its channel and its connection stay on one thread (a fifth less CPU a call than with stealing).
        work_stealing: false,
        grace_period_seconds: Some(grace.as_secs()),
        graceful_shutdown_timeout_seconds: Some(1),
        // One more try where nothing was begun: `error_while_proxy` decides.
        max_retries: 2,
        // Nothing behind us speaks TLS. The framework would read all authorities of the host four times a door.
        ca_file: Some("/dev/null".to_owned()),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let limited = edge.metrics.limited.clone();
    let rules = Arc::clone(&edge.connections);
    let connections =
        Arc::new(Connections::new(rules, edge.limits.header_bytes, Arc::clone(&edge.ids), limited));
    let entrance = |Doorway { door, address, opens, socket }| {
        let edge = Edge { door, ..edge.clone() };
        let app = EitherHttp::new(&server.configuration, edge, Arc::clone(&connections), tls.cloned());
        let mut inner = Listening::new("edge".to_owned(), app);
        let buffers = L4BufferSettings::new(READ_BUFFER, WRITE_BUFFER);
        inner.add_listener(ListenerConfig::tcp(address.to_string()).l4_buffer(buffers));
        Entrance { inner, opens: Some(opens), address, socket: Some(socket) }
    };
    let entrances = doors.ports.into_iter().map(entrance).collect();
    let app = neighbours(&server.configuration, edge);
    let local = LocalDoor::new(doors.local, (doors.local_opens, doors.leaves_local), app);
    let (sender, started) = oneshot::channel();
    let pool = Arc::clone(&edge.pool);
    server.add_service(Homed { entrances, local: Some(local), pool, threads, started: Some(sender) });
    (server, started)
}

/// What answers at the local socket: the same edge, without what protects ports from strangers. Neighbours speak for
/// nobody else, ask for whatever host they like, and have places of their own, so that an operator gets in however many
/// connections there are outside.
fn neighbours(conf: &Arc<ServerConf>, edge: &Edge) -> EitherHttp {
    let rules = Arc::new(config::Connections {
        max: NEIGHBOURS,
        max_per_address: None,
        trusted_proxies: Vec::new(),
        hosts: config::Hosts::default(),
        ..(*edge.connections).clone()
    });
    let connections = Connections::new(
        Arc::clone(&rules),
        edge.limits.header_bytes,
        Arc::clone(&edge.ids),
        edge.metrics.limited.clone(),
    );
    let edge = Edge { door: Door::Local, connections: rules, ..edge.clone() };
    EitherHttp::new(conf, edge, Arc::new(connections), None)
}
