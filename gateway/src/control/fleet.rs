//! What the management side asks of the pool, as a trait: the routes are tested with a scripted fleet.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use par_pool::{
    fleet::{AgentStatus, Failure, LoadError, LoadOptions, Loaded, PackageStatus, Pool, Unloaded},
    package::Source,
};
use par_proto::ids::{AgentId, PackageId};

/// The facade of the pool; see [`Pool`] for what each method promises.
#[async_trait]
pub(crate) trait Fleet: Send + Sync {
    /// Mounts a package.
    async fn load(&self, source: &Source, options: LoadOptions) -> Result<Loaded, LoadError>;
    /// Mounts a package from a file that was received; the file is consumed.
    async fn upload(&self, file: PathBuf, options: LoadOptions) -> Result<Loaded, LoadError>;
    /// Takes a package away.
    fn unload(&self, id: &PackageId) -> Option<Unloaded>;
    /// Switches an agent on or off.
    fn set_enabled(&self, id: &str, enabled: Option<bool>) -> Option<(AgentId, bool)>;
    /// Every mounted package.
    fn packages(&self) -> Vec<PackageStatus>;
    /// Sources that could not be mounted.
    fn failures(&self) -> Vec<Failure>;
    /// Every agent.
    fn agents(&self) -> Vec<AgentStatus>;
    /// One agent by any of its ids.
    fn agent(&self, id: &str) -> Option<AgentStatus>;
    /// Calls that run or wait now.
    fn in_flight(&self) -> usize;
    /// Calls answered since the start.
    fn answered(&self) -> u64;
}

#[async_trait]
impl Fleet for Arc<Pool> {
    async fn load(&self, source: &Source, options: LoadOptions) -> Result<Loaded, LoadError> {
        Pool::load(self, source, options).await
    }

    async fn upload(&self, file: PathBuf, options: LoadOptions) -> Result<Loaded, LoadError> {
        Pool::upload(self, file, options).await
    }

    fn unload(&self, id: &PackageId) -> Option<Unloaded> {
        Pool::unload(self, id)
    }

    fn set_enabled(&self, id: &str, enabled: Option<bool>) -> Option<(AgentId, bool)> {
        Pool::set_enabled(self, id, enabled)
    }

    fn packages(&self) -> Vec<PackageStatus> {
        Pool::packages(self)
    }

    fn failures(&self) -> Vec<Failure> {
        Pool::failures(self)
    }

    fn agents(&self) -> Vec<AgentStatus> {
        Pool::agents(self)
    }

    fn agent(&self, id: &str) -> Option<AgentStatus> {
        Pool::agent(self, id)
    }

    fn in_flight(&self) -> usize {
        Pool::in_flight(self)
    }

    fn answered(&self) -> u64 {
        Pool::answered(self)
    }
}
