//! Packages that are listed at once and mounted at their first call.

use std::sync::Arc;

use par_proto::ids::{PackageId, PackageName};
use serde::Serialize;

use super::{
    pool::{LoadError, Loaded, Pool},
    receipt::Cause,
    rollout::Wanted,
};

/// A package that waits for its first call.
#[derive(Debug, Clone)]
pub(crate) struct Lazy {
    pub(crate) id: PackageId,
    pub(crate) wanted: Wanted,
}

/// One of them, as `GET /runtime/packages` tells it.
#[derive(Debug, Clone, Serialize)]
pub struct LazyStatus {
    /// `name@version`.
    pub id: PackageId,
    /// `lazy`.
    pub state: &'static str,
    /// Where it comes from, without credentials.
    pub source: String,
}

impl Pool {
    /// The lazy package that an id would belong to: its name, or `name@version`, alone or before a slash.
    pub fn sleeping(&self, id: &str) -> Option<PackageName> {
        let package = id.split('/').next().unwrap_or_default();
        let (name, version) = match package.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (package, None),
        };
        let name: PackageName = name.parse().ok()?;
        let book = self.book.lock();
        let lazy = book.lazy.get(&name)?;
        version.is_none_or(|version| lazy.id.version.as_str() == version).then_some(name)
    }

    /// Mounts a lazy package. It goes on when the caller stops waiting: the next call finds it done.
    ///
    /// # Errors
    /// [`LoadError`]; the package stays lazy then.
    pub async fn wake(self: &Arc<Self>, name: &PackageName) -> Result<Option<Loaded>, LoadError> {
        let lazy = self.book.lock().lazy.get(name).cloned();
        let Some(Lazy { mut wanted, .. }) = lazy else { return Ok(None) };
        wanted.cause = Cause::FirstCall;
        let pool = Arc::clone(self);
        // Calls that come meanwhile wait for the same turn, and find the package mounted. All have one ticket, so
        // none makes another void.
        let rolling = tokio::spawn(async move { pool.roll_out(&wanted).await });
        rolling.await.map_or(Err(LoadError::Stopping), |loaded| loaded.map(Some))
    }

    /// Lists a package without fetching it.
    pub(crate) fn list_lazy(&self, id: PackageId, wanted: Wanted) {
        let mut book = self.book.lock();
        tracing::info!(event = "lazy", package = %id, source = %wanted.source, "mounted at its first call");
        book.lazy.insert(id.name.clone(), Lazy { id, wanted });
    }

    /// Packages that wait for their first call.
    pub fn lazy(&self) -> Vec<LazyStatus> {
        let book = self.book.lock();
        book.lazy
            .values()
            .map(|lazy| LazyStatus {
                id: lazy.id.clone(),
                state: "lazy",
                source: lazy.wanted.source.to_string(),
            })
            .collect()
    }
}
