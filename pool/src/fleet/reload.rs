//! A look at all sources: what came of each package.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use par_proto::ids::{PackageId, PackageName};
use serde::Serialize;

use super::{
    load::AT_ONCE,
    order::compare,
    pool::{LoadError, Loaded, Pool},
    receipt::Cause,
    rollout::Wanted,
};
use crate::package::{Source, Step};

/// What is to be looked at.
#[derive(Debug, Clone, Default)]
pub struct ReloadRequest {
    /// Only this package.
    pub package: Option<PackageName>,
    /// Try again what failed, undo rollbacks, unmount what is gone whatever the share.
    pub force: bool,
    /// Nobody waits for the outcome: what is under way already is left alone.
    pub poll: bool,
}

/// What came of a reload.
#[derive(Debug, Clone, Serialize)]
pub struct ReloadReport {
    /// `success`, or `partial` if something failed.
    pub status: &'static str,
    /// One by one.
    pub packages: Vec<Reloaded>,
}

/// What came of one package.
#[derive(Debug, Clone, Serialize)]
pub struct Reloaded {
    /// Its name, or its source if the name is not known.
    pub package: String,
    /// The version that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What came of it.
    pub outcome: Reload,
    /// The step at which it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<&'static str>,
    /// The code of the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// Why, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What can come of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reload {
    /// It serves already.
    Unchanged,
    /// It was not there before.
    Mounted,
    /// It serves instead of another.
    Updated,
    /// It is gone from the index and from here.
    Unmounted,
    /// It waits for its first call.
    Lazy,
    /// It could not be brought in; what was there serves on.
    Failed,
    /// It was left alone; the detail says why.
    Held,
    /// A rollback holds.
    Pinned,
}

impl Reloaded {
    /// An outcome without a failure.
    pub(crate) fn of(id: &PackageId, outcome: Reload, detail: Option<String>) -> Self {
        Self {
            package: id.name.to_string(),
            version: Some(id.version.to_string()),
            outcome,
            step: None,
            code: None,
            detail,
        }
    }

    /// A failure.
    pub(crate) fn failed(
        package: String,
        version: Option<String>,
        step: Step,
        code: &'static str,
        detail: String,
    ) -> Self {
        Self {
            package,
            version,
            outcome: Reload::Failed,
            step: Some(step.text()),
            code: Some(code),
            detail: Some(detail),
        }
    }

    /// The outcome of a rollout of `id`, or of `source` if no name is known.
    pub(crate) fn rolled(source: &Source, id: Option<&PackageId>, loaded: Result<Loaded, LoadError>) -> Self {
        match loaded {
            Ok(Loaded { package_id, created: false, .. }) => Self::of(&package_id, Reload::Unchanged, None),
            Ok(Loaded { package_id, former: Some(_), .. }) => Self::of(&package_id, Reload::Updated, None),
            Ok(Loaded { package_id, .. }) => Self::of(&package_id, Reload::Mounted, None),
            Err(error @ LoadError::Superseded(_)) => {
                let id = id.map_or_else(|| source.to_string(), |id| id.name.to_string());
                Self { detail: Some(error.to_string()), outcome: Reload::Held, ..Self::nameless(id) }
            }
            Err(error) => {
                let (step, detail) = error.step();
                let package = id.map_or_else(|| source.to_string(), |id| id.name.to_string());
                let version = id.map(|id| id.version.to_string());
                Self::failed(package, version, step, error.code(), detail)
            }
        }
    }

    fn nameless(package: String) -> Self {
        Self { package, version: None, outcome: Reload::Unchanged, step: None, code: None, detail: None }
    }
}

impl ReloadReport {
    fn of(packages: Vec<Reloaded>) -> Self {
        let failed = packages.iter().any(|package| package.outcome == Reload::Failed);
        Self { status: if failed { "partial" } else { "success" }, packages }
    }
}

impl Pool {
    /// Looks at every source now and brings in what has changed. Of a package that nobody knows nothing is said.
    pub async fn reload(self: &Arc<Self>, request: ReloadRequest) -> ReloadReport {
        let sources = self.sources.get().cloned().unwrap_or_default();
        let wanted: Vec<Wanted> = sources
            .into_iter()
            .enumerate()
            .filter(|(_, source)| self.concerns(source, &request))
            .map(|(order, source)| Wanted {
                source,
                cause: Cause::Reload,
                order: order as u64,
                force: false,
                remember: false,
                recall: false,
                named: None,
                ticket: self.ticket(),
            })
            .collect();
        let force = request.force;
        let mut packages: Vec<Reloaded> = stream::iter(wanted)
            .map(|wanted| async move {
                let id = self.mounted_from(&wanted.source);
                match self.look_again(wanted, force).await {
                    Ok(same) => Reloaded::of(&same, Reload::Unchanged, None),
                    Err((source, loaded)) => Reloaded::rolled(&source, id.as_ref(), loaded),
                }
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        packages.extend(self.poll_index(&request).await);
        if let Some(name) = request.package.as_ref().filter(|_| packages.is_empty())
            && let Some(active) = self.book.lock().active(name)
        {
            // Loaded by hand: no source says anything about it.
            packages.push(Reloaded::of(&active.id, Reload::Unchanged, None));
        }
        tracing::info!(event = "reloaded", packages = packages.len(), force = request.force);
        ReloadReport::of(packages)
    }

    /// Brings in a source of the start again, unless what it says is what it said before: then `Ok` with what it is.
    /// Somebody may have replaced it since, and that stays.
    async fn look_again(
        self: &Arc<Self>,
        mut wanted: Wanted,
        force: bool,
    ) -> Result<PackageId, (Source, Result<Loaded, LoadError>)> {
        let source = wanted.source.clone();
        let Ok(unpacked) = self.street.fetch(&wanted.source).await else {
            // The rollout fails the same way and writes it down.
            return Err((source, self.roll_out(&wanted).await));
        };
        let id = unpacked.package.id.clone();
        let text = wanted.source.to_string();
        {
            let book = self.book.lock();
            let same = book.of_name(&id.name).any(|standing| {
                let mount = &standing.mount;
                mount.source == text && mount.generation.installed.digest == unpacked.digest
            });
            let pinned = book
                .state
                .pins
                .get(&id.name)
                .is_some_and(|pin| !force && !compare(&id.version, &pin.from).is_gt());
            let active = book.active(&id.name).is_some_and(|active| active.id == id);
            if same && (!force || active) || pinned {
                return Ok(id);
            }
        }
        wanted.source.sha256 = Some(unpacked.digest);
        wanted.recall = true;
        wanted.force = force;
        Err((source, self.roll_out(&wanted).await))
    }

    fn mounted_from(&self, source: &Source) -> Option<PackageId> {
        let text = source.to_string();
        let book = self.book.lock();
        book.standing
            .iter()
            .find(|standing| standing.mount.source == text)
            .map(|standing| standing.mount.id.clone())
    }

    fn concerns(&self, source: &Source, request: &ReloadRequest) -> bool {
        let Some(name) = &request.package else { return true };
        self.mounted_from(source).is_none_or(|id| id.name == *name)
    }
}
