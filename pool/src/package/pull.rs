//! The street: a source enters, an installed package leaves, one step after the other.
//!
//! Nothing of a package is visible under its digest before its bytes were compared, its archive read whole
//! and its manifest understood; nothing of it is executed before `install`, and there only builds of its own
//! project.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::FutureExt;
use par_proto::ids::Digest;

use self::flights::{Flights, Want};
use super::{
    Document, Installed, Location, Package, PackageSettings, Program, PullError, Remote, Runtime, Signature,
    Source, Step, Unpacked, Validator,
    environment::{Confine, Environments},
    errand,
    fetch::Fetched,
    manifest,
    store::{Pin, Scratch, Store},
    tree,
    unpack::unpack,
    variables::{self, Origins},
};

mod flights;
mod signed;

/// Turns sources into packages. One per process; cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Street {
    line: Arc<Line>,
    environments: Environments,
    flights: Flights,
}

/// What a fetch needs; fetches that are under way hold it.
#[derive(Debug)]
struct Line {
    settings: PackageSettings,
    store: Store,
    remote: Remote,
}

impl Street {
    /// Opens the store and the environments and removes what crashes left there. Installers run in a sandbox if there is
    /// one.
    pub fn new(settings: PackageSettings, confine: Option<Confine>) -> Result<Self, PullError> {
        let failed = |step, what: &str| {
            let detail = format!("the {what} directory cannot be used");
            move |error: io::Error| PullError::refused(step, detail).with_log(error.to_string())
        };
        let store = Store::open(&settings.cache_dir, settings.max_cache_bytes)
            .map_err(failed(Step::Fetch, "package cache"))?;
        let environments =
            Environments::open(&settings, confine).map_err(failed(Step::Environment, "data"))?;
        let remote = Remote::new(&settings);
        let line = Arc::new(Line { settings, store, remote });
        Ok(Self { line, environments, flights: Flights::default() })
    }

    /// Fetches, verifies, unpacks and understands a package. What a source's digest names is not fetched
    /// again, and what is being fetched already is waited for; it goes on as long as one of those who wait is
    /// there.
    pub async fn fetch(&self, source: &Source) -> Result<Unpacked, PullError> {
        let Some(want) = Want::of(source) else { return self.line.fetch(source).await };
        loop {
            let (line, own) = (Arc::clone(&self.line), source.clone());
            let begin = || async move { line.fetch(&own).await }.boxed();
            let (flight, from) = self.flights.join(&want, source, begin);
            let outcome = flight.await;
            // The same bytes from elsewhere that did not arrive say nothing about this source.
            if outcome.is_ok() || from == *source {
                return outcome;
            }
        }
    }

    /// A package that was fetched before, from the store alone; `None` if it is not there any more, or
    /// damaged, or not signed as it has to be now.
    pub async fn recall(&self, digest: Digest) -> Option<Unpacked> {
        self.line.kept(Some(digest), &Steps::start()).await
    }

    /// Verifies, unpacks and understands an archive that was uploaded to `file`, which is left where it is.
    pub async fn upload(
        &self,
        file: &Path,
        sha256: Option<Digest>,
        signature: Option<Signature>,
    ) -> Result<Unpacked, PullError> {
        let location = Location::File(file.to_path_buf());
        let given = file.to_string_lossy().into_owned();
        self.line.fetch(&Source { location, sha256, signature, given }).await
    }

    /// Reads a small document once, unless it is the one that is known; see [`Remote::document`].
    pub async fn document(
        &self,
        location: &Location,
        known: Option<&Validator>,
        max_bytes: u64,
    ) -> Result<Document, PullError> {
        self.line.remote.document(location, known, max_bytes).await
    }

    /// Begins to keep the store within its limit. To be called when a start has back what it wants back; see
    /// [`Store::settle`].
    pub async fn settle(&self) {
        let store = self.line.store.clone();
        let settled = errand::run(move || store.settle()).await;
        if let Err(error) = settled {
            tracing::warn!(event = "store_unsettled", %error, "the package cache could not be looked through");
        }
    }

    /// Keeps the code of workers compiled; `code` is the directory of the package `pixell_runtime`.
    #[must_use]
    pub fn serving(mut self, code: PathBuf) -> Self {
        self.environments = self.environments.serving(code);
        self
    }

    /// Begins what [`Self::install`] will need, while the package is still on its way.
    pub fn foresee(&self) {
        self.environments.foresee();
    }

    /// Gives a package its environment.
    pub async fn install(&self, unpacked: Unpacked) -> Result<Installed, PullError> {
        let began = Instant::now();
        let mut warnings = unpacked.warnings.clone();
        let Furnished { program, virtual_env, layer, kits, readable } =
            self.furnish(&unpacked, &mut warnings).await?;
        let origins = Origins {
            root: &unpacked.root,
            virtual_env: virtual_env.as_deref(),
            passed: &self.line.settings.pass_env,
            manifest: &unpacked.package.environment,
        };
        let variables = variables::assemble(&origins, &mut warnings)
            .map_err(|error| PullError::refused(Step::Environment, error.to_string()))?;
        let root = unpacked.root;
        let mut sys_path = vec![root.clone()];
        sys_path
            .extend(["src", "src/a2a"].map(|name| root.join(name)).into_iter().filter(|path| path.is_dir()));
        sys_path.extend(layer);
        let readable = std::iter::once(root.clone()).chain(readable).collect();
        let mut steps = unpacked.steps;
        steps.push((Step::Environment, began.elapsed()));
        Ok(Installed {
            package: unpacked.package,
            digest: unpacked.digest,
            root,
            pin: unpacked.pin,
            program,
            sys_path,
            kits,
            variables,
            readable,
            warnings,
            steps,
        })
    }

    /// What runs a package, with all that it needs. A package for a loader brings what it needs.
    async fn furnish(&self, unpacked: &Unpacked, warnings: &mut Vec<String>) -> Result<Furnished, PullError> {
        match &unpacked.package.runtime {
            Runtime::Python(wanted) => {
                let environment = self.environments.provide(unpacked, wanted).await?;
                warnings.extend(environment.warnings);
                Ok(Furnished {
                    program: Program::Python(environment.python),
                    virtual_env: Some(environment.directory),
                    layer: environment.layer,
                    kits: environment.kits,
                    readable: environment.readable,
                })
            }
            Runtime::Loader(name) => {
                let Some(loader) = self.line.settings.loaders.get(name) else {
                    // Its manifest was read with the same loaders.
                    let detail = format!("no loader is configured for {name}");
                    return Err(PullError::refused(Step::Environment, detail));
                };
                Ok(Furnished {
                    readable: loader.readable(),
                    program: Program::Loader(Arc::clone(loader)),
                    virtual_env: None,
                    layer: None,
                    kits: Vec::new(),
                })
            }
        }
    }
}

/// What a package is run with.
struct Furnished {
    program: Program,
    virtual_env: Option<PathBuf>,
    layer: Option<PathBuf>,
    kits: Vec<PathBuf>,
    readable: Vec<PathBuf>,
}

impl Line {
    async fn fetch(&self, source: &Source) -> Result<Unpacked, PullError> {
        let mut steps = Steps::start();
        match &source.location {
            Location::Directory(directory) => return self.directory(directory, source.sha256, steps).await,
            Location::Https(_) | Location::S3 { .. } => {
                if let Some(unpacked) = self.kept(source.sha256, &steps).await {
                    return Ok(unpacked);
                }
            }
            Location::File(_) => {}
        }
        let fetched = self.remote.download(&source.location, &self.store).await?;
        steps.end(Step::Fetch);
        self.archive(fetched, source, steps).await
    }

    async fn archive(
        &self,
        fetched: Fetched,
        source: &Source,
        mut steps: Steps,
    ) -> Result<Unpacked, PullError> {
        let digest = fetched.digest;
        verify(source.sha256, digest)?;
        let signer = self.check_signature(&fetched, source).await?;
        steps.end(Step::Verify);
        let (store, settings) = (self.store.clone(), self.settings.clone());
        blocking(move || {
            if let Some(mut pin) = store.recall(digest) {
                if let Some(signer) = signer.filter(|_| !settings.signatures.accepts(pin.signer())) {
                    pin = store.endorse(pin, signer).map_err(|error| unstored(&error))?;
                }
                return finish(pin, &settings, digest, steps);
            }
            let scratch = store.scratch();
            unpack(fetched.file.path(), &scratch.path().join("tree"), settings.max_package_bytes)?;
            steps.end(Step::Unpack);
            publish(&store, &settings, &scratch, digest, signer, steps)
        })
        .await
    }

    async fn directory(
        &self,
        directory: &Path,
        expected: Option<Digest>,
        mut steps: Steps,
    ) -> Result<Unpacked, PullError> {
        self.check_unsigned()?;
        let (store, settings) = (self.store.clone(), self.settings.clone());
        let directory = directory.to_path_buf();
        blocking(move || {
            let scratch = store.scratch();
            let digest = tree::copy(&directory, &scratch.path().join("tree"), settings.max_package_bytes)?;
            steps.end(Step::Fetch);
            verify(expected, digest)?;
            steps.end(Step::Verify);
            match store.recall(digest) {
                Some(pin) => finish(pin, &settings, digest, steps),
                None => publish(&store, &settings, &scratch, digest, None, steps),
            }
        })
        .await
    }

    /// The package of a digest, if it was fetched before and may be used without being fetched again.
    async fn kept(&self, digest: Option<Digest>, steps: &Steps) -> Option<Unpacked> {
        let digest = digest?;
        let (store, settings) = (self.store.clone(), self.settings.clone());
        let mut steps = steps.clone();
        let kept = blocking(move || {
            let Some(pin) = store.recall(digest) else { return Ok(None) };
            if !settings.signatures.accepts(pin.signer()) {
                tracing::info!(
                    event = "store_unsigned",
                    %digest,
                    "a stored package is not used: no key that is trusted now has signed it"
                );
                return Ok(None);
            }
            steps.end(Step::Fetch);
            finish(pin, &settings, digest, steps).map(Some)
        });
        // One that cannot be understood any more is fetched again.
        kept.await.ok().flatten()
    }
}

fn verify(expected: Option<Digest>, digest: Digest) -> Result<(), PullError> {
    match expected {
        Some(expected) if expected != digest => {
            let detail = format!("the package's SHA-256 is {digest}, not {expected} as expected");
            Err(PullError::refused(Step::Verify, detail))
        }
        Some(_) | None => Ok(()),
    }
}

/// Understands a tree that nobody sees yet, then shows it.
fn publish(
    store: &Store,
    settings: &PackageSettings,
    scratch: &Scratch,
    digest: Digest,
    signer: Option<String>,
    mut steps: Steps,
) -> Result<Unpacked, PullError> {
    let understood = manifest::read(&scratch.path().join("tree"), &settings.loaders, &settings.adapters)?;
    let pin = store.publish(scratch, digest, signer).map_err(|error| unstored(&error))?;
    steps.end(Step::Manifest);
    Ok(unpacked(understood, digest, pin, steps))
}

/// Understands a tree of the store.
fn finish(
    pin: Pin,
    settings: &PackageSettings,
    digest: Digest,
    mut steps: Steps,
) -> Result<Unpacked, PullError> {
    steps.end(Step::Unpack);
    let understood = manifest::read(pin.root(), &settings.loaders, &settings.adapters)?;
    steps.end(Step::Manifest);
    Ok(unpacked(understood, digest, pin, steps))
}

fn unpacked((package, warnings): (Package, Vec<String>), digest: Digest, pin: Pin, steps: Steps) -> Unpacked {
    Unpacked {
        package: Arc::new(package),
        digest,
        root: pin.root().to_path_buf(),
        pin: Arc::new(pin),
        warnings,
        steps: steps.done.into_iter().collect(),
        fetched_at: SystemTime::now(),
    }
}

fn unstored(error: &io::Error) -> PullError {
    PullError::disk(Step::Unpack, "the package could not be stored", error)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PullError> + Send + 'static,
) -> Result<T, PullError> {
    errand::run(work).await.unwrap_or_else(|error| {
        Err(PullError::refused(Step::Unpack, "reading the package failed").with_log(error.to_string()))
    })
}

/// Times of steps, each from the end of the one before.
#[derive(Debug, Clone)]
struct Steps {
    done: BTreeMap<Step, Duration>,
    last: Instant,
}

impl Steps {
    fn start() -> Self {
        Self { done: BTreeMap::new(), last: Instant::now() }
    }

    fn end(&mut self, step: Step) {
        let now = Instant::now();
        *self.done.entry(step).or_default() += now - self.last;
        self.last = now;
    }
}

#[cfg(test)]
pub(crate) mod tests;
