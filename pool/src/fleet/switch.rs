//! The moment of a rollout and what follows it: one exchange of the table, the former generation parked, everybody
//! told; and the way back.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use par_proto::ids::{PackageId, PackageName, Version};

use super::{
    book::{Book, Place},
    course::Course,
    directory::Mount,
    event::{EventKind, Live},
    generation::Generation,
    order::compare,
    pool::{LoadError, Loaded, Pool, Unloaded},
    receipt::{Cause, Receipt, RolloutOutcome, side},
    rollout::Wanted,
    state::{Indexed, PackageIdKey, Pin, Remembered},
};

/// A rollback that was made.
#[derive(Debug, Clone)]
pub struct RolledBack {
    /// What serves now.
    pub active: PackageId,
    /// Its generation.
    pub generation: u64,
    /// What served before.
    pub former: Option<PackageId>,
}

/// Why a version could not be brought back, or a share not be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwitchError {
    /// 404 `package_not_found`.
    #[error("no package {0} is mounted")]
    Unknown(PackageName),
    /// 409 `conflict`.
    #[error("no former generation of {0} is parked")]
    NothingParked(PackageName),
    /// 404 `package_not_found`.
    #[error("{0} is not mounted, neither serving nor parked")]
    NotMounted(PackageId),
    /// 400 `bad_request`.
    #[error("shares are whole numbers, at least one of them above 0")]
    NoShare,
}

impl Pool {
    /// Makes a generation that has answered the one that serves its name. Nothing before this is seen by a caller.
    pub(crate) fn go_live(
        self: &Arc<Self>,
        green: &Arc<Generation>,
        wanted: &Wanted,
        course: &mut Course,
    ) -> Result<Loaded, LoadError> {
        let id = green.installed.package.id.clone();
        let mount = Arc::new(Mount {
            id: id.clone(),
            generation: Arc::clone(green),
            order: wanted.order,
            source: wanted.source.to_string(),
            origin: wanted.source.clone(),
            cause: wanted.cause,
            front: OnceLock::new(),
        });
        let start = green.totals.tally();
        let (former, beside, gone) = {
            let mut book = self.book.lock();
            let began = Instant::now();
            if self.stopping.is_cancelled() {
                return Err(LoadError::Stopping);
            }
            let active = book.active(&id.name).map(Arc::clone);
            if active.is_none() && book.count() >= self.settings.max_packages {
                let limit = self.settings.max_packages;
                return Err(LoadError::Full { package: id.to_string(), limit });
            }
            let pin = book.state.pins.get(&id.name).map(|pin| pin.from.clone());
            let beside = active.as_ref().is_some_and(|active| stays_beside(active, &mount, pin.as_ref()));
            let former = if beside {
                book.beside(Arc::clone(&mount));
                None
            } else {
                let keep = active
                    .as_ref()
                    .is_some_and(|active| active.cause == Cause::Start && wanted.cause == Cause::Start);
                book.switch(Arc::clone(&mount), keep)
            };
            remember(&mut book, &mount, wanted);
            let gone = book.prune(self.settings.rollout.rollback_ttl, self.settings.rollout.parked);
            book.failures.retain(|_, failure| failure.name.as_deref() != Some(id.name.as_str()));
            let exchange = self.show(&mut book);
            course.step("table", began.elapsed().saturating_sub(exchange));
            course.step("switch", exchange);
            self.save(&book);
            (former.filter(|former| !Arc::ptr_eq(&former.generation, green)), beside, gone)
        };
        self.announce_live(&mount, former.as_ref(), course.begin.elapsed());
        self.drain_all(gone);
        if let Some(mut receipt) = course.receipt.take() {
            receipt.generations(green, former.as_ref().map(|former| &*former.generation));
            receipt.end(RolloutOutcome::Live);
            self.count(&receipt);
            self.receipts.keep(&receipt);
            self.fleet.background.spawn(Arc::clone(self).bake(
                Arc::clone(&mount),
                former.clone(),
                start,
                receipt,
            ));
        }
        let former = former.map(|former| former.id.clone());
        Ok(Loaded {
            package_id: id,
            agents: mount.agents(),
            created: true,
            former: former.filter(|_| !beside),
        })
    }

    fn announce_live(&self, mount: &Arc<Mount>, former: Option<&Arc<Mount>>, took: Duration) {
        let installed = &mount.generation.installed;
        tracing::info!(
            event = "package_live",
            package = %mount.id,
            generation = mount.generation.number,
            former = former.map(|former| former.id.to_string()),
            agents = installed.package.exports.len(),
            fork = mount.generation.fork.method,
            seconds = took.as_secs_f64(),
            "package is live"
        );
        for warning in &installed.warnings {
            tracing::info!(event = "package_warning", package = %mount.id, "{warning}");
        }
        let live = live(mount);
        let kind = match former {
            Some(former) => EventKind::Updated { live, former: former.id.clone() },
            None => EventKind::Mounted { live },
        };
        self.settings.events.tell(mount.id.name.as_str(), kind);
    }

    /// Brings back the generation that was replaced last. It serves until a source names a version newer than the
    /// one that it replaces now, or somebody asks with force.
    ///
    /// # Errors
    /// [`SwitchError`]; nothing has changed then.
    pub async fn rollback(self: &Arc<Self>, name: &PackageName) -> Result<RolledBack, SwitchError> {
        self.take_back(name, None, Cause::Rollback, "asked for".to_owned()).await
    }

    /// The same for `only` as the active generation: somebody else's rollout is not undone.
    pub(crate) async fn take_back(
        self: &Arc<Self>,
        name: &PackageName,
        only: Option<&Arc<Mount>>,
        cause: Cause,
        reason: String,
    ) -> Result<RolledBack, SwitchError> {
        let begin = Instant::now();
        let (blue, green, exchange) = {
            let mut book = self.book.lock();
            let green = book.active(name).map(Arc::clone);
            if let Some(only) = only
                && !green.as_ref().is_some_and(|green| Arc::ptr_eq(green, only))
            {
                return Err(SwitchError::NothingParked(name.clone()));
            }
            if green.is_none() && book.of_name(name).next().is_none() {
                return Err(SwitchError::Unknown(name.clone()));
            }
            let blue =
                book.parked(name).map(Arc::clone).ok_or_else(|| SwitchError::NothingParked(name.clone()))?;
            let exchange = self.bring_back(&mut book, &blue, green.as_ref());
            (blue, green, exchange)
        };
        let times = (begin, exchange);
        Ok(self.tell_back(blue, green, cause, reason, times).await)
    }

    /// Tells how long the exchange of the table took.
    fn bring_back(&self, book: &mut Book, blue: &Arc<Mount>, green: Option<&Arc<Mount>>) -> Duration {
        book.switch(Arc::clone(blue), false);
        if let Some(green) = green {
            let bytes = bytes(blue);
            let pin = Pin { version: blue.id.version.clone(), bytes, from: green.id.version.clone() };
            book.state.pins.insert(blue.id.name.clone(), pin);
        }
        book.state.traffic.remove(&blue.id.name);
        let exchange = self.show(book);
        self.save(book);
        exchange
    }

    async fn tell_back(
        self: &Arc<Self>,
        blue: Arc<Mount>,
        green: Option<Arc<Mount>>,
        cause: Cause,
        reason: String,
        (begin, exchange): (Instant, Duration),
    ) -> RolledBack {
        let former = green.as_ref().map(|green| green.id.clone());
        tracing::warn!(
            event = "rolled_back",
            package = %blue.id,
            generation = blue.generation.number,
            former = former.as_ref().map(ToString::to_string),
            reason,
            "a former generation serves again"
        );
        let mut receipt = Receipt::begin(cause, side(&blue.generation), begin);
        receipt.generations(&blue.generation, green.as_ref().map(|green| &*green.generation));
        receipt.step("switch", exchange);
        receipt.reason = Some(reason.clone());
        let name = blue.id.name.to_string();
        if let Some(former) = former.clone() {
            self.settings.events.tell(&name, EventKind::RolledBack { live: live(&blue), former, reason });
        } else {
            self.settings.events.tell(&name, EventKind::Mounted { live: live(&blue) });
        }
        self.close(receipt, RolloutOutcome::Live).await;
        RolledBack { active: blue.id.clone(), generation: blue.generation.number, former }
    }

    /// Shares the calls of a package's short ids between mounted versions. One version alone becomes the one that
    /// serves. Returns the shares as they are now.
    ///
    /// # Errors
    /// [`SwitchError`]; nothing has changed then.
    pub async fn set_traffic(
        self: &Arc<Self>,
        name: &PackageName,
        shares: BTreeMap<Version, u32>,
    ) -> Result<BTreeMap<Version, u32>, SwitchError> {
        let begin = Instant::now();
        let shares: BTreeMap<Version, u32> = shares.into_iter().filter(|(_, share)| *share > 0).collect();
        let alone = {
            let mut book = self.book.lock();
            if book.of_name(name).next().is_none() {
                return Err(SwitchError::Unknown(name.clone()));
            }
            if shares.is_empty() {
                return Err(SwitchError::NoShare);
            }
            for version in shares.keys() {
                if !book.of_name(name).any(|standing| standing.mount.id.version == *version) {
                    let id = PackageId { name: name.clone(), version: version.clone() };
                    return Err(SwitchError::NotMounted(id));
                }
            }
            let active = book.active(name).map(Arc::clone);
            let only = shares.keys().next().filter(|_| shares.len() == 1);
            if let Some(version) = only {
                book.state.traffic.remove(name);
                let other = active.as_ref().is_none_or(|active| active.id.version != *version);
                let target = book
                    .of_name(name)
                    .filter(|standing| other && standing.mount.id.version == *version)
                    .max_by_key(|standing| standing.mount.generation.number)
                    .map(|standing| Arc::clone(&standing.mount));
                if let Some(target) = target {
                    let exchange = self.bring_back(&mut book, &target, active.as_ref());
                    Some((target, active, exchange))
                } else {
                    self.publish(&mut book);
                    None
                }
            } else {
                book.state.traffic.insert(name.clone(), shares.clone());
                self.publish(&mut book);
                None
            }
        };
        tracing::info!(event = "traffic", package = %name, shares = ?shares, "calls are shared by version");
        if let Some((target, active, exchange)) = alone {
            let reason = "it gets all of the traffic".to_owned();
            self.tell_back(target, active, Cause::Rollback, reason, (begin, exchange)).await;
        }
        Ok(shares)
    }

    /// Takes a package out of the table and drains it in the background. `None`: not mounted.
    pub fn unload(self: &Arc<Self>, id: &PackageId) -> Option<Unloaded> {
        self.unmount(id, "asked for")
    }

    pub(crate) fn unmount(self: &Arc<Self>, id: &PackageId, reason: &str) -> Option<Unloaded> {
        let (gone, indexed) = {
            let mut book = self.book.lock();
            let gone = book.remove(id);
            if gone.is_empty() {
                return None;
            }
            // The next look at the index finds it missing and brings it back.
            let indexed =
                book.state.indexed.get(&id.name).is_some_and(|indexed| indexed.version == id.version);
            if indexed {
                book.state.indexed.remove(&id.name);
            }
            self.publish(&mut book);
            (gone, indexed)
        };
        let draining = gone.iter().map(|mount| mount.generation.in_flight()).sum();
        self.drain_all(gone);
        tracing::info!(event = "unmounted", package = %id, draining, reason);
        let kind = EventKind::Unmounted { former: id.clone(), reason: reason.to_owned() };
        self.settings.events.tell(id.name.as_str(), kind);
        Some(Unloaded { package_id: id.clone(), draining, indexed: indexed && self.follower.get().is_some() })
    }
}

/// Sources of the start may name several versions of a package: the highest serves, the others stay beside it. What was
/// rolled back from stays there too.
fn stays_beside(active: &Mount, green: &Mount, pinned_from: Option<&Version>) -> bool {
    green.cause == Cause::Start
        && active.id != green.id
        && (compare(&green.id.version, &active.id.version).is_lt()
            || pinned_from.is_some_and(|from| !compare(&green.id.version, from).is_gt()))
}

/// Keeps what must come back after a restart.
fn remember(book: &mut Book, mount: &Arc<Mount>, wanted: &Wanted) {
    let name = &mount.id.name;
    if wanted.cause != Cause::Start {
        book.state.loaded.retain(|id, _| id.0.name != *name);
    }
    let holds = |from: &Version| wanted.cause == Cause::Start && !compare(&mount.id.version, from).is_gt();
    if book.state.pins.get(name).is_some_and(|pin| !holds(&pin.from)) {
        book.state.pins.remove(name);
    }
    if wanted.remember {
        book.state.loaded.insert(PackageIdKey(mount.id.clone()), bytes(mount));
    }
    match wanted.cause {
        Cause::Index | Cause::FirstCall if wanted.named.is_some() => {
            let version = mount.id.version.clone();
            book.state.indexed.insert(name.clone(), Indexed { version, bytes: bytes(mount) });
        }
        Cause::Index
        | Cause::FirstCall
        | Cause::Start
        | Cause::Load
        | Cause::Upload
        | Cause::Reload
        | Cause::Directory
        | Cause::Rollback
        | Cause::Bake => {}
    }
}

fn bytes(mount: &Mount) -> Remembered {
    Remembered { source: mount.origin.given.clone(), sha256: Some(mount.generation.installed.digest) }
}

fn live(mount: &Mount) -> Live {
    Live {
        id: mount.id.clone(),
        digest: mount.generation.installed.digest,
        generation: mount.generation.number,
        agents: mount.agents(),
    }
}

impl Place {
    /// As `GET /runtime/packages` tells it.
    pub(crate) const fn is_active(self) -> bool {
        matches!(self, Self::Active)
    }
}
