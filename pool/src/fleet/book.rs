//! What is mounted, who owns which id, what is switched off: the one place where it changes. The directory is made
//! from it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use par_proto::ids::{AgentId, PackageId};

use super::{
    directory::{Directory, Mount, switch_key},
    state::State,
    status::Failure,
};

/// The book of a pool; kept under its lock.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) mounts: Vec<Arc<Mount>>,
    pub(crate) failures: BTreeMap<String, Failure>,
    pub(crate) state: State,
    /// Whether all sources of the start have been looked at: before, an owner that is not there yet keeps its ids.
    pub(crate) settled: bool,
    /// Place of the next package that is loaded after the start.
    pub(crate) next_order: u64,
    switches: HashMap<String, Arc<AtomicBool>>,
    /// Conflicts that were told: each is told once.
    told: HashSet<AgentId>,
}

impl Book {
    pub(crate) fn new(state: State) -> Self {
        let switches =
            state.disabled.iter().map(|key| (key.clone(), Arc::new(AtomicBool::new(false)))).collect();
        Self {
            mounts: Vec::new(),
            failures: BTreeMap::new(),
            state,
            settled: false,
            next_order: 0,
            switches,
            told: HashSet::new(),
        }
    }

    /// The table for what is mounted now.
    pub(crate) fn directory(&mut self) -> Directory {
        let directory =
            Directory::build(self.mounts.clone(), &mut self.state.owners, self.settled, &mut self.switches);
        for agent in directory.agents() {
            // Before the start is through, owners may still come.
            if let Some(owner) =
                agent.conflict.as_ref().filter(|_| self.settled && self.told.insert(agent.id.clone()))
            {
                tracing::warn!(
                    event = "agent_conflict",
                    agent_id = %agent.id,
                    owner = %owner,
                    "another package owns the bare id; this agent is reached by its longer ids"
                );
            }
        }
        directory
    }

    /// Takes a package out.
    pub(crate) fn remove(&mut self, id: &PackageId) -> Option<Arc<Mount>> {
        let at = self.mounts.iter().position(|mount| mount.id == *id)?;
        self.state.loaded.remove(&super::state::PackageIdKey(id.clone()));
        Some(self.mounts.remove(at))
    }

    /// Mounts a package; returns the one of the same id that it replaces.
    pub(crate) fn mount(&mut self, mount: Arc<Mount>) -> Option<Arc<Mount>> {
        self.failures.remove(&mount.source);
        match self.mounts.iter_mut().find(|other| other.id == mount.id) {
            Some(place) => Some(std::mem::replace(place, mount)),
            None => {
                self.mounts.push(mount);
                None
            }
        }
    }

    /// Sets or toggles an agent's switch; returns the new value.
    pub(crate) fn switch(&mut self, id: &AgentId, enabled: Option<bool>) -> bool {
        let key = switch_key(id);
        let switch = self.switches.entry(key.clone()).or_insert_with(|| Arc::new(AtomicBool::new(true)));
        let now = enabled.unwrap_or(!switch.load(Ordering::Relaxed));
        switch.store(now, Ordering::Relaxed);
        if now {
            self.state.disabled.remove(&key);
        } else {
            self.state.disabled.insert(key);
        }
        now
    }
}
