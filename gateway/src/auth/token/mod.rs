//! Signed tokens (RFC 7515, 7519): a text enters, claims that were proved leave, or the reason why not.
//!
//! The order is part of the safety: [`parse`] looks at form and header only, [`Key`] knows which algorithms
//! it may verify, [`verify`] believes no claim before the signature fits. [`TokenPolicy`] is all of it in one
//! step.

mod algorithm;
mod json;
mod key;
mod key_set;
mod parsed;
mod policy;
mod provider;
mod verify;

#[cfg(test)]
pub(crate) mod signer;
#[cfg(test)]
mod tests;

pub(crate) use algorithm::Algorithm;
pub(crate) use key::{Key, KeyLife};
pub(crate) use key_set::KeySet;
pub(crate) use parsed::{LONGEST_TOKEN, Parsed, parse};
pub(crate) use policy::TokenPolicy;
pub(crate) use verify::{TokenRules, expiry, verify};
