//! What is mounted in which place, who owns which id, what is switched off: the one place where it changes. The
//! directory is made from it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use par_proto::ids::{AgentId, Digest, PackageId, PackageName};

use super::{
    directory::{Directory, Mount, Seated, switch_key},
    lazy::Lazy,
    order::compare,
    state::{PackageIdKey, State},
    status::Failure,
};
use crate::package::PullError;

/// Where a mounted generation stands among those of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Reached by every id of the package.
    Active,
    /// Named by a source of its own: reached by ids that name its version.
    Beside,
    /// Replaced, kept warm for a rollback, and reached by ids that name its version.
    Parked {
        /// When it was replaced.
        since: Instant,
    },
}

/// A generation in its place.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) mount: Arc<Mount>,
    pub(crate) place: Place,
}

/// The book of a pool; kept under its lock.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) standing: Vec<Standing>,
    pub(crate) failures: BTreeMap<String, Failure>,
    /// Bytes that failed for good: not tried again without force.
    pub(crate) refused: HashMap<Digest, PullError>,
    /// Packages that wait for their first call.
    pub(crate) lazy: BTreeMap<PackageName, Lazy>,
    /// Entries of the index that are being brought in.
    pub(crate) bringing: Vec<(PackageName, Digest)>,
    pub(crate) state: State,
    /// Whether all sources of the start have been looked at: before, an owner that is not there yet keeps its ids.
    pub(crate) settled: bool,
    /// Place of the next package that is loaded after the start.
    pub(crate) next_order: u64,
    /// One more id for the first package.
    alias: Option<Box<str>>,
    switches: HashMap<String, Arc<AtomicBool>>,
    /// Conflicts that were told: each is told once.
    told: HashSet<AgentId>,
}

impl Book {
    pub(crate) fn new(state: State, alias: Option<Box<str>>) -> Self {
        let switches =
            state.disabled.iter().map(|key| (key.clone(), Arc::new(AtomicBool::new(false)))).collect();
        Self {
            standing: Vec::new(),
            failures: BTreeMap::new(),
            refused: HashMap::new(),
            lazy: BTreeMap::new(),
            bringing: Vec::new(),
            state,
            settled: false,
            next_order: 0,
            alias,
            switches,
            told: HashSet::new(),
        }
    }

    /// The table for what is mounted now.
    pub(crate) fn directory(&mut self) -> Directory {
        let seated = self.standing.iter().map(|standing| self.seat(standing)).collect();
        let directory = Directory::build(
            seated,
            &mut self.state.owners,
            self.settled,
            &mut self.switches,
            self.alias.as_deref(),
        );
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

    fn seat(&self, standing: &Standing) -> Seated {
        let id = &standing.mount.id;
        let split = self.state.traffic.get(&id.name);
        // Of two generations of one version the newest takes the share.
        let newest = self
            .of_name(&id.name)
            .filter(|other| other.mount.id == *id)
            .all(|other| other.mount.generation.number <= standing.mount.generation.number);
        Seated {
            mount: Arc::clone(&standing.mount),
            place: standing.place,
            weight: split.and_then(|split| split.get(&id.version)).copied().filter(|_| newest).unwrap_or(0),
        }
    }

    /// Whether a generation gets a share of the calls to its package's short ids.
    pub(crate) fn has_share(&self, mount: &Arc<Mount>) -> bool {
        let of_it = self.standing.iter().find(|standing| Arc::ptr_eq(&standing.mount, mount));
        of_it.is_some_and(|standing| self.seat(standing).weight > 0)
    }

    /// Everything that is mounted under a name.
    pub(crate) fn of_name<'a, 'n>(
        &'a self,
        name: &'n PackageName,
    ) -> impl Iterator<Item = &'a Standing> + use<'a, 'n> {
        self.standing.iter().filter(move |standing| standing.mount.id.name == *name)
    }

    /// What a name's short ids reach.
    pub(crate) fn active<'a>(&'a self, name: &PackageName) -> Option<&'a Arc<Mount>> {
        self.of_name(name).find(|standing| standing.place == Place::Active).map(|standing| &standing.mount)
    }

    /// The generation that serves a package id, parked ones excluded.
    pub(crate) fn serving(&self, id: &PackageId) -> Option<&Arc<Mount>> {
        self.standing
            .iter()
            .find(|standing| standing.mount.id == *id && !matches!(standing.place, Place::Parked { .. }))
            .map(|standing| &standing.mount)
    }

    /// Packages that are mounted, parked generations not counted.
    pub(crate) fn count(&self) -> usize {
        self.standing.iter().filter(|standing| !matches!(standing.place, Place::Parked { .. })).count()
    }

    /// Puts `green` in the place of what serves its name. The former one is parked, or stays beside it if `keep`.
    /// Returns the former one.
    pub(crate) fn switch(&mut self, green: Arc<Mount>, keep: bool) -> Option<Arc<Mount>> {
        self.failures.remove(&green.source);
        self.lazy.remove(&green.id.name);
        let now = Instant::now();
        let mut former = None;
        for standing in self.standing.iter_mut().filter(|other| other.mount.id.name == green.id.name) {
            let same = standing.mount.id == green.id;
            match standing.place {
                Place::Active => {
                    former = Some(Arc::clone(&standing.mount));
                    standing.place = if keep && !same { Place::Beside } else { Place::Parked { since: now } };
                }
                Place::Beside if same => standing.place = Place::Parked { since: now },
                Place::Beside | Place::Parked { .. } => {}
            }
        }
        // A generation that was parked stands in one place only.
        self.standing.retain(|other| !Arc::ptr_eq(&other.mount.generation, &green.generation));
        if former.as_ref().is_some_and(|former| former.id.version != green.id.version) {
            self.state.traffic.remove(&green.id.name);
        }
        self.standing.push(Standing { mount: green, place: Place::Active });
        former
    }

    /// Mounts a package beside what serves its name.
    pub(crate) fn beside(&mut self, mount: Arc<Mount>) {
        self.failures.remove(&mount.source);
        self.standing.push(Standing { mount, place: Place::Beside });
    }

    /// The parked generation that a rollback would bring back: the one that was replaced last.
    pub(crate) fn parked<'a>(&'a self, name: &PackageName) -> Option<&'a Arc<Mount>> {
        self.of_name(name)
            .filter_map(|standing| match standing.place {
                Place::Parked { since } => Some((since, &standing.mount)),
                Place::Active | Place::Beside => None,
            })
            .max_by_key(|(since, mount)| (*since, mount.generation.number))
            .map(|(_, mount)| mount)
    }

    /// Takes out parked generations that are older than `ttl` or more than `most` of one name, and returns them.
    /// One that gets a share of the traffic stays.
    pub(crate) fn prune(&mut self, ttl: Duration, most: usize) -> Vec<Arc<Mount>> {
        let mut parked: Vec<(Instant, Arc<Mount>)> = Vec::new();
        for standing in &self.standing {
            let Place::Parked { since } = standing.place else { continue };
            if self.seat(standing).weight == 0 {
                parked.push((since, Arc::clone(&standing.mount)));
            }
        }
        parked.sort_by_key(|(since, mount)| std::cmp::Reverse((*since, mount.generation.number)));
        let mut kept: HashMap<PackageName, usize> = HashMap::new();
        let mut gone = Vec::new();
        for (since, mount) in parked {
            let before = kept.entry(mount.id.name.clone()).or_default();
            if *before >= most || since.elapsed() >= ttl {
                gone.push(mount);
            } else {
                *before += 1;
            }
        }
        self.standing.retain(|standing| !gone.iter().any(|mount| Arc::ptr_eq(mount, &standing.mount)));
        gone
    }

    /// Takes a package out, with all that is parked under its name if it was the active one.
    pub(crate) fn remove(&mut self, id: &PackageId) -> Vec<Arc<Mount>> {
        let was_active = self.active(&id.name).is_some_and(|mount| mount.id == *id);
        let goes = |standing: &Standing| {
            standing.mount.id == *id
                || was_active
                    && standing.mount.id.name == id.name
                    && matches!(standing.place, Place::Parked { .. })
        };
        let gone = self.standing.iter().filter(|s| goes(s)).map(|s| Arc::clone(&s.mount)).collect();
        self.standing.retain(|standing| !goes(standing));
        self.state.loaded.remove(&PackageIdKey(id.clone()));
        if was_active {
            self.state.pins.remove(&id.name);
            self.state.traffic.remove(&id.name);
            // The highest of those that are beside it takes over.
            if let Some(next) = self
                .standing
                .iter_mut()
                .filter(|standing| standing.mount.id.name == id.name)
                .max_by(|a, b| compare(&a.mount.id.version, &b.mount.id.version))
            {
                next.place = Place::Active;
            }
        }
        gone
    }

    /// Sets or toggles an agent's switch; returns the new value.
    pub(crate) fn switch_agent(&mut self, id: &AgentId, enabled: Option<bool>) -> bool {
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
