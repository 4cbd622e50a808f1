//! How often and how much: rates, calls at once and quotas of a day, by tenant, by agent and over all.
//!
//! A call enters before its body is read and leaves with its [`Entry`]. Everything is off unless configured; then there
//! is no [`Limiter`], and a call costs nothing here.

mod account;
mod bucket;
mod entry;
mod limiter;
mod moment;
mod policy;
mod quota;
mod quota_file;
mod scope;
mod table;
mod tokens;

pub(crate) use entry::{Entry, Limited};
pub(crate) use limiter::Limiter;
pub(crate) use moment::Moment;
pub(crate) use policy::Standing;
pub(crate) use scope::Scope;
