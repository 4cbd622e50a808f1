//! An OpenID provider: its keys are found by discovery, kept fresh, and prove tokens.
//!
//! What a stranger can cause: a token of this issuer with a key that is not known makes us ask the issuer, at
//! most every 30 s whatever the names of the keys; one that cannot be read or is of somebody else causes
//! nothing.

mod client;
mod demand;
mod freshness;
mod keeper;
mod source;

#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use url::Url;

pub(crate) use client::{Answer, Web, WebFault};

use self::{
    keeper::{Keeper, NoKey, Pace},
    source::Source,
};
use super::{
    AuthFault, Authenticator, Evidence, Proof, Reason, Standing,
    claims::ClaimPaths,
    token::{Algorithm, TokenPolicy, TokenRules, parse},
};

/// One issuer, as configured.
#[derive(Debug, Clone)]
pub(crate) struct IssuerSettings {
    /// The issuer exactly as its tokens say it (`iss`); also where discovery is.
    pub(crate) issuer: String,
    /// One of these must be in `aud`.
    pub(crate) audiences: Vec<String>,
    /// The allow-list.
    pub(crate) algorithms: Vec<Algorithm>,
    /// How far its clock may be from ours.
    pub(crate) leeway: Duration,
    /// Where the caller stands in the claims.
    pub(crate) claims: ClaimPaths,
    /// Which roles are those of our management side.
    pub(crate) standing: Standing,
    /// Where the keys are; `None`: discovery says.
    pub(crate) jwks_uri: Option<Url>,
    /// Authorities that are trusted besides those of the system, as PEM.
    pub(crate) ca: Option<Vec<u8>>,
}

impl IssuerSettings {
    /// Where it is asked first: for its keys, if their place is configured, else for that place.
    pub(crate) fn first_place(&self) -> Option<Url> {
        self.jwks_uri.clone().or_else(|| source::discovery(&self.issuer))
    }

    /// Fetches its keys once. How many there are.
    pub(crate) async fn ask(&self) -> Result<usize, WebFault> {
        let web = Web::new(self.ca.as_deref())?;
        let source = Source::new(web, self.issuer.clone(), self.jwks_uri.clone());
        source.fetch().await.map(|(keys, _)| keys.len())
    }
}

/// Proves tokens of one issuer.
#[derive(Debug)]
pub(crate) struct Issuer {
    name: String,
    /// `iss` of its tokens.
    iss: String,
    policy: TokenPolicy,
    keeper: Arc<Keeper>,
}

impl Issuer {
    /// An issuer; on a runtime, its keys are fetched in the background from now on, else from the first token
    /// on. Errors are those of `ca` and the TLS setup.
    pub(crate) fn new(settings: IssuerSettings) -> Result<Self, WebFault> {
        Self::paced(settings, Pace::default())
    }

    fn paced(settings: IssuerSettings, pace: Pace) -> Result<Self, WebFault> {
        let IssuerSettings { issuer, audiences, algorithms, leeway, claims, standing, jwks_uri, ca } =
            settings;
        let web = Web::new(ca.as_deref())?;
        let keeper = Keeper::start(Source::new(web, issuer.clone(), jwks_uri), pace);
        let rules = TokenRules { issuer: Some(issuer.clone()), audiences, algorithms, leeway };
        let policy = TokenPolicy { rules, claims, standing };
        Ok(Self { name: format!("issuer {issuer}"), iss: issuer, policy, keeper })
    }
}

#[async_trait]
impl Authenticator for Issuer {
    fn name(&self) -> &str {
        &self.name
    }

    async fn authenticate(&self, evidence: &Evidence<'_>) -> Result<Option<Proof>, AuthFault> {
        let Some(token) = evidence.token else { return Ok(None) };
        let parsed = match parse(token) {
            Ok(parsed) => parsed,
            // Not a token of this form: somebody else may know what it is.
            Err(AuthFault::Refused { reason: Reason::Malformed, .. }) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        if parsed.issuer() != Some(self.iss.as_str()) {
            return Ok(None);
        }
        let algorithm = parsed.algorithm();
        // Before the key is looked for: a token that cannot be proved does not cause a question.
        if algorithm.is_symmetric() || !self.policy.rules.algorithms.contains(&algorithm) {
            return Err(AuthFault::refused(Reason::Algorithm, format!("{algorithm} is not on the list")));
        }
        match self.keeper.key(parsed.kid(), algorithm).await {
            Ok(key) => self.policy.prove(&parsed, &key, SystemTime::now()).map(Some),
            Err(NoKey::Unknown) => {
                Err(AuthFault::refused(Reason::UnknownKey, "the issuer has no such key for this algorithm"))
            }
            Err(NoKey::Unavailable) => Err(AuthFault::Unavailable {
                authenticator: self.name.clone(),
                detail: "its keys cannot be fetched".to_owned(),
            }),
        }
    }
}
