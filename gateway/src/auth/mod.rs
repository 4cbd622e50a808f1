//! Who asks, and what that allows.

pub(crate) mod operator;
mod role;

pub(crate) use role::{ROLE_HEADER, Role};
