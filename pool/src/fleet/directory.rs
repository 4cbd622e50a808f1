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
    generation::Generation,
    status::{AgentState, AgentStatus},
};
use crate::package::{Export, Package};

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
}

impl Mount {
    /// The manifest.
    pub fn package(&self) -> &Package {
        &self.generation.installed.package
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
            input_schema: export.and_then(|export| export.input_schema.clone()),
            output_schema: export.and_then(|export| export.output_schema.clone()),
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
    by_id: HashMap<Box<str>, Arc<Agent>>,
    agents: Vec<Arc<Agent>>,
    mounts: Vec<Arc<Mount>>,
}

/// The export of an entrypoint without sub_agents: reached by longer ids only.
const UNNAMED: &str = "default";

impl Directory {
    /// Builds the table. `owners` is brought up to date: an owner stays until its package is unmounted, a free id goes
    /// to the first package in source order. While `settled` is false (start), packages are still coming: owners of
    /// packages that are not there yet are kept, and nothing new is owned for good.
    pub(crate) fn build(
        mut mounts: Vec<Arc<Mount>>,
        owners: &mut Owners,
        settled: bool,
        switches: &mut HashMap<String, Arc<AtomicBool>>,
    ) -> Self {
        mounts.sort_by(|a, b| {
            a.order.cmp(&b.order).then_with(|| super::order::newer_first(&a.id.version, &b.id.version))
        });
        let now = decide_owners(&mounts, owners, settled);
        if settled {
            owners.clone_from(&now);
        }
        let mut directory = Self { mounts, ..Self::default() };
        for mount in directory.mounts.clone() {
            for (index, export) in mount.package().exports.iter().enumerate() {
                let id = AgentId { package: mount.id.clone(), export: export.id.clone() };
                let enabled =
                    switches.entry(switch_key(&id)).or_insert_with(|| Arc::new(AtomicBool::new(true)));
                let owner = now.get(&export.id);
                let conflict = owner
                    .filter(|owner| **owner != mount.id.name && export.id.as_str() != UNNAMED)
                    .and_then(|owner| directory.mounts.iter().find(|other| other.id.name == *owner))
                    .map(|other| AgentId { package: other.id.clone(), export: export.id.clone() });
                directory.agents.push(Arc::new(Agent {
                    text: Arc::from(id.to_string()),
                    id,
                    export: u32::try_from(index).unwrap_or(u32::MAX),
                    mount: Arc::clone(&mount),
                    conflict,
                    front: OnceLock::new(),
                    enabled: Arc::clone(enabled),
                }));
            }
        }
        directory.index(&now);
        directory
    }

    /// Enters every id; earlier entries win: full ids, then `package/export`, then exports, then packages.
    fn index(&mut self, owners: &Owners) {
        let agents = self.agents.clone();
        let mut enter = |id: String, agent: &Arc<Agent>| {
            self.by_id.entry(id.into_boxed_str()).or_insert_with(|| Arc::clone(agent));
        };
        for agent in &agents {
            enter(agent.text.to_string(), agent);
        }
        for agent in &agents {
            enter(switch_key(&agent.id), agent);
        }
        for agent in agents.iter().filter(|agent| agent.id.export.as_str() != UNNAMED) {
            enter(format!("{}@{}", agent.id.export, agent.id.package.version), agent);
            if owners.get(&agent.id.export) == Some(&agent.id.package.name) {
                enter(agent.id.export.to_string(), agent);
            }
        }
        for agent in &agents {
            let package = agent.mount.package();
            if package.main_export.as_ref() == Some(&agent.id.export) {
                enter(agent.id.package.to_string(), agent);
                enter(agent.id.package.name.to_string(), agent);
            }
        }
    }

    /// The agent that an id names, private ones included.
    pub fn find(&self, id: &str) -> Option<&Arc<Agent>> {
        self.by_id.get(id)
    }

    /// Every agent, in source order.
    pub fn agents(&self) -> &[Arc<Agent>] {
        &self.agents
    }

    /// Every package, in source order.
    pub fn mounts(&self) -> &[Arc<Mount>] {
        &self.mounts
    }

    /// The newest mounted package of a name, or the one of that version.
    pub fn mount(&self, id: &PackageId) -> Option<&Arc<Mount>> {
        self.mounts.iter().find(|mount| mount.id == *id)
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
