//! What is asked for: a load, an upload, the sources of the start, what was there before a restart.

use std::{collections::BTreeMap, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use par_proto::ids::PackageName;

use super::{
    pool::{LoadError, LoadOptions, Loaded, Pool},
    receipt::Cause,
    rollout::Wanted,
    state::{Remembered, State},
};
use crate::package::{PullError, Signature, Source, Step};

/// Sources that are looked at side by side; downloads wait for the network, installs have their own bound.
pub(crate) const AT_ONCE: usize = 4;

/// Time between two tries of sources that failed for a reason that may go away.
const RETRY: Duration = Duration::from_secs(30);

/// Places in source order: what the start names comes before what the index names, then what was loaded.
pub(crate) const INDEX_ORDER: u64 = 1 << 32;
const LOADED_ORDER: u64 = 1 << 40;

impl Pool {
    /// Pulls, installs, starts, probes and mounts one package. Blue serves until green has answered.
    ///
    /// # Errors
    /// [`LoadError`]; what was mounted before still is.
    pub async fn load(self: &Arc<Self>, source: &Source, options: LoadOptions) -> Result<Loaded, LoadError> {
        self.bring(source, options, Cause::Load).await
    }

    /// The same for a directory whose files have changed (`--dev`).
    ///
    /// # Errors
    /// [`LoadError`]; what was mounted before still is.
    pub async fn changed(self: &Arc<Self>, source: &Source) -> Result<Loaded, LoadError> {
        self.bring(source, LoadOptions::default(), Cause::Directory).await
    }

    /// No `async fn`: what is behind it is nested deeper than compilers look by default, and programs of others would
    /// have to raise that for themselves.
    fn bring<'a>(
        self: &'a Arc<Self>,
        source: &Source,
        options: LoadOptions,
        cause: Cause,
    ) -> Pin<Box<dyn Future<Output = Result<Loaded, LoadError>> + Send + 'a>> {
        let order = {
            let mut book = self.book.lock();
            book.next_order += 1;
            // A directory that changes keeps its place.
            let place = book.standing.iter().find(|standing| standing.mount.source == source.to_string());
            place.map_or(LOADED_ORDER + book.next_order, |standing| standing.mount.order)
        };
        let mut source = source.clone();
        source.sha256 = options.sha256.or(source.sha256);
        source.signature = options.signature.or(source.signature);
        let wanted = Wanted {
            source,
            cause,
            order,
            force: options.force,
            remember: options.remember,
            recall: false,
            named: None,
            ticket: self.ticket(),
        };
        Box::pin(async move { self.roll_out(&wanted).await })
    }

    /// Mounts a file that was received; the file is consumed.
    ///
    /// # Errors
    /// [`LoadError`]; what was mounted before still is.
    pub async fn upload(
        self: &Arc<Self>,
        file: PathBuf,
        mut options: LoadOptions,
    ) -> Result<Loaded, LoadError> {
        let refused = |error: std::io::Error| {
            LoadError::Refused(
                PullError::refused(Step::Fetch, "the upload could not be stored").with_log(error.to_string()),
            )
        };
        let uploads = self.settings.data_dir.join("uploads");
        std::fs::create_dir_all(&uploads).map_err(refused)?;
        let mut random = [0u8; 16];
        getrandom::fill(&mut random).map_err(|error| refused(std::io::Error::other(error)))?;
        // Kept under a name of its own: it is the source that a restart comes back to, its signature beside it.
        let kept = uploads.join(format!("{}.apkg", hex::encode(random)));
        std::fs::rename(&file, &kept).map_err(refused)?;
        let beside = kept.with_extension("apkg.sig");
        if let Some(Signature::Bytes(signature)) = options.signature.take() {
            std::fs::write(&beside, &signature).map_err(refused)?;
        }
        let loaded = self.bring(&Source::path(&kept), options, Cause::Upload).await;
        if !matches!(&loaded, Ok(Loaded { created: true, .. })) {
            // Refused, or mounted already from elsewhere.
            drop((std::fs::remove_file(&kept), std::fs::remove_file(&beside)));
        }
        self.sweep_uploads();
        loaded
    }

    /// Removes received files that nothing comes back to any more.
    fn sweep_uploads(&self) {
        let used: Vec<PathBuf> = {
            let book = self.book.lock();
            let State { loaded, pins, .. } = &book.state;
            let kept = loaded.values().chain(pins.values().map(|pin| &pin.bytes));
            let mounted = book.standing.iter().map(|standing| standing.mount.origin.given.clone());
            kept.map(|kept| kept.source.clone()).chain(mounted).map(PathBuf::from).collect()
        };
        let Ok(entries) = std::fs::read_dir(self.settings.data_dir.join("uploads")) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let archive = if path.extension().is_some_and(|extension| extension == "sig") {
                path.with_extension("")
            } else {
                path.clone()
            };
            let old = path
                .metadata()
                .and_then(|meta| meta.modified())
                .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > UPLOAD_AGE));
            if old && !used.contains(&archive) {
                drop(std::fs::remove_file(&path));
            }
        }
    }

    /// Loads the sources of the start, what the index names and what was remembered, in source order, and says when
    /// all were looked at. What failed of the sources and of what was remembered is given back.
    pub async fn boot(self: &Arc<Self>, sources: Vec<Source>, lazy: Vec<Source>) -> Vec<LoadError> {
        let (pinned, loaded) = {
            let book = self.book.lock();
            (pinned(&book.state), loaded(&book.state))
        };
        // A rollback that holds comes first: what it was rolled back from must not serve in between.
        let order = |at: usize| at as u64;
        let limit = self.settings.max_packages;
        let mut all: Vec<Wanted> = Vec::new();
        for (at, source) in sources.iter().enumerate() {
            if at >= limit {
                let error = LoadError::Full { package: source.to_string(), limit };
                self.fail(source.to_string(), None, &error);
                continue;
            }
            all.push(self.at_start(source.clone(), order(at)));
        }
        drop(self.sources.set(sources));
        for (at, kept) in pinned.values().enumerate() {
            let Some(wanted) = self.remembered(kept, LOADED_ORDER + order(at), false) else { continue };
            drop(self.roll_out(&wanted).await);
        }
        for (at, (name, kept)) in loaded.into_iter().enumerate() {
            if pinned.contains_key(&name) {
                continue;
            }
            all.extend(self.remembered(&kept, LOADED_ORDER + order(at), true));
        }
        let failed: Vec<(Wanted, LoadError)> = stream::iter(all)
            .map(|wanted| async move { self.roll_out(&wanted).await.err().map(|error| (wanted, error)) })
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        for (at, source) in lazy.into_iter().enumerate() {
            self.look_at_lazy(self.at_start(source, INDEX_ORDER - 1 - order(at))).await;
        }
        self.first_index().await;
        self.street.settle().await;
        {
            let mut book = self.book.lock();
            book.settled = true;
            self.publish(&mut book);
        }
        let transient = |error: &LoadError| matches!(error, LoadError::Refused(error) if error.transient);
        let again: Vec<Wanted> =
            failed.iter().filter(|(_, error)| transient(error)).map(|(wanted, _)| wanted.clone()).collect();
        if !again.is_empty() {
            tokio::spawn(Arc::clone(self).retry(again));
        }
        tokio::spawn(Arc::clone(self).tend());
        tokio::spawn(Arc::clone(self).tend_sessions());
        tokio::spawn(Arc::clone(self).follow());
        failed.into_iter().map(|(_, error)| error).collect()
    }

    fn at_start(&self, source: Source, order: u64) -> Wanted {
        Wanted {
            source,
            cause: Cause::Start,
            order,
            force: false,
            remember: false,
            recall: false,
            named: None,
            ticket: self.ticket(),
        }
    }

    fn remembered(&self, kept: &Remembered, order: u64, remember: bool) -> Option<Wanted> {
        let mut source = Source::parse(&kept.source).ok()?;
        source.sha256 = kept.sha256.or(source.sha256);
        Some(Wanted { remember, recall: true, ..self.at_start(source, order) })
    }

    /// Fetches a lazy source to know its name, and lists it.
    async fn look_at_lazy(self: &Arc<Self>, wanted: Wanted) {
        match self.street.fetch(&wanted.source).await {
            Ok(unpacked) => {
                let mut wanted = wanted;
                wanted.source.sha256 = Some(unpacked.digest);
                wanted.recall = true;
                self.list_lazy(unpacked.package.id.clone(), wanted);
            }
            Err(error) => self.fail(wanted.source.to_string(), None, &error.into()),
        }
    }

    /// Brings back from the store what the index named before; for a start while the index cannot be read.
    pub(crate) async fn serve_from_store(self: &Arc<Self>) -> usize {
        let kept: Vec<Remembered> = {
            let book = self.book.lock();
            let known = book.state.indexed.iter();
            known
                .filter(|(name, _)| book.active(name).is_none())
                .map(|(_, kept)| kept.bytes.clone())
                .collect()
        };
        let mut served = 0;
        for (at, kept) in kept.iter().enumerate() {
            let Some(wanted) = self.remembered(kept, INDEX_ORDER + at as u64, false) else { continue };
            served += usize::from(self.roll_out(&wanted).await.is_ok());
        }
        served
    }

    /// At a start: what the index had named before, if it names something else by now and the store still has it. It
    /// serves first, as it would have gone on serving without a restart: what is new may fail, or take its time.
    pub(crate) async fn former(&self, name: &PackageName, wanted: &Wanted) -> Option<Wanted> {
        let kept = {
            let book = self.book.lock();
            let kept =
                book.state.indexed.get(name).filter(|_| !book.settled && book.active(name).is_none())?;
            kept.bytes.clone()
        };
        let digest = kept.sha256.filter(|digest| Some(*digest) != wanted.source.sha256)?;
        self.street.recall(digest).await?;
        // Of one age: what is wanted is no older request than this one.
        Some(Wanted { ticket: wanted.ticket, ..self.remembered(&kept, wanted.order, false)? })
    }

    /// Whether every source of the start is mounted or has failed.
    pub fn is_settled(&self) -> bool {
        self.book.lock().settled
    }

    async fn retry(self: Arc<Self>, mut failed: Vec<Wanted>) {
        while !failed.is_empty() && !self.stopping.is_cancelled() {
            tokio::time::sleep(RETRY).await;
            let mut left = Vec::new();
            for wanted in failed {
                let loaded = self.roll_out(&wanted).await;
                if matches!(&loaded, Err(LoadError::Refused(error)) if error.transient) {
                    left.push(wanted);
                }
            }
            failed = left;
        }
    }
}

/// A received file may still be on its way into the table.
const UPLOAD_AGE: Duration = Duration::from_secs(60);

fn pinned(state: &State) -> BTreeMap<PackageName, Remembered> {
    state.pins.iter().map(|(name, pin)| (name.clone(), pin.bytes.clone())).collect()
}

fn loaded(state: &State) -> Vec<(PackageName, Remembered)> {
    state.loaded.iter().map(|(id, kept)| (id.0.name.clone(), kept.clone())).collect()
}
