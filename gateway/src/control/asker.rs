//! Who asks, as a value in a handler's signature: a handler that takes an [`Operator`] cannot be reached by others.

use axum::{extract::FromRequestParts, http::request::Parts};
use par_proto::code::Code;

use super::refusal::Refusal;
use crate::auth::Role;

/// Somebody who may call agents; with identity off that is everybody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller(pub(super) Role);

/// Somebody who may look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Viewer(());

/// Somebody who may change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operator(());

/// With identity off a caller has no roles and could only present the operator token: 401 says so. A viewer is known
/// and may not: 403.
fn require(parts: &Parts, least: Role) -> Result<Role, Refusal> {
    let role = Role::of(&parts.headers);
    if role >= least {
        return Ok(role);
    }
    if role == Role::Viewer {
        return Err(Refusal::new(Code::Forbidden, "this needs the role of an operator"));
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
                require(parts, $least).map($make)
            }
        }
    };
}

extractor!(Caller, Role::Caller, Caller);
extractor!(Viewer, Role::Viewer, |_| Viewer(()));
extractor!(Operator, Role::Operator, |_| Operator(()));
