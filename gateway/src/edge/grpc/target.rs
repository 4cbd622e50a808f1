//! Whom a request of gRPC is for: an id in, a package and what its caller may do there out.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use par_pool::{
    fleet::{Agent, Guest, Mount, SurfaceState},
    process::{A2aFacts, Primary},
};
use par_proto::code::Code;
use pingora_proxy::Session;

use super::super::{Edge, admit::SESSION, ctx::Ctx, premises::Premises, refusal::Refusal, trace};
use crate::{auth::permit::Permit, meter::Surface};

/// When it is worth asking again for a process that is not there.
const AGAIN: Duration = Duration::from_secs(1);

/// A process that answers A2A.
pub(super) struct Server(pub(super) Arc<Primary>);

impl Server {
    /// What it offers.
    pub(super) fn facts(&self) -> &A2aFacts {
        static NOTHING: A2aFacts =
            A2aFacts { actions: Vec::new(), services: Vec::new(), socket: None, descriptors: Vec::new() };
        self.0.facts.a2a.as_ref().unwrap_or(&NOTHING)
    }
}

/// A package, as an id reaches it.
pub(super) struct Target {
    pub(super) mount: Arc<Mount>,
    pub(super) premises: Arc<Premises>,
    /// The agent that the id names, or that its package does by itself.
    pub(super) agent: Option<Arc<Agent>>,
    /// The session that the request names: its process stays the same.
    session: Option<HeaderValue>,
}

impl Edge {
    /// What an id reaches; wakes it if it sleeps.
    pub(super) async fn reach(&self, session: &Session, ctx: &mut Ctx, id: &str) -> Result<Target, Refusal> {
        let mut found = self.find(session, id);
        if found.is_none()
            && let Some(name) = self.pool.sleeping(id)
        {
            self.mount(session, &name, ctx.begin).await?;
            found = self.find(session, id);
        }
        let target = found.ok_or_else(|| self.unknown(id))?;
        ctx.premises = Some(Arc::clone(&target.premises));
        Ok(target)
    }

    /// As the table is now. A package whose agents are all private is not there.
    fn find(&self, session: &Session, id: &str) -> Option<Target> {
        let directory = self.pool.directory();
        let session = session.req_header().headers.get(SESSION).cloned();
        let mount = directory.package(id, session.as_ref().map(HeaderValue::as_bytes))?;
        let premises = Premises::of(mount, &self.metrics);
        let own = directory.find(id).filter(|agent| Arc::ptr_eq(&agent.mount, mount));
        let is_package = mount.id.name.as_str() == id || mount.id.to_string() == id;
        let is_hidden = own.is_some_and(|agent| agent.is_private()) && !is_package;
        if is_hidden || premises.is_private {
            return None;
        }
        let main = || directory.find(&format!("{}/{}", mount.id, mount.package().main_export.as_ref()?));
        let agent = own.or_else(main).filter(|agent| !agent.is_private()).map(Arc::clone);
        Some(Target { mount: Arc::clone(mount), premises, agent, session })
    }

    /// Lets a request in at the package's own process, once it may use that.
    pub(super) async fn admit_guest(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        target: &Target,
    ) -> Result<(Permit, Guest, Arc<str>), Refusal> {
        let permit = self.permit_all(ctx, &target.premises)?;
        let tenant = match &target.premises.account {
            Some(account) => self.enter(session, ctx, account, Surface::Grpc).await?,
            None => Self::tenant(ctx),
        };
        let guest = self.pool.receive(&target.mount.generation, &tenant).map_err(Refusal::at_limit)?;
        trace::let_in(ctx);
        Ok((permit, guest, tenant))
    }
}

impl Target {
    /// Whether calls are answered, and why not.
    pub(super) fn health(&self) -> (bool, &'static str) {
        if self.agent.as_ref().is_some_and(|agent| !agent.is_enabled()) {
            return (false, "Agent is disabled");
        }
        match (self.mount.generation.state(), self.mount.generation.surfaces()) {
            ("active", SurfaceState::NotDeclared | SurfaceState::Ready) => (true, "Agent is healthy"),
            ("active", SurfaceState::Starting) => (false, "Agent is starting"),
            ("active", SurfaceState::CrashLoop) | ("crash_loop", _) => {
                (false, "Agent crashes again and again")
            }
            _ => (false, "Agent is being stopped"),
        }
    }

    /// What answers A2A in its own process, if the package has something of that.
    pub(super) fn server(&self) -> Option<Server> {
        let primary = self.mount.generation.primary(self.session.as_ref().map(HeaderValue::as_bytes))?;
        primary.facts.a2a.is_some().then(|| Server(primary))
    }

    /// The same, if it has this service.
    pub(super) fn serves(&self, service: &str) -> Option<Server> {
        self.server().filter(|server| server.facts().services.iter().any(|own| own == service))
    }

    /// What cannot be answered now, since the process of the package's own A2A is not there, is refused.
    pub(super) fn living(&self) -> Result<(), Refusal> {
        if self.mount.package().surfaces.a2a.is_none() {
            return Ok(());
        }
        let (code, detail) = match self.mount.generation.surfaces() {
            SurfaceState::NotDeclared | SurfaceState::Ready => return Ok(()),
            SurfaceState::Starting => (Code::NotReady, "the process of the package is being started"),
            SurfaceState::CrashLoop => (Code::CrashLoop, "the process of the package dies again and again"),
        };
        Err(Refusal::new(code, detail).retry_after(AGAIN))
    }

    /// Its id, of the agent where there is one.
    pub(super) fn id(&self) -> String {
        self.agent.as_ref().map_or_else(|| self.mount.id.to_string(), |agent| agent.text.to_string())
    }

    /// The agent of an export that may be called from outside.
    pub(super) fn export(&self, edge: &Edge, name: &str) -> Option<Arc<Agent>> {
        let directory = edge.pool.directory();
        let id = format!("{}/{name}", self.mount.id);
        directory.find(&id).filter(|agent| !agent.is_private()).map(Arc::clone)
    }

    /// An agent may be used that is switched on.
    pub(super) fn enabled(agent: &Agent) -> Result<(), Refusal> {
        if agent.is_enabled() {
            return Ok(());
        }
        Err(Refusal::new(Code::AgentDisabled, "an operator has disabled this agent"))
    }
}
