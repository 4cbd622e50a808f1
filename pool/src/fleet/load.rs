//! How a package comes in: pulled, installed, started, probed, mounted. Blue serves until green has answered.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use par_proto::{
    frames::FLAG_OCTETS,
    ids::{AgentId, PackageId},
};

use super::{
    directory::Mount,
    generation::{Call, Generation, Outcome},
    installers::Installing,
    pool::{LoadError, LoadOptions, Loaded, Pool},
    state::{PackageIdKey, Remembered},
};
use crate::package::{Installed, Location, PullError, Source, Step, Unpacked};

/// Sources of the start that are looked at side by side; downloads wait for the network, installs have their own
/// bound.
const AT_ONCE: usize = 4;

/// How long a replaced generation may finish its calls.
const DRAIN: Duration = Duration::from_secs(600);

/// Time between two tries of sources that failed for a reason that may go away.
const RETRY: Duration = Duration::from_secs(30);

impl Pool {
    /// Pulls, installs, starts, probes and mounts one package. Blue serves until green has answered.
    ///
    /// # Errors
    /// [`LoadError`]; what was mounted before still is.
    pub async fn load(self: &Arc<Self>, source: &Source, options: LoadOptions) -> Result<Loaded, LoadError> {
        let order = {
            let mut book = self.book.lock();
            book.next_order += 1;
            book.next_order
        };
        self.load_at(source, &options, order).await
    }

    /// The same from a file that was received; the file is consumed.
    ///
    /// # Errors
    /// [`LoadError`]; what was mounted before still is.
    pub async fn upload(self: &Arc<Self>, file: PathBuf, options: LoadOptions) -> Result<Loaded, LoadError> {
        let refused = |error: std::io::Error| {
            LoadError::Refused(
                PullError::refused(Step::Fetch, "the upload could not be stored").with_log(error.to_string()),
            )
        };
        let uploads = self.settings.data_dir.join("uploads");
        std::fs::create_dir_all(&uploads).map_err(refused)?;
        let mut random = [0u8; 16];
        getrandom::fill(&mut random).map_err(|error| refused(std::io::Error::other(error)))?;
        // Kept under a name of its own: it is the source that a restart comes back to.
        let kept = uploads.join(format!("{}.apkg", hex::encode(random)));
        std::fs::rename(&file, &kept).map_err(refused)?;
        let loaded = self.load(&Source::path(&kept), options).await;
        if !matches!(&loaded, Ok(Loaded { created: true, .. })) {
            // Refused, or mounted already from elsewhere.
            drop(std::fs::remove_file(&kept));
        }
        loaded
    }

    /// Loads what was remembered and the sources of the start, in source order, and says when all were looked at.
    pub async fn boot(self: &Arc<Self>, sources: Vec<Source>) {
        let remembered: Vec<(Source, LoadOptions)> = {
            let book = self.book.lock();
            let state = &book.state;
            state
                .loaded
                .values()
                .filter_map(|kept| {
                    let source = Source::parse(&kept.source).ok()?;
                    Some((
                        source,
                        LoadOptions { sha256: kept.sha256, force: false, remember: true, recall: true },
                    ))
                })
                .collect()
        };
        let plain = sources.into_iter().map(|source| (source, LoadOptions::default()));
        let all: Vec<_> = plain.chain(remembered).enumerate().collect();
        self.book.lock().next_order = all.len() as u64;
        let limit = self.settings.max_packages;
        let failed: Vec<_> = stream::iter(all)
            .map(|(order, (source, options))| async move {
                if order >= limit {
                    let error = LoadError::Full { package: source.to_string(), limit };
                    self.fail(source.to_string(), None, &error);
                    return None;
                }
                let loaded = self.load_at(&source, &options, order as u64).await;
                let again = matches!(&loaded, Err(LoadError::Refused(error)) if error.transient);
                again.then_some((source, options, order as u64))
            })
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        {
            let mut book = self.book.lock();
            book.settled = true;
            self.publish(&mut book);
        }
        if !failed.is_empty() {
            tokio::spawn(Arc::clone(self).retry(failed));
        }
    }

    /// Whether every source of the start is mounted or has failed.
    pub fn is_settled(&self) -> bool {
        self.book.lock().settled
    }

    async fn retry(self: Arc<Self>, mut failed: Vec<(Source, LoadOptions, u64)>) {
        while !failed.is_empty() && !self.stopping.load(Ordering::Relaxed) {
            tokio::time::sleep(RETRY).await;
            let mut left = Vec::new();
            for (source, options, order) in failed {
                let loaded = self.load_at(&source, &options, order).await;
                if matches!(&loaded, Err(LoadError::Refused(error)) if error.transient) {
                    left.push((source, options, order));
                }
            }
            failed = left;
        }
    }

    /// Loads a source in a place of the source order; a failure is kept for `GET /runtime/packages`.
    pub(crate) async fn load_at(
        self: &Arc<Self>,
        source: &Source,
        options: &LoadOptions,
        order: u64,
    ) -> Result<Loaded, LoadError> {
        let mut id = None;
        let loaded = self.try_load(source, options, order, &mut id).await;
        match &loaded {
            Ok(_) => self.fleet.metrics.pulls.with_label_values(&["ok"]).inc(),
            Err(error) => self.fail(source.to_string(), id.as_ref(), error),
        }
        loaded
    }

    async fn try_load(
        self: &Arc<Self>,
        source: &Source,
        options: &LoadOptions,
        order: u64,
        id: &mut Option<PackageId>,
    ) -> Result<Loaded, LoadError> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(LoadError::Stopping);
        }
        let mut wanted = source.clone();
        if options.sha256.is_some() {
            wanted.sha256 = options.sha256;
        }
        let kept = match wanted.sha256.filter(|_| options.recall) {
            Some(digest) => self.street.recall(digest).await,
            None => None,
        };
        let unpacked = match kept {
            Some(unpacked) => unpacked,
            None => self.street.fetch(&wanted).await?,
        };
        let package_id = unpacked.package.id.clone();
        *id = Some(package_id.clone());
        for (event, step) in [("download", Step::Fetch), ("verify", Step::Verify), ("extract", Step::Unpack)]
        {
            tell(event, &package_id, &unpacked.steps, step);
        }
        let lock = Arc::clone(self.loading.lock().entry(package_id.name.to_string()).or_default());
        let _one_at_a_time = lock.lock().await;
        if let Some(same) = self.check(&unpacked, options)? {
            return Ok(same);
        }
        let _installing: Installing = self
            .installers
            .get()
            .await
            .map_err(|error| PullError::transient(Step::Environment, error.to_string()))?;
        let installed = self.street.install(unpacked).await?;
        tell("install", &package_id, &installed.steps, Step::Environment);
        let number = self.next_number();
        let generation = Generation::start(number, installed, self.fleet.clone()).await?;
        let kill = EndUnlessMounted(Some(Arc::clone(&generation)));
        tell("load", &package_id, &generation.installed.steps, Step::Template);
        probe(&generation, self.settings.request_timeout).await?;
        let loaded = self.mount(&generation, source, options, order)?;
        kill.disarm();
        Ok(loaded)
    }

    /// What is mounted already, and whether there is room.
    fn check(&self, unpacked: &Unpacked, options: &LoadOptions) -> Result<Option<Loaded>, LoadError> {
        let package_id = &unpacked.package.id;
        let book = self.book.lock();
        let mounted = book.mounts.iter().find(|mount| mount.id == *package_id);
        match mounted {
            Some(mount) if mount.generation.installed.digest == unpacked.digest && !options.force => {
                Ok(Some(Loaded { package_id: package_id.clone(), agents: agents(mount), created: false }))
            }
            Some(_) if !options.force && !self.settings.dev => Err(LoadError::Conflict(package_id.clone())),
            None if book.mounts.len() >= self.settings.max_packages => {
                Err(LoadError::Full { package: package_id.to_string(), limit: self.settings.max_packages })
            }
            Some(_) | None => Ok(None),
        }
    }

    fn next_number(&self) -> u64 {
        let mut book = self.book.lock();
        book.state.generation += 1;
        book.state.generation
    }

    fn mount(
        self: &Arc<Self>,
        generation: &Arc<Generation>,
        source: &Source,
        options: &LoadOptions,
        order: u64,
    ) -> Result<Loaded, LoadError> {
        let package_id = generation.installed.package.id.clone();
        let mount = Arc::new(Mount {
            id: package_id.clone(),
            generation: Arc::clone(generation),
            order,
            source: source.to_string(),
        });
        let digest = generation.installed.digest;
        let mut retired = Vec::new();
        {
            let mut book = self.book.lock();
            if self.stopping.load(Ordering::Relaxed) {
                return Err(LoadError::Stopping);
            }
            let replaces = book.mounts.iter().any(|other| other.id == package_id);
            if !replaces && book.mounts.len() >= self.settings.max_packages {
                let limit = self.settings.max_packages;
                return Err(LoadError::Full { package: package_id.to_string(), limit });
            }
            retired.extend(book.mount(Arc::clone(&mount)));
            // A directory that says another version now is the same package in the making, not a second one.
            if matches!(source.location, Location::Directory(_)) {
                let former: Vec<PackageId> = book
                    .mounts
                    .iter()
                    .filter(|other| other.source == mount.source && other.id != package_id)
                    .map(|other| other.id.clone())
                    .collect();
                retired.extend(former.iter().filter_map(|id| book.remove(id)));
            }
            if options.remember {
                let kept = Remembered { source: source.given.clone(), sha256: Some(digest) };
                book.state.loaded.insert(PackageIdKey(package_id.clone()), kept);
            }
            self.publish(&mut book);
        }
        let installed = &generation.installed;
        tracing::info!(
            event = "serve",
            package = %package_id,
            generation = generation.number,
            agents = installed.package.exports.len(),
            fork = generation.fork.method,
            seconds = installed.steps.iter().map(|(_, time)| time.as_secs_f64()).sum::<f64>(),
            "package is live"
        );
        for warning in &installed.warnings {
            tracing::info!(event = "package_warning", package = %package_id, "{warning}");
        }
        for former in retired {
            self.drain(former);
        }
        Ok(Loaded { package_id, agents: agents(&mount), created: true })
    }

    pub(crate) fn drain(&self, mount: Arc<Mount>) {
        self.fleet.background.spawn(async move { mount.generation.end(DRAIN).await });
    }
}

/// One line per step of a package, also for steps that had nothing to do.
fn tell(event: &'static str, package: &PackageId, steps: &[(Step, Duration)], step: Step) {
    let seconds: f64 =
        steps.iter().filter(|(at, _)| *at == step).fold(0.0, |sum, (_, time)| sum + time.as_secs_f64());
    tracing::info!(event, package = %package, seconds);
}

/// Ends a generation that was started but not mounted.
struct EndUnlessMounted(Option<Arc<Generation>>);

impl EndUnlessMounted {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for EndUnlessMounted {
    fn drop(&mut self) {
        if let Some(generation) = self.0.take() {
            let background = generation.settings.background.clone();
            background.spawn(async move { generation.end(Duration::ZERO).await });
        }
    }
}

fn agents(mount: &Mount) -> Vec<AgentId> {
    let exports = &mount.package().exports;
    exports.iter().map(|export| AgentId { package: mount.id.clone(), export: export.id.clone() }).collect()
}

/// Asks the `healthcheck` of the manifest, if there is one.
async fn probe(generation: &Arc<Generation>, timeout: Duration) -> Result<(), PullError> {
    let installed: &Installed = &generation.installed;
    let Some(check) = &installed.package.healthcheck else { return Ok(()) };
    let refused = |detail: String| Err(PullError::refused(Step::Probe, detail));
    let Some(export) = installed.package.exports.iter().position(|export| export.id == check.export) else {
        return refused(format!("healthcheck names {}, which is no export", check.export));
    };
    let input = serde_json::to_vec(&check.input)
        .map_err(|error| PullError::refused(Step::Probe, format!("healthcheck.input: {error}")))?;
    let call = Call {
        export: u32::try_from(export).unwrap_or(u32::MAX),
        meta: Bytes::from_static(br#"{"request_id":"healthcheck"}"#),
        payload: input.into(),
        request_id: Arc::from("healthcheck"),
        deadline: Instant::now() + timeout,
    };
    match generation.call(call).await.outcome {
        Outcome::Done { flags, payload, .. } => {
            let Some(expected) = &check.expect else { return Ok(()) };
            let got = (flags & FLAG_OCTETS == 0).then(|| serde_json::from_slice(&payload).ok()).flatten();
            let got: Option<serde_json::Value> = got;
            if got.as_ref() == Some(expected) {
                return Ok(());
            }
            refused(format!("healthcheck of {} answered something else than expected", check.export))
        }
        Outcome::Failed(payload) => {
            let text: String = String::from_utf8_lossy(&payload).chars().take(500).collect();
            refused(format!("healthcheck of {} failed: {text}", check.export))
        }
        Outcome::Crashed(death) => refused(format!("healthcheck of {}: {death}", check.export)),
        Outcome::Deadline { .. } => refused(format!("healthcheck of {} took too long", check.export)),
        Outcome::QueueFull { .. } | Outcome::CrashLoop { .. } | Outcome::Stopping => {
            refused(format!("healthcheck of {} found no worker", check.export))
        }
    }
}
