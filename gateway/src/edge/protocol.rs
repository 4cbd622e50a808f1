//! Which HTTP a connection speaks: HTTP/1.1, or HTTP/2 with prior knowledge (RFC 9113 §3.3) on one port.
//! Over TLS the two sides agree on it in their handshake.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora_core::{
    apps::{HttpServerOptions, ServerApp},
    protocols::{ALPN, Stream, http::v2::server::default_h2_options},
    server::{ShutdownWatch, configuration::ServerConf},
};
use pingora_proxy::{HttpProxy, http_proxy};

use super::{
    Edge,
    connection::{Connections, Newcomer, PREFACE},
    hygiene,
};
use crate::tls::Gate;

/// The first bytes of HTTP/2's preface. No method begins like this, and the shortest request of HTTP/1 is
/// longer: waiting for the whole preface, as the framework does, would hold a short request until it is too
/// late.
const BEGIN: [u8; 4] = [b'P', b'R', b'I', b' '];

/// Requests of one connection that may be answered at the same time. A tenth of the default of calls of the
/// whole runtime; clients open another connection for more.
const STREAMS: u32 = 100;

/// How long the first request of a connection that was accepted last may be on its way when nothing is accepted any more:
/// a round trip within a region many times over. Twice would only make the pause of an upgrade longer.
pub(crate) const FIRST_WORD: Duration = Duration::from_millis(100);

/// What each field of a head counts in HTTP/2 beside its name and value (RFC 9113 §6.5.2).
const FIELD: usize = 32;

/// The edge for both protocols.
pub(super) struct EitherHttp {
    one: Arc<HttpProxy<Edge>>,
    two: Arc<HttpProxy<Edge>>,
    connections: Arc<Connections>,
    tls: Option<Arc<Gate>>,
}

impl EitherHttp {
    /// Connections begin with a handshake if there is a gate for it.
    pub(super) fn new(
        conf: &Arc<ServerConf>,
        edge: Edge,
        connections: Arc<Connections>,
        tls: Option<Arc<Gate>>,
    ) -> Self {
        Self { one: proxy(conf, edge.clone(), false), two: proxy(conf, edge, true), connections, tls }
    }

    async fn answer(&self, stream: Stream, newcomer: Newcomer<'_>, shutdown: &ShutdownWatch) {
        let Some((stream, is_http2)) = self.begin(stream, &newcomer, shutdown).await else { return };
        let app = if is_http2 { &self.two } else { &self.one };
        // Neither gives its stream back.
        drop(app.process_new(newcomer.guarded(stream, is_http2), shutdown).await);
    }

    /// A stream of HTTP, and whether of HTTP/2; none if it ends before that.
    async fn begin(
        &self,
        mut stream: Stream,
        newcomer: &Newcomer<'_>,
        shutdown: &ShutdownWatch,
    ) -> Option<(Stream, bool)> {
        if let Some(gate) = &self.tls {
            let mut stop = shutdown.clone();
            let stream = newcomer.shaking(gate.accept(stream, over(&mut stop))).await?;
            let is_http2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
            return Some((stream, is_http2));
        }
        let mut stop = shutdown.clone();
        tokio::select! {
            biased;
            is_http2 = begins_http2(&mut stream) => is_http2.map(|is_http2| (stream, is_http2)),
            // A connection that says nothing has nothing to lose. One that was accepted a moment ago has said something,
            // which is on its way.
            () = over(&mut stop) => None,
        }
    }
}

/// Waits for the stop, and then as long as a first request may be on its way.
async fn over(stop: &mut ShutdownWatch) {
    // Whoever could tell lives as long as the process.
    stop.wait_for(|stop| *stop).await.ok();
    tokio::time::sleep(FIRST_WORD).await;
}

/// Whether a connection begins as HTTP/2 does; none if it ends before it can be told, or is neither.
async fn begins_http2(stream: &mut Stream) -> Option<bool> {
    let mut begin = BEGIN;
    stream.try_peek(&mut begin).await.ok()?;
    if begin != BEGIN {
        return Some(false);
    }
    let mut preface = PREFACE;
    stream.try_peek(&mut preface).await.ok()?;
    (preface == PREFACE).then_some(true)
}

fn proxy(conf: &Arc<ServerConf>, edge: Edge, prior_knowledge: bool) -> Arc<HttpProxy<Edge>> {
    let idle = edge.connections.idle_timeout;
    let header_bytes = usize::try_from(edge.limits.header_bytes).unwrap_or(usize::MAX);
    // What is only a little over is refused by us, in words; what is far over, by the framework, before it is
    // kept.
    let list = header_bytes.saturating_add(hygiene::LONGEST_TARGET + hygiene::MOST_FIELDS * FIELD);
    let mut proxy = http_proxy(conf, edge);
    let mut options = HttpServerOptions::default();
    options.h2c = prior_knowledge;
    options.h2_idle_timeout = Some(idle);
    // It is not proxied: it is refused by us, in words.
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    let mut streams = default_h2_options();
    streams.max_concurrent_streams(STREAMS).max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX));
    proxy.h2_options = Some(streams);
    Arc::new(proxy)
}

#[async_trait]
impl ServerApp for EitherHttp {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        // 32 KiB, most of them the framework's: once on the heap, and not in every future around it.
        Box::pin(self.connections.serve(stream, |stream, newcomer| self.answer(stream, newcomer, shutdown)))
            .await;
        None
    }

    async fn cleanup(&self) {
        // Closes connections of HTTP/1 between two requests; who was accepted last may not have come to the first. HTTP/2
        // is told which requests are answered still.
        tokio::time::sleep(FIRST_WORD).await;
        self.one.cleanup().await;
        self.two.cleanup().await;
    }
}
