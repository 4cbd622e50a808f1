//! Who may call what: a policy and a caller in, a permit or a denial out. Nothing else here, and no effect.

use std::sync::Arc;

use par_pool::fleet::Principal;

use super::Caller;

/// The right to make one call. Only [`decide`] makes it.
#[derive(Debug, Clone)]
pub(crate) struct Permit {
    caller: Option<Arc<Caller>>,
}

impl Permit {
    /// Who has it; nobody in particular with identity off.
    pub(crate) fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.as_ref()
    }

    /// Who has it, for the pool to keep; [`caller_of`] finds it there.
    pub(crate) fn principal(&self) -> Option<Principal> {
        self.caller.clone().map(|caller| caller as Principal)
    }
}

/// The caller behind what the pool has kept; `None` with identity off.
pub(crate) fn caller_of(principal: Option<&Principal>) -> Option<Arc<Caller>> {
    Arc::clone(principal?).downcast().ok()
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It must be known who asks.
    Unknown,
    /// It is known who asks, and that is not enough.
    Forbidden,
}

/// Decides. With identity off everybody is a caller without roles, except who speaks over the local socket.
pub(crate) fn decide(
    identity_on: bool,
    caller: Option<&Arc<Caller>>,
    role_required: Option<&str>,
) -> Result<Permit, Denied> {
    match (caller, role_required) {
        (Some(caller), Some(role)) if !caller.has(role) => Err(Denied::Forbidden),
        (Some(caller), _) => Ok(Permit { caller: Some(Arc::clone(caller)) }),
        (None, None) if !identity_on => Ok(Permit { caller: None }),
        (None, _) => Err(Denied::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Standing;

    #[test]
    fn a_permit_needs_identity_and_the_role() {
        let caller = |roles: &[&str]| {
            let roles = roles.iter().map(|role| Box::from(*role)).collect();
            Arc::new(Caller::new("s", None, roles, Vec::new(), &Standing::default()))
        };
        let (plain, billing, operator) = (caller(&[]), caller(&["billing"]), caller(&["par-operator"]));
        for (identity, who, role, wanted) in [
            (false, None, None, Ok(())),
            (false, None, Some("billing"), Err(Denied::Unknown)),
            (true, None, None, Err(Denied::Unknown)),
            (true, None, Some("billing"), Err(Denied::Unknown)),
            (true, Some(&plain), None, Ok(())),
            (true, Some(&plain), Some("billing"), Err(Denied::Forbidden)),
            (true, Some(&billing), Some("billing"), Ok(())),
            (true, Some(&billing), Some("billin"), Err(Denied::Forbidden)),
            (true, Some(&billing), Some(""), Err(Denied::Forbidden)),
            (true, Some(&operator), Some("billing"), Err(Denied::Forbidden)),
            (true, Some(&Caller::local()), Some("billing"), Ok(())),
            (false, Some(&Caller::local()), Some("billing"), Ok(())),
        ] {
            assert_eq!(decide(identity, who, role).map(drop), wanted, "{identity} {who:?} {role:?}");
        }
    }
}
