//! Requests for REST surfaces: proxied to the process that serves them, over connections that are handed to it.
//!
//! A request gets what the application needs to know who asks and under which address it is reached, and nothing that
//! a stranger says about that. The body goes both ways as it comes. `X-PAR-Subject`, `X-PAR-Tenant` and `X-PAR-Roles`
//! are percent-encoded where they are not plain text.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use par_pool::{
    fleet::{Generation, Guest, Mount, Stay, SurfaceState},
    package::SessionMode,
    process::Primary,
};
use par_proto::code::Code;
use pingora_core::{
    Error, ErrorType, OrErr as _, Result,
    connectors::l4::Connect,
    protocols::{
        Digest, GetProxyDigest as _,
        l4::{socket::SocketAddr as Address, stream::Stream, virt::VirtualSocketStream},
        raw_connect::ProxyDigest,
    },
    upstreams::peer::HttpPeer,
};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use super::{
    Edge,
    clock::Clock,
    ctx::Ctx,
    duplex::{AT_ONCE, Duplex},
    in_flight::Flight,
    refusal::Refusal,
    session,
    surface::Spot,
    trace,
    upstream::{cleanse, mark, name_caller, strip},
};
use crate::meter::Surface;

/// When a process that serves surfaces is expected to be there again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a connection that nobody uses is kept: over the pauses of people. The application's server keeps them longer,
/// so that it is never the one that closes a connection on which a request is just being sent.
const KEPT: Duration = Duration::from_secs(60);

/// What one request for a REST surface needs until its end.
#[derive(Debug)]
pub(crate) struct Rest {
    mount: Arc<Mount>,
    /// The session that the request names: its process stays the same.
    session: Named,
    prefix: usize,
    patience: Duration,
    /// Whether both sides may speak at length at the same time.
    is_long: bool,
    clock: Option<Clock>,
    sent: Option<Instant>,
    /// Whether the answer has begun.
    answered: bool,
    _guest: Guest,
}

/// What a request says of its session.
#[derive(Debug)]
enum Named {
    /// Nothing.
    Nothing,
    /// A name, to a package that keeps no sessions: it is only drawn to the same process.
    Hint(Bytes),
    /// The session that it is in.
    Within(Stay),
}

/// Nobody serves the surface at the moment.
#[derive(Debug, thiserror::Error)]
#[error("no process serves the surfaces of {package}")]
pub(super) struct Unreachable {
    package: String,
    state: SurfaceState,
}

impl Unreachable {
    fn of(mount: &Mount) -> Self {
        Self { package: mount.id.to_string(), state: mount.generation.surfaces() }
    }

    /// For the client.
    pub(super) fn refusal(&self) -> Refusal {
        let package = &self.package;
        match self.state {
            SurfaceState::CrashLoop => {
                Refusal::new(Code::CrashLoop, format!("what serves {package} dies again and again"))
                    .retry_after(AGAIN)
            }
            SurfaceState::Starting | SurfaceState::Ready => {
                Refusal::new(Code::NotReady, format!("what serves {package} is being started"))
                    .retry_after(AGAIN)
            }
            SurfaceState::NotDeclared => {
                Refusal::new(Code::NotFound, format!("{package} has nothing at this path"))
            }
        }
    }
}

impl Edge {
    /// Lets a request in at a REST surface. What it takes is in the context until its end.
    pub(super) async fn visit(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        spot: Spot,
    ) -> Result<(), Refusal> {
        let Spot { mount, premises, prefix, .. } = spot;
        let patience = self.patience(session.req_header(), None)?;
        let named = self.affinity(session, &mount).await?;
        let tenant = match &premises.account {
            Some(account) => self.enter(session, ctx, account, Surface::Rest).await?,
            None => Self::tenant(ctx),
        };
        let (mount, named) = self.host(ctx, mount, named, &tenant)?;
        let primary = serving(&mount, &named).map_err(|unreachable| unreachable.refusal())?;
        if primary.facts.rest.is_none() {
            return Err(Refusal::new(Code::NotFound, format!("{} has nothing at this path", mount.id)));
        }
        ctx.pid = primary.pid;
        let guest = self.pool.receive(&mount.generation, &tenant).map_err(Refusal::at_limit)?;
        if session.is_upgrade_req() {
            // Nobody has to say anything on a connection that both sides keep.
            session.as_downstream_mut().set_read_timeout(None);
        }
        let (is_long, answered) = (is_long(session), false);
        let (clock, sent) = (None, None);
        let session = named;
        trace::let_in(ctx);
        ctx.rest =
            Some(Rest { mount, session, prefix, patience, is_long, clock, sent, answered, _guest: guest });
        Ok(())
    }

    /// The version that answers a request: the one that was asked for, or the one in which its session lives.
    fn host(
        &self,
        ctx: &mut Ctx,
        mount: Arc<Mount>,
        named: Option<Bytes>,
        tenant: &Arc<str>,
    ) -> Result<(Arc<Mount>, Named), Refusal> {
        let Some(named) = named else { return Ok((mount, Named::Nothing)) };
        if mount.package().session.mode == SessionMode::None {
            return Ok((mount, Named::Hint(named)));
        }
        let claim = session::visited(ctx, &named, tenant)?;
        let Some(stay) = self.pool.stay(&mount, &claim).map_err(session::denied)? else {
            return Err(Unreachable::of(&mount).refusal());
        };
        let lives = Arc::clone(stay.mount());
        if !Arc::ptr_eq(&lives, &mount) {
            // That version may ask for another role.
            self.package(ctx, Some(&lives), &lives.id.to_string())?;
        }
        Ok((lives, Named::Within(stay)))
    }
}

/// Whether a request may still be on its way when its answer begins, in more bytes than can be written at once.
fn is_long(session: &mut Session) -> bool {
    let headers = &session.req_header().headers;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let is_short = length.is_some_and(|length: u64| length <= AT_ONCE);
    session.is_upgrade_req() || !(is_short || session.as_downstream_mut().is_body_empty())
}

/// The process that serves a package's surfaces now.
fn serving(mount: &Mount, session: &Named) -> Result<Arc<Primary>, Unreachable> {
    let primary = match session {
        Named::Nothing => mount.generation.primary(None),
        Named::Hint(name) => mount.generation.primary(Some(name)),
        Named::Within(stay) => stay.primary(),
    };
    primary.ok_or_else(|| Unreachable::of(mount))
}

impl Rest {
    /// Whose surface it is.
    pub(super) fn generation(&self) -> &Arc<Generation> {
        &self.mount.generation
    }

    /// Where the request goes.
    pub(super) fn peer(&self) -> Result<Box<HttpPeer>> {
        let primary = serving(&self.mount, &self.session).or_err(ErrorType::ConnectRefused, "no process")?;
        // The framework keeps connections by address, and lets one be used again only if its socket has that address;
        // ours have none. This is the one address that it does not compare. The key keeps processes apart.
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut peer = HttpPeer::new(nowhere, false, String::new());
        let key = self.mount.generation.number << u32::BITS | u64::from(primary.pid);
        // One for a long request is new and is not kept.
        peer.group_key = if self.is_long { !key } else { key };
        peer.options.idle_timeout = Some(KEPT);
        peer.options.custom_l4 = Some(Arc::new(Threshold { primary, is_long: self.is_long }));
        Ok(Box::new(peer))
    }

    /// The request is about to be sent over this connection.
    pub(super) fn connected(&mut self, digest: Option<&Digest>) {
        self.sent = Some(Instant::now());
        let held = digest
            .and_then(|digest| digest.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref::<Held>())
            .map(|held| Clock::start(self.patience, Arc::clone(&held.0)));
        self.clock = held;
    }

    /// More of the request is about to be sent.
    pub(super) fn sending(&self) {
        if let Some(clock) = &self.clock {
            clock.again();
        }
    }

    /// Whether a failed try may be made again: the answer has not begun and was not waited for too long.
    pub(super) fn may_try_again(&self) -> bool {
        !self.answered && !self.clock.as_ref().is_some_and(Clock::is_over)
    }

    /// Why there is no answer.
    pub(super) fn explain(&self, error: &Error) -> Refusal {
        if self.clock.as_ref().is_some_and(Clock::is_over) {
            let text = "the application did not begin its answer before the deadline";
            return Refusal::new(Code::DeadlineExceeded, text).closing();
        }
        if *error.etype() == ErrorType::InvalidHTTPHeader {
            return Refusal::new(Code::WorkerCrashed, "the answer of the application is not HTTP").closing();
        }
        let text = format!("what serves {} ended before its answer was whole", self.mount.id);
        Refusal::new(Code::WorkerCrashed, text).closing()
    }

    /// Writes the request as the application may see it.
    pub(super) fn introduce(&self, upstream: &mut RequestHeader, ctx: &Ctx, trusted: bool) -> Result<()> {
        let host = forwarded_host(upstream, trusted);
        cleanse(upstream);
        mark(upstream, ctx)?;
        if let Some(host) = host {
            upstream.insert_header("x-forwarded-host", host)?;
        }
        let prefix = upstream.uri.path().get(..self.prefix).unwrap_or_default().to_owned();
        upstream.insert_header("x-forwarded-prefix", prefix)?;
        if !self.mount.package().forward_authorization {
            upstream.remove_header(&header::AUTHORIZATION);
        }
        name_caller(upstream, ctx)?;
        if self.is_long && !upstream.headers.contains_key(header::UPGRADE) {
            upstream.insert_header(header::CONNECTION, HeaderValue::from_static("close"))?;
        }
        strip(upstream, self.prefix)
    }

    /// The answer has begun. A word in between (1xx) is none, unless it changes the protocol.
    pub(super) fn answers(
        &mut self,
        session: &mut Session,
        response: &mut ResponseHeader,
        (worker, flight): (&mut Duration, &mut Flight),
    ) -> bool {
        if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
            return false;
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            flight.go_on();
        }
        self.answered = true;
        self.clock = None;
        *worker = self.sent.map(|sent| sent.elapsed()).unwrap_or_default();
        // Both may now take their time: what is left of the request is between them.
        session.as_downstream_mut().set_read_timeout(None);
        let ours: Vec<_> =
            response.headers.keys().filter(|name| name.as_str().starts_with("x-par-")).cloned().collect();
        for name in ours {
            response.remove_header(&name);
        }
        true
    }
}

/// The host that the client asked, as one of our own proxies tells it, or as it is.
fn forwarded_host(request: &RequestHeader, trusted: bool) -> Option<HeaderValue> {
    let told = request.headers.get("x-forwarded-host").filter(|_| trusted);
    told.or_else(|| request.headers.get(header::HOST)).cloned()
}

/// The way to one process: each connection is one end of a pair, and the other one is handed over.
#[derive(Debug)]
struct Threshold {
    primary: Arc<Primary>,
    is_long: bool,
}

/// The same connection once more, for whoever may have to end it.
struct Held(Arc<UnixStream>);

#[async_trait]
impl Connect for Threshold {
    async fn connect(&self, _address: &Address) -> Result<Stream> {
        let connection =
            self.primary.connect_rest().or_err(ErrorType::ConnectError, "the application's door")?;
        let held = connection.try_clone().or_err(ErrorType::SocketError, "a second descriptor")?;
        let connection =
            tokio::net::UnixStream::from_std(connection).or_err(ErrorType::SocketError, "a connection")?;
        let mut stream = if self.is_long {
            VirtualSocketStream::new(Box::new(Duplex::new(connection))).into()
        } else {
            Stream::from(connection)
        };
        let nothing = ResponseHeader::build(StatusCode::OK, None)?;
        stream.set_proxy_digest(ProxyDigest::new(Box::new(nothing), Some(Box::new(Held(Arc::new(held))))));
        Ok(stream)
    }
}
