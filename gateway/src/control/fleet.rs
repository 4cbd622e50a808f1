//! What the management side asks of the pool, as a trait: the routes are tested with a scripted fleet.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use par_pool::{
    fleet::{
        AgentStatus, Busy, EndError, Failure, KeptReceipt, LazyStatus, LoadError, LoadOptions, Loaded,
        PackageStatus, Pool, Process, ReloadReport, ReloadRequest, RolledBack, SessionStatus, SwitchError,
        Unloaded,
    },
    package::Source,
};
use par_proto::ids::{AgentId, PackageId, PackageName, Version};

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
    /// Every process of every package.
    fn processes(&self) -> Vec<Process>;
    /// How busy every generation is.
    fn loads(&self) -> Vec<Busy>;
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

    fn processes(&self) -> Vec<Process> {
        Pool::processes(self)
    }

    fn loads(&self) -> Vec<Busy> {
        Pool::loads(self)
    }

    fn in_flight(&self) -> usize {
        Pool::in_flight(self)
    }

    fn answered(&self) -> u64 {
        Pool::answered(self)
    }
}

/// How versions replace each other; see [`Pool`] for what each method promises.
#[async_trait]
pub(crate) trait Rollouts: Send + Sync {
    /// Looks at all sources.
    async fn reload(&self, request: ReloadRequest) -> ReloadReport;
    /// Brings back the generation that was replaced last.
    async fn rollback(&self, name: &PackageName) -> Result<RolledBack, SwitchError>;
    /// Shares calls between versions.
    async fn set_traffic(
        &self,
        name: &PackageName,
        shares: BTreeMap<Version, u32>,
    ) -> Result<BTreeMap<Version, u32>, SwitchError>;
    /// Receipts, newest first.
    fn rollouts(&self) -> Vec<KeptReceipt>;
    /// One receipt.
    fn rollout(&self, id: &str) -> Option<KeptReceipt>;
    /// Packages that wait for their first call.
    fn lazy(&self) -> Vec<LazyStatus>;
}

#[async_trait]
impl Rollouts for Arc<Pool> {
    async fn reload(&self, request: ReloadRequest) -> ReloadReport {
        Pool::reload(self, request).await
    }

    async fn rollback(&self, name: &PackageName) -> Result<RolledBack, SwitchError> {
        Pool::rollback(self, name).await
    }

    async fn set_traffic(
        &self,
        name: &PackageName,
        shares: BTreeMap<Version, u32>,
    ) -> Result<BTreeMap<Version, u32>, SwitchError> {
        Pool::set_traffic(self, name, shares).await
    }

    fn rollouts(&self) -> Vec<KeptReceipt> {
        Pool::rollouts(self)
    }

    fn rollout(&self, id: &str) -> Option<KeptReceipt> {
        Pool::rollout(self, id)
    }

    fn lazy(&self) -> Vec<LazyStatus> {
        Pool::lazy(self)
    }
}

/// What callers keep between their calls; see [`Pool`] for what each method promises.
pub(crate) trait Sessions: Send + Sync {
    /// Every session; measures their workers.
    fn sessions(&self) -> Vec<SessionStatus>;
    /// Ends a session.
    fn end_session(&self, id: &str, package: Option<&str>) -> Result<(), EndError>;
}

impl Sessions for Arc<Pool> {
    fn sessions(&self) -> Vec<SessionStatus> {
        Pool::sessions(self)
    }

    fn end_session(&self, id: &str, package: Option<&str>) -> Result<(), EndError> {
        Pool::end_session(self, id, package)
    }
}
