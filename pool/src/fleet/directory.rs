//! The one table that says which agent is where: built anew for every change, read without a lock.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use par_proto::ids::{AgentId, ExportId, PackageId, PackageName};

use super::{
    book::Place,
    generation::Generation,
    reached::Reached,
    receipt::Cause,
    split::Split,
    status::{AgentState, AgentStatus},
};
use crate::package::{Export, Package, Source};

/// One mounted package.
#[derive(Debug)]
pub struct Mount {
    /// `name@version`.
    pub id: PackageId,
    /// The generation that serves it.
    pub generation: Arc<Generation>,
    /// Place in source order; smaller comes first.
    pub order: u64,
    /// Where it came from, as given, without query and credentials.
    pub source: String,
    /// What is needed to bring it back after a restart.
    pub(crate) origin: Source,
    /// Who asked for it.
    pub(crate) cause: Cause,
    /// What the front end keeps per package, made at the first request for it.
    pub front: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// A mounted generation in its place, as the table is made from it.
#[derive(Debug, Clone)]
pub(crate) struct Seated {
    pub(crate) mount: Arc<Mount>,
    pub(crate) place: Place,
    /// Its share of the calls to the package's short ids; 0 for all if nothing is split.
    pub(crate) weight: u32,
}

impl Mount {
    /// The manifest.
    pub fn package(&self) -> &Package {
        &self.generation.installed.package
    }

    /// Full ids of its agents, private ones included.
    pub fn agents(&self) -> Vec<AgentId> {
        let exports = &self.package().exports;
        exports.iter().map(|export| AgentId { package: self.id.clone(), export: export.id.clone() }).collect()
    }
}

/// One agent, as requests find it.
#[derive(Debug)]
pub struct Agent {
    /// Full id.
    pub id: AgentId,
    /// Full id as text.
    pub text: Arc<str>,
    /// Index of the export in the manifest.
    pub export: u32,
    /// The package it belongs to.
    pub mount: Arc<Mount>,
    /// Full id of the agent that owns the bare export id, if that is another one.
    pub conflict: Option<AgentId>,
    /// What the front end keeps per agent (rendered headers, metric handles), made at the first call.
    pub front: OnceLock<Arc<dyn Any + Send + Sync>>,
    enabled: Arc<AtomicBool>,
}

impl Agent {
    /// What the manifest says about it.
    pub fn export(&self) -> Option<&Export> {
        self.mount.package().exports.get(self.export as usize)
    }

    /// The same agent in another version of its package, which need not be in the table; `None`: it has none.
    pub(crate) fn standing_in(&self, mount: &Arc<Mount>) -> Option<Self> {
        let at = mount.package().exports.iter().position(|export| export.id == self.id.export)?;
        let id = AgentId { package: mount.id.clone(), export: self.id.export.clone() };
        Some(Self {
            text: Arc::from(id.to_string()),
            id,
            export: u32::try_from(at).ok()?,
            mount: Arc::clone(mount),
            conflict: self.conflict.clone(),
            front: OnceLock::new(),
            enabled: Arc::clone(&self.enabled),
        })
    }

    /// Whether only other agents may call it.
    pub fn is_private(&self) -> bool {
        self.export().is_none_or(|export| export.private)
    }

    /// Whether an operator has left it on.
    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// Its state, for people.
    pub fn state(&self) -> AgentState {
        let generation = &self.mount.generation;
        if !self.is_enabled() {
            return AgentState::Disabled;
        }
        match generation.state() {
            "crash_loop" => AgentState::CrashLoop,
            "draining" => AgentState::Draining,
            "error" => AgentState::Error,
            _ => AgentState::Ready,
        }
    }

    /// All that is told about it.
    pub fn status(&self) -> AgentStatus {
        let package = self.mount.package();
        let export = self.export();
        AgentStatus {
            id: self.id.clone(),
            package_id: self.mount.id.clone(),
            name: export.map(|export| export.name.clone()).unwrap_or_default(),
            description: export.map(|export| export.description.clone()).unwrap_or_default(),
            version: self.mount.id.version.to_string(),
            status: self.state(),
            private: self.is_private(),
            role_required: export.and_then(|export| export.role_required.clone()),
            input_schema: export
                .and_then(|export| export.input_schema.as_ref())
                .map(|of| of.source().clone()),
            output_schema: export
                .and_then(|export| export.output_schema.as_ref())
                .map(|of| of.source().clone()),
            surfaces: surfaces(package),
            conflict: self.conflict.clone(),
        }
    }
}

/// Surfaces that a package declares.
pub(crate) fn surfaces(package: &Package) -> Vec<&'static str> {
    let declared = &package.surfaces;
    [("rest", declared.rest.is_some()), ("a2a", declared.a2a.is_some()), ("ui", declared.ui.is_some())]
        .into_iter()
        .filter_map(|(name, there)| there.then_some(name))
        .collect()
}

/// The key under which an agent's switch survives restarts and rollouts: `package/export`.
pub(crate) fn switch_key(id: &AgentId) -> String {
    format!("{}/{}", id.package.name, id.export)
}

/// Which package owns a bare export id.
pub(crate) type Owners = BTreeMap<ExportId, PackageName>;

/// Every agent by each of its ids.
#[derive(Debug, Default)]
pub struct Directory {
    by_id: HashMap<Box<str>, Reached<Agent>>,
    /// Packages by their own ids.
    packages: HashMap<Box<str>, Reached<Mount>>,
    agents: Vec<Arc<Agent>>,
    mounts: Vec<Arc<Mount>>,
    standing: Vec<Seated>,
}

/// The export of an entrypoint without sub_agents: reached by longer ids only.
const UNNAMED: &str = "default";

impl Directory {
    /// Builds the table. `owners` is brought up to date: an owner stays until its package is unmounted, a free id goes
    /// to the first package in source order. While `settled` is false (start), packages are still coming: owners of
    /// packages that are not there yet are kept, and nothing new is owned for good.
    pub(crate) fn build(
        mut standing: Vec<Seated>,
        owners: &mut Owners,
        settled: bool,
        switches: &mut HashMap<String, Arc<AtomicBool>>,
        alias: Option<&str>,
    ) -> Self {
        standing.sort_by(|a, b| {
            let (x, y) = (&a.mount, &b.mount);
            rank(a.place)
                .cmp(&rank(b.place))
                .then_with(|| x.order.cmp(&y.order))
                .then_with(|| super::order::newer_first(&x.id.version, &y.id.version))
                .then_with(|| y.generation.number.cmp(&x.generation.number))
        });
        let active: Vec<Arc<Mount>> = standing
            .iter()
            .filter(|seated| seated.place == Place::Active)
            .map(|seated| Arc::clone(&seated.mount))
            .collect();
        let now = decide_owners(&active, owners, settled);
        if settled {
            owners.clone_from(&now);
        }
        let mut all: Vec<(usize, Arc<Agent>)> = Vec::new();
        for (place, seated) in standing.iter().enumerate() {
            let mount = &seated.mount;
            for (index, export) in mount.package().exports.iter().enumerate() {
                let id = AgentId { package: mount.id.clone(), export: export.id.clone() };
                let enabled =
                    switches.entry(switch_key(&id)).or_insert_with(|| Arc::new(AtomicBool::new(true)));
                let owner = now.get(&export.id);
                let conflict = owner
                    .filter(|owner| **owner != mount.id.name && export.id.as_str() != UNNAMED)
                    .and_then(|owner| active.iter().find(|other| other.id.name == *owner))
                    .map(|other| AgentId { package: other.id.clone(), export: export.id.clone() });
                let agent = Agent {
                    text: Arc::from(id.to_string()),
                    id,
                    export: u32::try_from(index).unwrap_or(u32::MAX),
                    mount: Arc::clone(mount),
                    conflict,
                    front: OnceLock::new(),
                    enabled: Arc::clone(enabled),
                };
                all.push((place, Arc::new(agent)));
            }
        }
        let listed = |place: usize| {
            standing.get(place).is_some_and(|seated| !matches!(seated.place, Place::Parked { .. }))
        };
        let mut directory = Self {
            agents: all.iter().filter(|(place, _)| listed(*place)).map(|(_, a)| Arc::clone(a)).collect(),
            mounts: active,
            ..Self::default()
        };
        directory.index(&now, &all, &standing);
        directory.index_packages(&standing);
        if let Some(alias) = alias {
            directory.name(alias);
        }
        directory.standing = standing;
        directory
    }

    /// Enters every id; earlier entries win: full ids, then `package/export`, then exports, then packages. Ids that
    /// name no version reach the active generation, or those that share the calls.
    fn index(&mut self, owners: &Owners, all: &[(usize, Arc<Agent>)], standing: &[Seated]) {
        let is_active = |place: usize| standing.get(place).is_some_and(|s| s.place == Place::Active);
        let by_id = &mut self.by_id;
        let mut one = |id: String, agent: &Arc<Agent>| {
            by_id.entry(id.into_boxed_str()).or_insert_with(|| Reached::One(Arc::clone(agent)));
        };
        for (_, agent) in all {
            one(agent.text.to_string(), agent);
        }
        let shared = |agent: &Arc<Agent>| {
            let sharing = all.iter().filter_map(|(place, other)| {
                let weight = standing.get(*place)?.weight;
                let same =
                    other.id.package.name == agent.id.package.name && other.id.export == agent.id.export;
                (same && weight > 0).then(|| (weight, Arc::clone(other)))
            });
            Split::of(sharing.collect()).map_or_else(|| Reached::One(Arc::clone(agent)), Reached::Shared)
        };
        let active = || all.iter().filter(|(place, _)| is_active(*place)).map(|(_, agent)| agent);
        let mut enter = |id: String, agent: &Arc<Agent>| {
            self.by_id.entry(id.into_boxed_str()).or_insert_with(|| shared(agent));
        };
        for agent in active() {
            enter(switch_key(&agent.id), agent);
        }
        for (place, agent) in all.iter().filter(|(_, agent)| agent.id.export.as_str() != UNNAMED) {
            let versioned = format!("{}@{}", agent.id.export, agent.id.package.version);
            self.by_id.entry(versioned.into_boxed_str()).or_insert_with(|| Reached::One(Arc::clone(agent)));
            if is_active(*place) && owners.get(&agent.id.export) == Some(&agent.id.package.name) {
                self.by_id
                    .entry(agent.id.export.to_string().into_boxed_str())
                    .or_insert_with(|| shared(agent));
            }
        }
        for (place, agent) in all {
            if agent.mount.package().main_export.as_ref() != Some(&agent.id.export) {
                continue;
            }
            self.by_id
                .entry(agent.id.package.to_string().into_boxed_str())
                .or_insert_with(|| Reached::One(Arc::clone(agent)));
            if is_active(*place) {
                self.by_id
                    .entry(agent.id.package.name.to_string().into_boxed_str())
                    .or_insert_with(|| shared(agent));
            }
        }
    }

    fn index_packages(&mut self, standing: &[Seated]) {
        for seated in standing {
            let mount = &seated.mount;
            let one = || Reached::One(Arc::clone(mount));
            self.packages.entry(mount.id.to_string().into_boxed_str()).or_insert_with(one);
            if seated.place != Place::Active {
                continue;
            }
            let sharing = standing
                .iter()
                .filter(|other| other.weight > 0 && other.mount.id.name == mount.id.name)
                .map(|other| (other.weight, Arc::clone(&other.mount)));
            let shared = Split::of(sharing.collect()).map_or_else(one, Reached::Shared);
            self.packages.entry(mount.id.name.to_string().into_boxed_str()).or_insert(shared);
        }
    }

    /// Enters one more id for the first package and its main agent. It is stronger than what packages call themselves.
    fn name(&mut self, alias: &str) {
        let Some(mount) = self.mounts.first() else { return };
        self.packages.insert(alias.into(), Reached::One(Arc::clone(mount)));
        let main = mount.package().main_export.as_ref();
        let agent = self
            .agents
            .iter()
            .find(|agent| Arc::ptr_eq(&agent.mount, mount) && Some(&agent.id.export) == main);
        match agent {
            Some(agent) => self.by_id.insert(alias.into(), Reached::One(Arc::clone(agent))),
            None => self.by_id.remove(alias),
        };
    }

    /// The agent that an id names, private ones included. Of several versions that share the calls it is the first.
    pub fn find(&self, id: &str) -> Option<&Arc<Agent>> {
        self.by_id.get(id).map(Reached::first)
    }

    /// The agent that answers a call to an id. Calls of one session get the same version as long as the shares stay.
    pub fn pick(&self, id: &str, session: Option<&[u8]>) -> Option<&Arc<Agent>> {
        self.by_id.get(id).map(|reached| reached.pick(session))
    }

    /// The package that an id names: its own, or that of one of its agents. For its surfaces.
    pub fn package(&self, id: &str, session: Option<&[u8]>) -> Option<&Arc<Mount>> {
        match self.packages.get(id) {
            Some(reached) => Some(reached.pick(session)),
            None => self.pick(id, session).map(|agent| &agent.mount),
        }
    }

    /// Every agent of the packages that are not parked, in source order.
    pub fn agents(&self) -> &[Arc<Agent>] {
        &self.agents
    }

    /// The active generation of every package, in source order.
    pub fn mounts(&self) -> &[Arc<Mount>] {
        &self.mounts
    }

    /// Every mounted generation in its place: active ones first, then those beside them, then parked ones.
    pub(crate) fn standing(&self) -> &[Seated] {
        &self.standing
    }
}

const fn rank(place: Place) -> u8 {
    match place {
        Place::Active => 0,
        Place::Beside => 1,
        Place::Parked { .. } => 2,
    }
}

fn decide_owners(mounts: &[Arc<Mount>], owners: &Owners, settled: bool) -> Owners {
    let has = |name: &PackageName, export: &ExportId| {
        mounts
            .iter()
            .any(|mount| mount.id.name == *name && mount.package().exports.iter().any(|e| e.id == *export))
    };
    let mut now: Owners = owners
        .iter()
        .filter(|(export, name)| !settled || has(name, export))
        .map(|(export, name)| (export.clone(), name.clone()))
        .collect();
    for mount in mounts {
        for export in mount.package().exports.iter().filter(|export| export.id.as_str() != UNNAMED) {
            now.entry(export.id.clone()).or_insert_with(|| mount.id.name.clone());
        }
    }
    now
}
