//! Who asks, as a value in a handler's signature: a handler that takes an [`Operator`] cannot be reached by others.

use axum::{extract::FromRequestParts, http::request::Parts};
use par_proto::code::Code;

use super::refusal::Refusal;
use crate::auth::{self, Role};

/// Somebody who may call agents; with identity off that is everybody.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// What it may do here.
    pub(super) role: Role,
    /// Who it is, with identity on.
    pub(super) who: Option<auth::Caller>,
}

impl Caller {
    /// Whether it has what an agent asks for; with identity off nobody has a role.
    pub(super) fn has(&self, role_required: Option<&str>) -> bool {
        role_required.is_none_or(|role| self.who.as_ref().is_some_and(|who| who.has(role)))
    }
}

/// Somebody who may look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Viewer(());

/// Somebody who may change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operator(());

/// With identity off a caller has no roles and could only present the operator token: 401 says so. Who is known and
/// may not hears 403.
fn require(parts: &Parts, least: Role) -> Result<Role, Refusal> {
    let role = Role::of(&parts.headers);
    if role >= least {
        return Ok(role);
    }
    if role == Role::Viewer || (role == Role::Caller && auth::Caller::of(&parts.headers).is_some()) {
        let detail = match least {
            Role::None | Role::Caller | Role::Viewer => "this needs the role of a viewer",
            Role::Operator => "this needs the role of an operator",
        };
        return Err(Refusal::new(Code::Forbidden, detail));
    }
    let detail = match least {
        Role::None | Role::Caller => "a valid token is needed",
        Role::Viewer | Role::Operator => "the operator token is needed, or the local socket",
    };
    Err(Refusal::new(Code::Unauthenticated, detail))
}

macro_rules! extractor {
    ($name:ident, $least:expr, $make:expr) => {
        impl<S: Sync> FromRequestParts<S> for $name {
            type Rejection = Refusal;

            async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
                require(parts, $least).map(|role| $make(role, parts))
            }
        }
    };
}

extractor!(Caller, Role::Caller, |role, parts: &Parts| Caller {
    role,
    who: auth::Caller::of(&parts.headers)
});
extractor!(Viewer, Role::Viewer, |_, _| Viewer(()));
extractor!(Operator, Role::Operator, |_, _| Operator(()));
