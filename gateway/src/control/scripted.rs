//! Rollouts, and the life of a process, as tests of the routes and of the command line know them.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use par_pool::fleet::{
    EndError, KeptReceipt, LazyStatus, Reload, ReloadReport, ReloadRequest, Reloaded, RolledBack,
    SessionStatus, SwitchError,
};
use par_proto::ids::{PackageName, Version};
use parking_lot::Mutex;
use serde_json::json;

use super::{
    Readiness, ShutdownSwitch,
    fleet::{Rollouts, Sessions},
    webhook::{Hook, Verifier},
};

/// `echo` can be rolled back, `new` has nothing to go back to, others are unknown.
pub(crate) struct Scripted;

#[async_trait]
impl Rollouts for Scripted {
    async fn reload(&self, request: ReloadRequest) -> ReloadReport {
        let package = request.package.map_or_else(|| "echo".to_owned(), |name| name.to_string());
        let outcome = if request.force { Reload::Updated } else { Reload::Unchanged };
        let version = Some("1.0.0".to_owned());
        let packages = vec![Reloaded { package, version, outcome, step: None, code: None, detail: None }];
        ReloadReport { status: "success", packages }
    }

    async fn rollback(&self, name: &PackageName) -> Result<RolledBack, SwitchError> {
        match name.as_str() {
            "echo" => Ok(RolledBack { active: "echo@1.0.0".parse().unwrap(), generation: 3, former: None }),
            "new" => Err(SwitchError::NothingParked(name.clone())),
            _ => Err(SwitchError::Unknown(name.clone())),
        }
    }

    async fn set_traffic(
        &self,
        _name: &PackageName,
        shares: BTreeMap<Version, u32>,
    ) -> Result<BTreeMap<Version, u32>, SwitchError> {
        if shares.is_empty() { Err(SwitchError::NoShare) } else { Ok(shares) }
    }

    fn rollouts(&self) -> Vec<KeptReceipt> {
        vec![KeptReceipt::Earlier(json!({"id": "ro_1", "package": "echo"}))]
    }

    fn rollout(&self, id: &str) -> Option<KeptReceipt> {
        (id == "ro_1").then(|| self.rollouts().remove(0))
    }

    fn lazy(&self) -> Vec<LazyStatus> {
        Vec::new()
    }
}

/// `once` lives, `twice` lives in two packages, and one id is hard to spell.
impl Sessions for Scripted {
    fn sessions(&self) -> Vec<SessionStatus> {
        Vec::new()
    }

    fn end_session(&self, id: &str, package: Option<&str>) -> Result<(), EndError> {
        match (id, package) {
            ("twice", None) => Err(EndError::Several(vec!["a".to_owned(), "b".to_owned()])),
            ("once" | "twice" | "a/b%", _) => Ok(()),
            _ => Err(EndError::Unknown),
        }
    }
}

/// A hook that nobody has a secret for.
pub(crate) fn hook() -> Arc<Hook> {
    Arc::new(Hook::new(Verifier::new(&[]).unwrap(), Arc::new(drop)))
}

/// A process whose life is as it was told last.
pub(super) struct Life(pub(super) Mutex<Readiness>);

impl ShutdownSwitch for Life {
    fn begin(&self) {
        *self.0.lock() = Readiness::Stopping;
    }

    fn succeed(&self) {
        *self.0.lock() = Readiness::Leaving;
    }

    fn ready(&self) -> Readiness {
        *self.0.lock()
    }
}
