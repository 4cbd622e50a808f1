//! Who asks, and what that allows.

mod accounts;
pub(crate) mod adapters;
mod authenticator;
mod caller;
pub(crate) mod claims;
pub(crate) mod identity;
pub(crate) mod issuer;
pub(crate) mod metrics;
pub(crate) mod neighbour;
pub(crate) mod operator;
pub(crate) mod permit;
mod role;
pub(crate) mod token;

pub(crate) use accounts::Accounts;
pub(crate) use authenticator::{AuthFault, Authenticator, ClientCertificate, Evidence, Proof, Reason};
pub(crate) use caller::{CALLER_HEADER, Caller, Standing};
pub(crate) use identity::Identity;
pub(crate) use metrics::AuthMetrics;
pub(crate) use role::{ROLE_HEADER, Role};
