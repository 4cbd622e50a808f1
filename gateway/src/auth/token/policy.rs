//! From a token to a proved caller in one step, for everybody who has keys.

use std::{sync::Arc, time::SystemTime};

use super::{Key, Parsed, TokenRules, expiry, verify};
use crate::auth::{AuthFault, Proof, Standing, claims::ClaimPaths};

/// What a token must say, and what is read from it.
#[derive(Debug, Clone)]
pub(crate) struct TokenPolicy {
    /// What it must say.
    pub(crate) rules: TokenRules,
    /// Where the caller stands in it.
    pub(crate) claims: ClaimPaths,
    /// Which roles are those of our management side.
    pub(crate) standing: Standing,
}

impl TokenPolicy {
    /// Proves who sends the token. Remembered until `exp` and as long as the key is in use.
    pub(crate) fn prove(&self, parsed: &Parsed<'_>, key: &Key, now: SystemTime) -> Result<Proof, AuthFault> {
        let claims = verify(parsed, key, &self.rules, now)?;
        let caller = Arc::new(self.claims.caller(&claims, &self.standing)?);
        Ok(Proof { caller, remember_until: expiry(&claims), key: Some(key.life()) })
    }
}
