//! The street: a source enters, an installed package leaves, one step after the other.
//!
//! Nothing of a package is visible under its digest before its bytes were compared, its archive read whole and its
//! manifest understood; nothing of it is executed before `install`, and there only builds of its own project.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime},
};

use par_proto::ids::Digest;

use super::{
    Installed, Location, Package, PackageSettings, PullError, Source, Step, Unpacked,
    environment::Environments,
    fetch::{self, Fetched},
    manifest,
    store::{Scratch, Store},
    tree,
    unpack::unpack,
    variables::{self, Origins},
};

/// Turns sources into packages. One per process; cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Street {
    settings: PackageSettings,
    store: Store,
    environments: Environments,
    client: OnceLock<reqwest::Client>,
}

impl Street {
    /// Opens the store and the environments and removes what crashes left there.
    pub fn new(settings: PackageSettings) -> Result<Self, PullError> {
        let failed = |step, what: &str| {
            let detail = format!("the {what} directory cannot be used");
            move |error: io::Error| PullError::refused(step, detail).with_log(error.to_string())
        };
        let store = Store::open(&settings.cache_dir).map_err(failed(Step::Fetch, "package cache"))?;
        let environments = Environments::open(&settings).map_err(failed(Step::Environment, "data"))?;
        Ok(Self { settings, store, environments, client: OnceLock::new() })
    }

    /// Fetches, verifies, unpacks and understands a package. What a source's digest names is not fetched again.
    pub async fn fetch(&self, source: &Source) -> Result<Unpacked, PullError> {
        let mut steps = Steps::start();
        let max = self.settings.max_package_bytes;
        let fetched = match &source.location {
            Location::Directory(directory) => return self.directory(directory, source.sha256, steps).await,
            Location::File(path) => fetch::copy(path, &self.store, max).await?,
            Location::Https(url) => {
                if let Some(unpacked) = self.kept(source.sha256, &mut steps).await {
                    return Ok(unpacked);
                }
                fetch::download(self.client()?, url, &self.store, max, self.settings.download_timeout).await?
            }
            Location::S3 { .. } => {
                if let Some(unpacked) = self.kept(source.sha256, &mut steps).await {
                    return Ok(unpacked);
                }
                let detail = "s3:// sources are not supported by this version";
                return Err(PullError::refused(Step::Fetch, detail));
            }
        };
        steps.end(Step::Fetch);
        self.archive(fetched, source.sha256, steps).await
    }

    /// A package that was fetched before, from the store alone; `None` if it is not there any more.
    pub async fn recall(&self, digest: Digest) -> Option<Unpacked> {
        self.kept(Some(digest), &mut Steps::start()).await
    }

    /// Verifies, unpacks and understands an archive that was uploaded to `file`, which is left where it is.
    pub async fn upload(&self, file: &Path, sha256: Option<Digest>) -> Result<Unpacked, PullError> {
        let mut steps = Steps::start();
        let fetched = fetch::copy(file, &self.store, self.settings.max_package_bytes).await?;
        steps.end(Step::Fetch);
        self.archive(fetched, sha256, steps).await
    }

    /// Gives a package its environment.
    pub async fn install(&self, unpacked: Unpacked) -> Result<Installed, PullError> {
        let began = Instant::now();
        let environment = self.environments.provide(&unpacked).await?;
        let mut warnings = unpacked.warnings;
        warnings.extend(environment.warnings);
        let origins = Origins {
            root: &unpacked.root,
            virtual_env: &environment.directory,
            passed: &self.settings.pass_env,
            manifest: &unpacked.package.environment,
        };
        let variables = variables::assemble(&origins, &mut warnings)
            .map_err(|error| PullError::refused(Step::Environment, error.to_string()))?;
        let root = unpacked.root;
        let mut sys_path = vec![root.clone()];
        sys_path
            .extend(["src", "src/a2a"].map(|name| root.join(name)).into_iter().filter(|path| path.is_dir()));
        sys_path.extend(environment.layer);
        let mut readable = vec![root.clone()];
        readable.extend(environment.readable);
        let mut steps = unpacked.steps;
        steps.push((Step::Environment, began.elapsed()));
        Ok(Installed {
            package: unpacked.package,
            digest: unpacked.digest,
            root,
            python: environment.python,
            sys_path,
            variables,
            readable,
            warnings,
            steps,
        })
    }

    /// Makes the next install of each set of requirements look for newer versions (`par env refresh`).
    pub fn forget_resolutions(&self) -> Result<(), PullError> {
        self.environments.forget_resolutions().map_err(|error| {
            PullError::refused(Step::Environment, "kept resolutions cannot be removed")
                .with_log(error.to_string())
        })
    }

    async fn archive(
        &self,
        fetched: Fetched,
        expected: Option<Digest>,
        mut steps: Steps,
    ) -> Result<Unpacked, PullError> {
        let digest = fetched.digest;
        verify(expected, digest)?;
        steps.end(Step::Verify);
        let (store, max) = (self.store.clone(), self.settings.max_package_bytes);
        blocking(move || {
            if let Some(root) = store.find(digest) {
                return finish(root, digest, steps);
            }
            let scratch = store.scratch();
            unpack(fetched.file.path(), &scratch.path().join("tree"), max)?;
            steps.end(Step::Unpack);
            publish(&store, &scratch, digest, steps)
        })
        .await
    }

    async fn directory(
        &self,
        directory: &Path,
        expected: Option<Digest>,
        mut steps: Steps,
    ) -> Result<Unpacked, PullError> {
        let (store, max) = (self.store.clone(), self.settings.max_package_bytes);
        let directory = directory.to_path_buf();
        blocking(move || {
            let scratch = store.scratch();
            let digest = tree::copy(&directory, &scratch.path().join("tree"), max)?;
            steps.end(Step::Fetch);
            verify(expected, digest)?;
            steps.end(Step::Verify);
            match store.find(digest) {
                Some(root) => finish(root, digest, steps),
                None => publish(&store, &scratch, digest, steps),
            }
        })
        .await
    }

    /// The package of a digest, if it was fetched before.
    async fn kept(&self, digest: Option<Digest>, steps: &mut Steps) -> Option<Unpacked> {
        let digest = digest?;
        let root = self.store.find(digest)?;
        steps.end(Step::Fetch);
        let steps = steps.clone();
        // One that cannot be read any more is fetched again.
        blocking(move || finish(root, digest, steps)).await.ok()
    }

    fn client(&self) -> Result<&reqwest::Client, PullError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = fetch::client(Vec::new())?;
        Ok(self.client.get_or_init(|| client))
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
    scratch: &Scratch,
    digest: Digest,
    mut steps: Steps,
) -> Result<Unpacked, PullError> {
    let (package, warnings) = manifest::read(&scratch.path().join("tree"))?;
    let root = store.publish(scratch, digest).map_err(|error| {
        PullError::refused(Step::Unpack, "the package could not be stored").with_log(error.to_string())
    })?;
    steps.end(Step::Manifest);
    Ok(unpacked(package, warnings, digest, root, steps))
}

/// Understands a tree of the store.
fn finish(root: PathBuf, digest: Digest, mut steps: Steps) -> Result<Unpacked, PullError> {
    steps.end(Step::Unpack);
    let (package, warnings) = manifest::read(&root)?;
    steps.end(Step::Manifest);
    Ok(unpacked(package, warnings, digest, root, steps))
}

fn unpacked(
    package: Package,
    warnings: Vec<String>,
    digest: Digest,
    root: PathBuf,
    steps: Steps,
) -> Unpacked {
    Unpacked {
        package: Arc::new(package),
        digest,
        root,
        warnings,
        steps: steps.done.into_iter().collect(),
        fetched_at: SystemTime::now(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PullError> + Send + 'static,
) -> Result<T, PullError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
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
mod tests;
