//! One connection, from accepting to closing: counted, timed, watched. What is in it is none of its business.
//!
//! The framework calls an application with every new stream. [`Connections::serve`] takes a place for it,
//! wraps it into a [`Guarded`] stream, and runs what the framework does with it under a watch that ends it
//! when a head takes too long. The edge tells when a head is whole and when its request is over:
//! [`head_arrived`], [`at_rest`].

mod descriptors;
mod frames;
mod gate;
mod guarded;
mod parting;
mod permit;
mod tally;
mod watch;

use std::sync::{Arc, atomic::Ordering::Relaxed};

use pingora_core::protocols::Stream;
use pingora_proxy::Session;
use prometheus::IntCounterVec;

pub(crate) use descriptors::most as most_connections;
pub(super) use frames::PREFACE;
use gate::{End, Gate};
use guarded::Guarded;
use permit::{Full, Permit, Places};
use tally::{Reason, Tally};
use watch::{Ended, watched};

use super::RequestIds;
use crate::config;

/// All connections.
pub(super) struct Connections {
    rules: Arc<config::Connections>,
    header_bytes: u64,
    ids: Arc<RequestIds>,
    places: Arc<Places>,
    tally: Tally,
}

/// What a connection needs until it is known which HTTP it speaks.
pub(super) struct Newcomer<'a> {
    connections: &'a Connections,
    gate: Arc<Gate>,
    permit: Permit,
}

impl Connections {
    /// Connections by these rules, counted in `limited`. As many as the process has descriptors for.
    pub(super) fn new(
        rules: Arc<config::Connections>,
        header_bytes: u64,
        ids: Arc<RequestIds>,
        limited: IntCounterVec,
    ) -> Self {
        let most = descriptors::room(rules.max);
        if most < rules.max {
            tracing::info!(
                event = "connections_limited",
                max_connections = rules.max,
                possible = most,
                "the limit of open files (ulimit -n) allows fewer connections than are configured"
            );
        }
        let places = Places::new(most, rules.max_per_address);
        Self { rules, header_bytes, ids, places, tally: Tally::new(limited) }
    }

    /// Runs one connection to its end. `run` finds out which HTTP it speaks and hands it to the framework.
    pub(super) async fn serve<'a, F: Future<Output = ()>>(
        &'a self,
        stream: Stream,
        run: impl FnOnce(Stream, Newcomer<'a>) -> F,
    ) {
        let digest = stream.get_socket_digest();
        let peer =
            digest.and_then(|digest| digest.peer_addr()?.as_inet().map(|peer| peer.ip().to_canonical()));
        // Who speaks for many may come as often as many.
        let counted = peer.filter(|peer| !self.rules.trusts(*peer));
        let permit = match self.places.take(counted) {
            Ok(permit) => permit,
            Err(full) => {
                let reason = match full {
                    Full::All => Reason::Connections,
                    Full::Address => Reason::ConnectionsPerAddress,
                };
                return self.tally.note(reason, self.places.taken());
            }
        };
        let gate = Arc::new(Gate::new());
        let newcomer = Newcomer { connections: self, gate: Arc::clone(&gate), permit };
        let ended = watched(&gate, self.rules.header_timeout, run(stream, newcomer)).await;
        match ended {
            Ended::Late => self.tally.note(Reason::HeaderTimeout, self.places.taken()),
            Ended::From(End::Flood) => self.tally.note(Reason::Flood, self.places.taken()),
            Ended::From(End::TooLarge) => unread("too large", peer),
            Ended::Done if gate.unreadable.load(Relaxed) => unread("not HTTP", peer),
            Ended::Done | Ended::From(End::Gone) => {}
        }
    }
}

/// The line of a request that was answered without having been one: there is nothing to put into an access
/// line.
fn unread(reason: &'static str, peer: Option<std::net::IpAddr>) {
    let client = peer.map(tracing::field::display);
    tracing::info!(event = "request_unreadable", reason, client);
}

impl Newcomer<'_> {
    /// Runs a handshake, which has a clock of its own. The one of the first head begins after it.
    pub(super) async fn shaking<T>(&self, handshake: impl Future<Output = T>) -> T {
        self.gate.serve();
        let shaken = handshake.await;
        self.gate.begin();
        shaken
    }

    /// The stream as the framework gets it.
    pub(super) fn guarded(self, stream: Stream, is_http2: bool) -> Stream {
        let Self { connections, gate, permit } = self;
        let ids = Arc::clone(&connections.ids);
        Box::new(Guarded::new(stream, gate, is_http2, connections.header_bytes, ids, permit))
    }
}

/// The head of a request is whole; from here on other clocks run.
pub(super) fn head_arrived(session: &Session) {
    if let Some(guarded) = guarded(session) {
        guarded.gate().serve();
    }
}

/// A request is over: the next bytes are another head.
pub(super) fn at_rest(session: &Session) {
    if let Some(guarded) = guarded(session) {
        guarded.gate().rest();
    }
}

/// What a connection of HTTP/1 has taken of what it is sent; it may be asked while something is being sent.
#[derive(Debug)]
pub(super) struct Taken(Arc<Gate>);

impl Taken {
    /// None: the connection speaks HTTP/2.
    pub(super) fn of(session: &Session) -> Option<Self> {
        guarded(session).map(|guarded| Self(Arc::clone(guarded.gate())))
    }

    /// Bytes since its begin.
    pub(super) fn bytes(&self) -> u64 {
        self.0.sent()
    }
}

/// The connection ends with this answer, though its client may not have said all.
pub(super) fn last_answer(session: &mut Session) {
    if let Some(guarded) = guarded(session) {
        guarded.gate().parting.store(true, Relaxed);
    }
    session.as_downstream_mut().set_keepalive(None);
}

/// HTTP/1 has one request at a time, and its stream can be asked for. HTTP/2 needs none of this: its frames
/// tell where heads begin and end.
fn guarded(session: &Session) -> Option<&Guarded> {
    session.as_downstream().as_http1()?.stream().as_any().downcast_ref()
}
