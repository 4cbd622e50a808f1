//! Which HTTP a connection speaks: HTTP/1.1, or HTTP/2 with prior knowledge (RFC 9113 §3.3) on the same port.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora_core::{
    apps::{HttpServerOptions, ServerApp},
    protocols::Stream,
    server::{ShutdownWatch, configuration::ServerConf},
};
use pingora_proxy::{HttpProxy, http_proxy};

use super::Edge;

/// The first bytes of HTTP/2's preface. No method begins like this, and the shortest request of HTTP/1 is longer: waiting
/// for the whole preface, as the framework does, would hold a short request for ever.
const BEGIN: [u8; 4] = *b"PRI ";

/// How long a new connection may be silent; as long as the framework waits for the head of a request.
const SILENCE: Duration = Duration::from_secs(60);

/// The edge for both protocols.
pub(super) struct EitherHttp {
    one: Arc<HttpProxy<Edge>>,
    two: Arc<HttpProxy<Edge>>,
}

impl EitherHttp {
    pub(super) fn new(conf: &Arc<ServerConf>, edge: Edge) -> Self {
        let mut two = http_proxy(conf, edge.clone());
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        two.server_options = Some(options);
        Self { one: Arc::new(http_proxy(conf, edge)), two: Arc::new(two) }
    }
}

#[async_trait]
impl ServerApp for EitherHttp {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let mut begin = [0; BEGIN.len()];
        let mut stop = shutdown.clone();
        let peeked = tokio::select! {
            biased;
            peeked = tokio::time::timeout(SILENCE, stream.try_peek(&mut begin)) => peeked,
            // A connection that has said nothing has nothing to lose.
            _ = stop.wait_for(|stop| *stop) => return None,
        };
        // Too late, or gone before four bytes.
        let Ok(Ok(_)) = peeked else { return None };
        if begin == BEGIN {
            self.two.process_new(stream, shutdown).await
        } else {
            self.one.process_new(stream, shutdown).await
        }
    }

    async fn cleanup(&self) {
        self.one.cleanup().await;
        self.two.cleanup().await;
    }
}
