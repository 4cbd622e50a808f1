//! A package's own services: requests go on to its process as they came, and answers come back as they are.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, HOST, TE},
};
use par_pool::fleet::Guest;
use par_proto::code::Code;
use pingora_core::{
    Error, ErrorSource, ErrorType, Result,
    connectors::l4::Connect,
    protocols::l4::{socket::SocketAddr as Address, stream::Stream},
    upstreams::peer::HttpPeer,
};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use tokio::{net::UnixStream, task::yield_now};

use super::{
    super::{Edge, ctx::Ctx, refusal::Refusal, upstream},
    Said,
    reply::{STATUS, note},
    target::{Server, Target},
};

/// Requests on one connection to a package at the same time. Ten clients have as many; twice as many would let one
/// slow connection stand before more of them.
const STREAMS: usize = 100;

/// How long a connection without requests is kept.
const IDLE: Duration = Duration::from_secs(60);

/// How long a process may take to accept. It is on this machine; whoever is busy for longer serves nobody.
const CONNECT: Duration = Duration::from_secs(5);

/// Turns that the other tasks of a thread get before a call's head is sent on: one in which the client's connection reads
/// what follows it, and one in which it is told.
const TURNS: usize = 2;

/// Statuses of gRPC that are no word of the package's but the end of a call: cancelled, unknown, deadline exceeded,
/// internal, data loss.
const ENDS: [(u8, Code); 5] = [
    (1, Code::ClientClosed),
    (2, Code::AgentError),
    (4, Code::DeadlineExceeded),
    (13, Code::AgentError),
    (15, Code::AgentError),
];

/// Where a request goes on.
#[derive(Debug)]
pub(in super::super) struct Passage {
    /// The abstract name of the process's socket.
    socket: Arc<str>,
    /// What no other process has.
    key: u64,
    /// `/service/method`, without what names the package.
    path: Box<str>,
    /// Whether the client's token is for the package as well.
    forward_authorization: bool,
    /// Its place; a rollout waits for it.
    _guest: Guest,
}

impl Edge {
    /// Sends a request on to the package.
    pub(super) async fn pass(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        target: &Target,
        server: &Server,
        path: &str,
    ) -> Result<Said, Refusal> {
        let (_, guest, _) = self.admit_guest(session, ctx, target).await?;
        let Some(socket) = server.facts().socket.as_deref() else {
            return Err(Refusal::new(Code::NotReady, "the server of the package does not listen"));
        };
        ctx.pid = server.0.pid;
        let passage = Passage {
            socket: Arc::from(socket),
            key: target.mount.generation.number << u32::BITS | u64::from(server.0.pid),
            path: path.into(),
            forward_authorization: target.mount.package().forward_authorization,
            _guest: guest,
        };
        if let Some(exchange) = &mut ctx.grpc {
            exchange.passage = Some(passage);
        }
        Ok(Said::Elsewhere)
    }
}

/// Where a request goes on, if it does.
pub(in super::super) fn passage(ctx: &Ctx) -> Option<&Passage> {
    ctx.grpc.as_ref()?.passage.as_ref()
}

/// The process that a request goes on to.
pub(in super::super) fn peer(passage: &Passage) -> Box<HttpPeer> {
    // As for REST: the address that the framework does not compare with the socket's, and a key for each process; the
    // bit at its top keeps it apart from the process's own connections of REST.
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let mut peer = HttpPeer::new(nowhere, false, String::new());
    peer.group_key = passage.key | 1 << (u64::BITS - 1);
    peer.options.custom_l4 = Some(Arc::new(Abstract(Arc::clone(&passage.socket))));
    peer.options.set_http_version(2, 2);
    peer.options.max_h2_streams = STREAMS;
    peer.options.idle_timeout = Some(IDLE);
    peer.options.connection_timeout = Some(CONNECT);
    Box::new(peer)
}

/// Writes the request as the package may see it.
pub(in super::super) async fn introduce(
    request: &mut RequestHeader,
    ctx: &Ctx,
    passage: &Passage,
) -> Result<()> {
    upstream::cleanse(request);
    upstream::mark(request, ctx)?;
    upstream::name_caller(request, ctx)?;
    if !passage.forward_authorization {
        request.remove_header(&AUTHORIZATION);
    }
    // Servers of gRPC refuse whoever does not say so.
    request.insert_header(TE, HeaderValue::from_static("trailers"))?;
    // A path alone has no authority: what the client asked for is the package's as well.
    if let Some(authority) = request.uri.authority().map(|authority| authority.as_str().to_owned()) {
        request.insert_header(HOST, authority)?;
    }
    request.set_raw_path(passage.path.as_bytes())?;
    // A call's head and its message mostly arrive together. If both are known they leave in one write, and the package's
    // process is woken once.
    for _ in 0..TURNS {
        yield_now().await;
    }
    Ok(())
}

/// What a package's server says at the end, for the access line and the ledger.
pub(in super::super) fn note_status(ctx: &mut Ctx, headers: &HeaderMap) {
    let status = headers.get(STATUS).and_then(|value| value.to_str().ok()?.parse::<u8>().ok());
    if let Some(status) = status {
        note(ctx, status);
        ctx.code = ENDS.iter().find(|(end, _)| *end == status).map(|(_, code)| *code);
        ctx.record();
    }
}

/// What a failed passage means to the client.
pub(in super::super) fn explain(error: &Error) -> Refusal {
    let is_unreached = matches!(
        error.etype(),
        ErrorType::ConnectRefused | ErrorType::ConnectError | ErrorType::ConnectTimedout
    );
    if error.esource() == &ErrorSource::Upstream && is_unreached {
        return Refusal::new(Code::NotReady, "the server of the package does not answer");
    }
    Refusal::new(Code::WorkerCrashed, "the server of the package ended before it had answered")
}

/// Connects to an abstract Unix socket.
#[derive(Debug)]
struct Abstract(Arc<str>);

#[async_trait]
impl Connect for Abstract {
    async fn connect(&self, _: &Address) -> Result<Stream> {
        let connecting = UnixStream::connect(format!("\0{}", self.0));
        let connected = connecting.await.map_err(|error| {
            Error::because(ErrorType::ConnectRefused, "the socket of a package", error).into_up()
        })?;
        Ok(connected.into())
    }
}
