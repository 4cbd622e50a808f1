//! The one agent of a container: what it has declared, what of that answers now, and how its health changes.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use par_pool::{
    fleet::{Generation, Pool, SurfaceState},
    package::Package,
};
use tokio::sync::watch;

use super::probe::{self, Unanswered};
use crate::config::{Config, Single};

/// Time between two looks at what may have died.
const LOOK: Duration = Duration::from_millis(250);

/// Looks in a row that must find everything well before the container is healthy again: what ends again and again also
/// starts again and again.
const STEADY: u32 = 8;

/// How the container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It is on its way.
    Booting,
    /// All that it declares answers.
    Healthy,
    /// This has died for good.
    Unhealthy(Part),
}

impl Health {
    const fn text(self) -> &'static str {
        match self {
            Self::Booting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy(_) => "unhealthy",
        }
    }
}

/// What can die for good while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Nothing is mounted any more.
    Package,
    /// The workers that answer calls end again and again.
    Workers,
    /// The process of REST and A2A ends again and again.
    Surfaces,
    /// The UI's index file is gone.
    Ui,
}

impl Part {
    const fn reason(self) -> &'static str {
        match self {
            Self::Package => "the package is not mounted any more",
            Self::Workers => "the workers end again and again",
            Self::Surfaces => "the process of the surfaces ends again and again",
            Self::Ui => "index.html of the UI is gone",
        }
    }
}

/// A yes or no for each surface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Surfaces {
    /// HTTP of the package.
    pub(crate) rest: bool,
    /// gRPC of the package.
    pub(crate) a2a: bool,
    /// Static files.
    pub(crate) ui: bool,
}

/// How the boot went.
#[derive(Debug, Clone)]
pub(crate) struct Booted {
    /// From the start of the process until it was ready.
    pub(crate) total: Duration,
    /// What took how long, in order.
    pub(crate) phases: Vec<(&'static str, Duration)>,
    /// When the package was loaded.
    pub(crate) at: SystemTime,
}

/// The container.
#[derive(Debug)]
pub(crate) struct Container {
    settings: Single,
    /// Where gRPC is asked.
    grpc: std::net::SocketAddr,
    /// Whether it speaks TLS: then only that it accepts is asked.
    tls: bool,
    pool: Arc<Pool>,
    health: watch::Sender<Health>,
    booted: OnceLock<Booted>,
}

impl Container {
    /// Of a configuration of single mode, booting.
    pub(crate) fn new(settings: &Single, config: &Config, pool: Arc<Pool>) -> Self {
        let tls = config.tls.is_some();
        let health = watch::channel(Health::Booting).0;
        Self { settings: settings.clone(), grpc: config.a2a, tls, pool, health, booted: OnceLock::new() }
    }

    /// `AGENT_APP_ID`.
    pub(crate) fn id(&self) -> &str {
        &self.settings.agent_app_id
    }

    /// What only single mode has.
    pub(super) fn settings(&self) -> &Single {
        &self.settings
    }

    /// How it does.
    pub(crate) fn health(&self) -> Health {
        *self.health.borrow()
    }

    /// How the boot went, once it is over.
    pub(crate) fn booted(&self) -> Option<&Booted> {
        self.booted.get()
    }

    /// What serves the agent now.
    pub(crate) fn generation(&self) -> Option<Arc<Generation>> {
        let directory = self.pool.directory();
        directory.package(self.id(), None).map(|mount| Arc::clone(&mount.generation))
    }

    /// Which surfaces the package has.
    pub(crate) fn declared(&self) -> Surfaces {
        self.generation().map(|generation| declared(&generation)).unwrap_or_default()
    }

    /// Which surfaces answer as far as a glance tells: nothing is asked. Our own REST port answers for packages that
    /// have no REST of their own.
    pub(crate) fn answering(&self) -> Surfaces {
        let health = self.health();
        let Some(generation) = self.generation().filter(|_| health != Health::Booting) else {
            return Surfaces::default();
        };
        let lives = !matches!(generation.surfaces(), SurfaceState::Starting | SurfaceState::CrashLoop);
        let declared = declared(&generation);
        Surfaces {
            rest: !declared.rest || lives,
            a2a: declared.a2a && lives,
            ui: declared.ui && index(&generation).is_some(),
        }
    }

    /// Asks the REST application for anything.
    pub(super) async fn ask_rest(&self) -> Result<(), Unanswered> {
        let primary =
            self.generation().and_then(|generation| generation.primary(None)).ok_or(Unanswered::Gone)?;
        probe::rest(&primary).await
    }

    /// Asks the gRPC port for its health.
    pub(crate) async fn ask_a2a(&self) -> Result<(), Unanswered> {
        let primary =
            self.generation().and_then(|generation| generation.primary(None)).ok_or(Unanswered::Gone)?;
        let services = primary.facts.a2a.as_ref().map(|a2a| a2a.services.as_slice()).unwrap_or_default();
        if self.tls {
            return probe::accepts(self.grpc).await;
        }
        let service = services.first().map_or(AGENT_SERVICE, String::as_str);
        probe::grpc(self.grpc, service).await
    }

    /// The UI's index file, if it is there.
    pub(crate) fn index(&self) -> Option<PathBuf> {
        self.generation().and_then(|generation| index(&generation))
    }

    /// The boot is over: everything answers.
    pub(super) fn ready(&self, booted: Booted) {
        // Told once, by the boot.
        self.booted.set(booted).ok();
        self.change(Health::Healthy, "everything answers");
    }

    /// Looks after the health until the process ends.
    pub(super) async fn keep(&self) {
        let mut steady = 0;
        loop {
            tokio::time::sleep(LOOK).await;
            let seen = self.look();
            steady = if seen == Some(Health::Healthy) { steady + 1 } else { 0 };
            match (self.health(), seen) {
                (now, Some(seen @ Health::Unhealthy(part))) if now != seen => {
                    self.change(seen, part.reason());
                }
                (Health::Unhealthy(_), Some(Health::Healthy)) if steady >= STEADY => {
                    self.change(Health::Healthy, "everything answers again");
                }
                (_, Some(Health::Healthy | Health::Unhealthy(_) | Health::Booting) | None) => {}
            }
        }
    }

    /// What a glance tells; `None`: something is on its way, and nothing is decided.
    fn look(&self) -> Option<Health> {
        let Some(generation) = self.generation() else { return Some(Health::Unhealthy(Part::Package)) };
        let has_agents = !generation.installed.package.exports.is_empty();
        if has_agents && generation.state() == "crash_loop" {
            return Some(Health::Unhealthy(Part::Workers));
        }
        match generation.surfaces() {
            SurfaceState::CrashLoop => return Some(Health::Unhealthy(Part::Surfaces)),
            SurfaceState::Starting => return None,
            SurfaceState::Ready | SurfaceState::NotDeclared => {}
        }
        if declared(&generation).ui && index(&generation).is_none() {
            return Some(Health::Unhealthy(Part::Ui));
        }
        Some(Health::Healthy)
    }

    fn change(&self, to: Health, reason: &str) {
        let from = self.health.send_replace(to).text();
        let to = to.text();
        if to == Health::Healthy.text() {
            tracing::info!(event = "health_changed", from, to, reason);
        } else {
            tracing::warn!(event = "health_changed", from, to, reason);
        }
    }
}

/// Our own service, which answers for every package.
const AGENT_SERVICE: &str = "pixell.agent.AgentService";

/// What a package has, as its process says where only that can know it.
fn declared(generation: &Generation) -> Surfaces {
    let package: &Package = &generation.installed.package;
    let facts = generation.primary(None).map(|primary| primary.facts.clone());
    let (rest, a2a) = match &facts {
        Some(facts) => (facts.rest.is_some(), facts.a2a.is_some()),
        None => (package.surfaces.rest.is_some(), package.surfaces.a2a.is_some()),
    };
    Surfaces { rest, a2a, ui: package.surfaces.ui.is_some() }
}

fn index(generation: &Generation) -> Option<PathBuf> {
    let ui = generation.installed.package.surfaces.ui.as_ref()?;
    let index = generation.installed.root.join(&ui.path).join("index.html");
    index.is_file().then_some(index)
}
