//! Following a registry index: polled with conditional requests, compared with what is mounted, brought about.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, stream};
use par_proto::ids::{Digest, PackageId, PackageName};

use super::{
    book::Book,
    load::{AT_ONCE, INDEX_ORDER},
    order::compare,
    pool::Pool,
    receipt::Cause,
    reload::{Reload, ReloadRequest, Reloaded},
    rollout::Wanted,
    status::Failure,
};
use crate::{
    package::{
        Location, PullError, Step,
        fetch::{Document, Validator},
    },
    registry::{Choice, Entry, EntryFault, Index, Known, choose, index::LARGEST, next_poll, plan},
};

/// Where the index is, and how often it is asked.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// `s3://`, `https://` or a file.
    pub location: Location,
    /// Time between two polls; a tenth of it is left to chance.
    pub poll_interval: Duration,
}

/// What is known of the index.
#[derive(Debug)]
pub(crate) struct Follower {
    settings: RegistrySettings,
    last: tokio::sync::Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    validator: Option<Validator>,
    index: Option<Index>,
    /// What the index named before; none before the first look.
    known: Option<BTreeMap<PackageName, Known>>,
    failures: u32,
}

/// What is to be done about one entry.
enum Decision {
    Done(Reload, Option<String>),
    /// It failed before and is not tried again.
    Refused(PullError),
    Bring,
    List,
}

/// Says that an entry is being brought in, so that no poll begins the same again.
struct Bringing<'a> {
    pool: &'a Pool,
    name: PackageName,
    digest: Digest,
}

impl<'a> Bringing<'a> {
    /// `None` for a poll that finds it under way.
    fn begin(owner: &'a Pool, name: &PackageName, digest: Digest, poll: bool) -> Option<Self> {
        let mut book = owner.book.lock();
        if poll && book.bringing.contains(&(name.clone(), digest)) {
            return None;
        }
        book.bringing.push((name.clone(), digest));
        Some(Self { pool: owner, name: name.clone(), digest })
    }
}

impl Drop for Bringing<'_> {
    fn drop(&mut self) {
        let mut book = self.pool.book.lock();
        let ours = |other: &(PackageName, Digest)| other.0 == self.name && other.1 == self.digest;
        if let Some(at) = book.bringing.iter().position(ours) {
            book.bringing.swap_remove(at);
        }
    }
}

impl Follower {
    pub(crate) fn new(settings: RegistrySettings) -> Self {
        Self { settings, last: tokio::sync::Mutex::default() }
    }
}

impl Pool {
    /// The first look at the index. If it cannot be read, what it named before is served from the store.
    pub(crate) async fn first_index(self: &Arc<Self>) {
        let Some(follower) = self.follower.get() else { return };
        self.poll_index(&ReloadRequest::default()).await;
        if follower.last.lock().await.failures == 0 {
            return;
        }
        let served = self.serve_from_store().await;
        tracing::warn!(
            event = "registry_down",
            registry = %follower.settings.location,
            served,
            "the index cannot be read; what it named before is served from the store"
        );
    }

    /// Polls until the runtime stops.
    pub(crate) async fn follow(self: Arc<Self>) {
        let Some(follower) = self.follower.get() else { return };
        while !self.stopping.is_cancelled() {
            let failures = follower.last.lock().await.failures;
            let mut random = [0_u8];
            // Without randomness hosts that were started together ask together.
            getrandom::fill(&mut random).ok();
            let wait = next_poll(follower.settings.poll_interval, failures, f64::from(random[0]) / 256.0);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stopping.cancelled() => return,
            }
            // What takes long to bring in does not hold up what changes meanwhile.
            let request = ReloadRequest { poll: true, ..ReloadRequest::default() };
            let (_, entries) = self.read_index(&request).await;
            if !entries.is_empty() {
                let pool = Arc::clone(&self);
                tokio::spawn(async move {
                    let work = entries.into_iter().map(|entry| pool.follow_entry(entry, &request));
                    stream::iter(work).buffer_unordered(AT_ONCE).for_each(|_| std::future::ready(())).await;
                });
            }
        }
    }

    /// Reads the index if it has changed and brings about what it says. Nothing without a registry.
    pub(crate) async fn poll_index(self: &Arc<Self>, request: &ReloadRequest) -> Vec<Reloaded> {
        let (mut told, entries) = self.read_index(request).await;
        let outcomes: Vec<Reloaded> = stream::iter(entries)
            .map(|entry| self.follow_entry(entry, request))
            .buffered(AT_ONCE)
            .collect()
            .await;
        told.extend(outcomes);
        told
    }

    /// Reads the index if it has changed and takes away what is gone. Returns what came of that, and the entries that
    /// are to be looked at.
    async fn read_index(self: &Arc<Self>, request: &ReloadRequest) -> (Vec<Reloaded>, Vec<Entry>) {
        let Some(follower) = self.follower.get() else { return (Vec::new(), Vec::new()) };
        let mut last = follower.last.lock().await;
        let place = follower.settings.location.to_string();
        let read =
            self.street.document(&follower.settings.location, last.validator.as_ref(), LARGEST as u64).await;
        let read = read.and_then(|document| match document {
            Document::Unchanged => Ok(None),
            Document::Changed { bytes, validator } => {
                let index = Index::parse(&bytes, &follower.settings.location)
                    .map_err(|error| PullError::refused(Step::Fetch, error.to_string()))?;
                Ok(Some((index, validator)))
            }
        });
        match read {
            Ok(changed) => {
                if last.failures > 0 {
                    tracing::info!(event = "registry_up", registry = place);
                }
                last.failures = 0;
                self.book.lock().failures.remove(&place);
                if let Some((index, validator)) = changed {
                    last.index = Some(index);
                    last.validator = validator;
                }
            }
            Err(error) => {
                last.failures = last.failures.saturating_add(1);
                if last.failures == 1 {
                    self.fail(place.clone(), None, &error.clone().into());
                }
                tracing::debug!(event = "registry_unread", registry = place, failures = last.failures, %error);
                let failed = Reloaded::failed(place, None, error.step, "package_invalid", error.detail);
                return (vec![failed], Vec::new());
            }
        }
        let Some(index) = last.index.clone() else { return (Vec::new(), Vec::new()) };
        let before = last.known.take().unwrap_or_else(|| known(&self.book.lock()));
        let Choice { wanted, faults } = choose(&index.entries);
        let mut plan = plan(&before, &wanted, &index.faults, request.force);
        let mut told = self.note_faults(&place, index.faults.iter().chain(&faults));
        if let Some(held) = plan.held.take() {
            tracing::warn!(event = "index_held", registry = place, "{held}");
            told.push(Reloaded {
                outcome: Reload::Held,
                ..Reloaded::failed(place.clone(), None, Step::Fetch, "conflict", held)
            });
        }
        for name in &plan.leave {
            told.extend(self.leave(name));
        }
        // What a slip in the index hides is left as it is.
        let meant = wanted
            .into_values()
            .filter(|entry| plan.known.get(&entry.name).is_some_and(|known| known.sha256 == entry.sha256))
            .filter(|entry| request.package.as_ref().is_none_or(|name| *name == entry.name));
        let entries = meant.collect();
        last.known = Some(plan.known);
        (told, entries)
    }

    async fn follow_entry(self: &Arc<Self>, entry: Entry, request: &ReloadRequest) -> Reloaded {
        let force = request.force;
        let id = PackageId { name: entry.name.clone(), version: entry.version.clone() };
        let wanted = Wanted {
            source: entry.source.clone(),
            cause: Cause::Index,
            order: INDEX_ORDER + entry.position as u64,
            force,
            remember: false,
            recall: false,
            named: Some(id.clone()),
            ticket: self.ticket(),
        };
        match self.decide(&entry, &id, force) {
            Decision::Refused(error) => {
                let version = Some(id.version.to_string());
                Reloaded::failed(id.name.to_string(), version, error.step, "package_invalid", error.detail)
            }
            Decision::Done(outcome, detail) => Reloaded::of(&id, outcome, detail),
            Decision::List => {
                self.list_lazy(id.clone(), wanted);
                Reloaded::of(&id, Reload::Lazy, None)
            }
            Decision::Bring => {
                let Some(_bringing) = Bringing::begin(self, &id.name, entry.sha256, request.poll) else {
                    let why = "it is being brought in".to_owned();
                    return Reloaded::of(&id, Reload::Held, Some(why));
                };
                if let Some(former) = self.former(&id.name, &wanted).await {
                    // If it fails as well that is on record, and what is wanted is tried all the same.
                    drop(self.roll_out(&former).await);
                }
                let loaded = self.roll_out(&wanted).await;
                Reloaded::rolled(&wanted.source, Some(&id), loaded)
            }
        }
    }

    /// What an entry asks for, given what is there.
    fn decide(&self, entry: &Entry, id: &PackageId, force: bool) -> Decision {
        let mut book = self.book.lock();
        let active = book.active(&id.name).map(Arc::clone);
        let brought = book.state.indexed.get(&id.name).and_then(|indexed| indexed.bytes.sha256);
        if let Some(active) = &active {
            if active.cause == Cause::Start && brought.is_none() {
                let why = "a source of the start names this package; the index does not replace it";
                return Decision::Done(Reload::Held, Some(why.to_owned()));
            }
            let same = active.id == *id && active.generation.installed.digest == entry.sha256;
            if same {
                if brought != Some(entry.sha256) {
                    let indexed = super::state::Indexed {
                        version: id.version.clone(),
                        bytes: super::state::Remembered {
                            source: entry.source.given.clone(),
                            sha256: Some(entry.sha256),
                        },
                    };
                    book.state.indexed.insert(id.name.clone(), indexed);
                    book.state.pins.remove(&id.name);
                    self.save(&book);
                }
                return Decision::Done(Reload::Unchanged, None);
            }
        }
        let pin = book.state.pins.get(&id.name).filter(|_| !force && active.is_some());
        if let Some(pin) = pin.filter(|pin| !compare(&id.version, &pin.from).is_gt()) {
            let why = format!("rolled back from {}; waits for a newer version or force", pin.from);
            return Decision::Done(Reload::Pinned, Some(why));
        }
        if active.is_some() && brought == Some(entry.sha256) && !force {
            let why = "somebody has loaded another version by hand".to_owned();
            return Decision::Done(Reload::Unchanged, Some(why));
        }
        if let Some(error) = book.refused.get(&entry.sha256).filter(|_| !force) {
            return Decision::Refused(error.clone());
        }
        if entry.lazy && active.is_none() {
            let listed = book.lazy.get(&id.name);
            let known = listed.is_some_and(|lazy| lazy.wanted.source.sha256 == Some(entry.sha256));
            return if known { Decision::Done(Reload::Lazy, None) } else { Decision::List };
        }
        Decision::Bring
    }

    /// A name that is gone from the index; parked generations stay for their time.
    fn leave(self: &Arc<Self>, name: &PackageName) -> Option<Reloaded> {
        let id = {
            let mut book = self.book.lock();
            book.lazy.remove(name);
            let named = book.state.indexed.remove(name);
            let active = book.active(name).filter(|active| active.cause != Cause::Start || named.is_some());
            match active.map(|active| active.id.clone()) {
                Some(id) => id,
                None => {
                    self.save(&book);
                    return None;
                }
            }
        };
        self.unmount(&id, "gone from the index")?;
        Some(Reloaded::of(&id, Reload::Unmounted, None))
    }

    /// Lists bad entries among the failures, in place of those of the index before.
    fn note_faults<'a>(&self, place: &str, faults: impl Iterator<Item = &'a EntryFault>) -> Vec<Reloaded> {
        let mut book = self.book.lock();
        let all = std::mem::take(&mut book.failures);
        let (former, others): (BTreeMap<String, Failure>, _) =
            all.into_iter().partition(|(source, _)| source.starts_with(&entry_of(place, "")));
        book.failures = others;
        let mut told = Vec::new();
        for fault in faults {
            let source = entry_of(place, &fault.position.to_string());
            let same = former.get(&source).filter(|former| former.detail == fault.detail);
            if same.is_none() {
                tracing::warn!(event = "index_entry", source, "{}", fault.detail);
            }
            let failure = Failure {
                source: source.clone(),
                name: fault.name.clone(),
                version: fault.version.clone(),
                step: Step::Fetch,
                code: "package_invalid",
                detail: fault.detail.clone(),
                since: same.map_or_else(SystemTime::now, |former| former.since),
            };
            book.failures.insert(source.clone(), failure);
            let package = fault.name.clone().unwrap_or(source);
            let detail = fault.detail.clone();
            told.push(Reloaded::failed(
                package,
                fault.version.clone(),
                Step::Fetch,
                "package_invalid",
                detail,
            ));
        }
        told
    }
}

fn entry_of(place: &str, position: &str) -> String {
    format!("{place} entry {position}")
}

fn known(book: &Book) -> BTreeMap<PackageName, Known> {
    let named = book.state.indexed.iter().filter_map(|(name, indexed)| {
        let sha256 = indexed.bytes.sha256?;
        Some((name.clone(), Known { version: indexed.version.clone(), sha256, lazy: false }))
    });
    named.collect()
}
