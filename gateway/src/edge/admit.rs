//! Who answers a request: an agent that may be called, the management side, or nobody.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use par_pool::fleet::{Agent, Directory, LoadError};
use par_proto::{code::Code, ids::PackageName};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::{Door, Edge, ctx::Ctx, refusal::Refusal, surface::Spot};
use crate::{
    auth::permit::Permit,
    route::{Layout, Place, Target, route},
};

/// The header that keeps the calls of a session on one version.
pub(super) const SESSION: &str = "x-par-session";

/// A call that may be made.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Who is called.
    pub(super) agent: Arc<Agent>,
    /// Whether the input is in an envelope, and the result shall be.
    pub(super) envelope: bool,
    /// The right to call.
    pub(super) permit: Permit,
}

/// What answers a request.
#[derive(Debug)]
pub(super) enum Plan {
    /// The management side; so many bytes at the path's begin are not for it.
    Control {
        /// Length of a base path.
        strip: usize,
    },
    /// An agent.
    Call(Admitted),
    /// The REST surface of a package.
    Rest(Spot),
    /// A file of a package.
    Page(Spot),
}

impl Edge {
    /// Which part of the runtime a request is for.
    pub(super) fn target<'a>(&self, head: &'a RequestHeader, directory: &Directory) -> Target<'a> {
        let path = head.uri.path();
        if let (Door::Ui { .. }, Layout::Single(single)) = (self.door, &*self.layout) {
            return Target::Ui(Place { id: single.id.to_string().into(), prefix: "", rest: path });
        }
        // With a session, so that asking takes no share of a split away.
        let known = |id: &str| directory.find(id).is_some() || directory.package(id, Some(b"")).is_some();
        route(&self.layout, &head.method, path, known)
    }

    /// What answers a request, as the table is now.
    pub(super) fn plan(&self, session: &Session, ctx: &mut Ctx) -> Result<Plan, Refusal> {
        let directory = self.pool.directory();
        let head = session.req_header();
        let sticky = head.headers.get(SESSION).map(http::HeaderValue::as_bytes);
        match self.target(head, &directory) {
            Target::Control { strip } => Ok(Plan::Control { strip }),
            _ if self.is_over() => Err(Refusal::new(Code::Stopping, "the runtime is stopping")),
            Target::Invoke(id) => self.admit(ctx, &directory, &id, sticky, false).map(Plan::Call),
            Target::Envelope(id) => self.admit(ctx, &directory, &id, sticky, true).map(Plan::Call),
            Target::Rest(place) => {
                let mount = directory.package(&place.id, sticky);
                self.rest_surface(ctx, mount, &place, head)
            }
            Target::Ui(place) => {
                let mount = directory.package(&place.id, sticky);
                self.ui_surface(ctx, mount, &place, head).map(Plan::Page)
            }
            Target::A2a(place) => {
                Err(match self.package(ctx, directory.package(&place.id, sticky), &place.id) {
                    Ok(_) => Refusal::new(Code::NotFound, "this path is for gRPC"),
                    Err(refusal) => refusal,
                })
            }
            Target::Nothing => Err(Refusal::new(Code::NotFound, "there is nothing at this path")),
        }
    }

    /// Whether what is asked for now would begin too late. Ports are closed by then; the local socket answers on, and
    /// would hold up the end.
    fn is_over(&self) -> bool {
        self.door == Door::Local && self.draining.load(Ordering::Relaxed)
    }

    /// The agent that may be called, or why not.
    fn admit(
        &self,
        ctx: &mut Ctx,
        directory: &Directory,
        id: &str,
        sticky: Option<&[u8]>,
        envelope: bool,
    ) -> Result<Admitted, Refusal> {
        let Some(agent) = directory.pick(id, sticky).filter(|agent| !agent.is_private()) else {
            return Err(self.unknown(id));
        };
        let permit = self.permit(ctx, agent)?;
        if !agent.is_enabled() {
            return Err(Refusal::new(Code::AgentDisabled, "an operator has disabled this agent"));
        }
        Ok(Admitted { agent: Arc::clone(agent), envelope, permit })
    }

    /// Nobody has this id, or nobody has it yet.
    pub(super) fn unknown(&self, id: &str) -> Refusal {
        // The one agent is always meant to be here.
        let is_ours = matches!(&*self.layout, Layout::Single(single) if *single.id == *id);
        if is_ours || !self.pool.is_settled() {
            return Refusal::new(Code::NotReady, "packages are still being mounted")
                .retry_after(Duration::from_secs(1));
        }
        let id = id.get(..id.floor_char_boundary(TOLD)).unwrap_or(id);
        Refusal::new(Code::AgentNotFound, format!("there is no agent {id:?}"))
    }

    /// Mounts the lazy package that a call is for, within the deadline of the call. `None`: there is none.
    pub(super) async fn wake(&self, session: &Session, begin: Instant) -> Option<Result<(), Refusal>> {
        let id = match self.target(session.req_header(), &Directory::default()) {
            Target::Invoke(id) | Target::Envelope(id) => id,
            Target::Rest(place) | Target::Ui(place) | Target::A2a(place) => place.id,
            Target::Control { .. } | Target::Nothing => return None,
        };
        let name = self.pool.sleeping(&id)?;
        Some(self.mount(session, &name, begin).await)
    }

    /// Mounts a lazy package within the deadline of a call.
    pub(super) async fn mount(
        &self,
        session: &Session,
        name: &PackageName,
        begin: Instant,
    ) -> Result<(), Refusal> {
        let deadline = self.deadline(session, None, begin)?;
        self.mount_until(name, deadline).await
    }

    /// The same, for who knows its deadline.
    pub(super) async fn mount_until(&self, name: &PackageName, deadline: Instant) -> Result<(), Refusal> {
        match tokio::time::timeout_at(deadline.into(), self.pool.wake(name)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(LoadError::Stopping)) => Err(Refusal::new(Code::Stopping, "the runtime is stopping")),
            Ok(Err(error)) => {
                let (step, detail) = error.step();
                let text = format!("{name} could not be mounted ({step}): {detail}");
                Err(Refusal::new(Code::NotReady, text).retry_after(AGAIN))
            }
            // It goes on: the next call may find it mounted.
            Err(_elapsed) => {
                Err(Refusal::new(Code::DeadlineExceeded, format!("{name} is still being mounted")))
            }
        }
    }

    /// When the caller stops waiting.
    pub(super) fn deadline(
        &self,
        session: &Session,
        agent: Option<&Agent>,
        begin: Instant,
    ) -> Result<Instant, Refusal> {
        let longest = agent.and_then(|agent| agent.export()?.timeout);
        self.patience(session.req_header(), longest).map(|patience| begin + patience)
    }

    /// How long the caller waits: as long as it may, or shorter by its own word.
    pub(super) fn patience(
        &self,
        head: &RequestHeader,
        longest: Option<Duration>,
    ) -> Result<Duration, Refusal> {
        let longest = longest.unwrap_or_else(|| self.pool.request_timeout());
        let Some(value) = head.headers.get("x-par-timeout-ms") else { return Ok(longest) };
        let milliseconds = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|ms| *ms > 0);
        match milliseconds {
            Some(ms) => Ok(longest.min(Duration::from_millis(ms))),
            None => Err(Refusal::new(Code::BadRequest, "X-PAR-Timeout-Ms is not a number of milliseconds")),
        }
    }
}

/// When a package that could not be mounted is worth another try.
const AGAIN: Duration = Duration::from_secs(5);

/// Bytes of an unknown id that are told back: more than any real one has.
const TOLD: usize = 512;
