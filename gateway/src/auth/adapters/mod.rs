//! What else than an OpenID provider proves who calls, one authenticator a file, and the chain of all that are
//! configured.

mod flights;
mod http_check;
mod introspection;
mod jwks_file;
mod mtls;
mod shared_secret;
mod witness;

#[cfg(test)]
mod minted;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use self::{
    http_check::HttpCheck, introspection::Introspection, jwks_file::JwksFile, mtls::Mtls,
    shared_secret::SharedSecret,
};
use super::{
    AuthFault, Authenticator, Caller, Proof, Reason,
    issuer::Issuer,
    token::{Parsed, parse},
};
use crate::config::identity::{AdapterSettings, IdentitySettings};

/// An authenticator that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {problem}")]
pub(crate) struct ChainError {
    name: String,
    problem: String,
}

impl ChainError {
    fn new(name: impl Into<String>, problem: &impl ToString) -> Self {
        Self { name: name.into(), problem: problem.to_string() }
    }
}

/// Who is asked, in this order: issuers as they are written, then adapters as they are written. To be called within a
/// tokio runtime, which watches files, after a rustls provider was installed.
pub(crate) fn chain(settings: &IdentitySettings) -> Result<Vec<Arc<dyn Authenticator>>, ChainError> {
    let mut chain: Vec<Arc<dyn Authenticator>> = Vec::new();
    for issuer in &settings.issuers {
        let made = Issuer::new(issuer.clone());
        chain.push(Arc::new(made.map_err(|error| ChainError::new(issuer.issuer.as_str(), &error))?));
    }
    for adapter in &settings.adapters {
        chain.push(made(adapter, settings)?);
    }
    let asked: Vec<_> = chain.iter().map(|authenticator| authenticator.name()).collect();
    tracing::info!(event = "identity_on", ?asked, "calls need a proof");
    Ok(chain)
}

fn made(
    adapter: &AdapterSettings,
    settings: &IdentitySettings,
) -> Result<Arc<dyn Authenticator>, ChainError> {
    let standing = settings.standing.clone();
    Ok(match adapter {
        AdapterSettings::JwksFile(adapter) => JwksFile::watched(adapter, standing)?,
        AdapterSettings::SharedSecret(adapter) => Arc::new(SharedSecret::new(adapter, standing)?),
        AdapterSettings::Introspection(adapter) => Arc::new(Introspection::new(adapter, standing)?),
        AdapterSettings::HttpCheck(adapter) => Arc::new(HttpCheck::new(adapter, standing)?),
        AdapterSettings::Mtls(adapter) => Arc::new(Mtls::new(adapter.clone(), standing)),
    })
}

/// The token, if it is a signed one and says to come from `issuer` (`None`: from anybody). Opaque tokens and those of
/// others are left to others; a signed one with a header that nobody may send is nobody's.
fn addressed<'a>(token: &'a str, issuer: Option<&str>) -> Result<Option<Parsed<'a>>, AuthFault> {
    match parse(token) {
        Ok(parsed) => Ok(Some(parsed).filter(|parsed| issuer.is_none() || parsed.issuer() == issuer)),
        Err(AuthFault::Refused { reason: Reason::Malformed, .. }) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// What somebody else said, remembered for `cache` and never beyond `end`.
fn told(caller: Caller, now: SystemTime, cache: Duration, end: Option<SystemTime>) -> Proof {
    let remembered = Some(now + cache).filter(|_| !cache.is_zero());
    let remember_until = remembered.map(|until| end.map_or(until, |end| until.min(end)));
    Proof { caller: Arc::new(caller), remember_until, key: None }
}
