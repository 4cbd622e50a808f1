//! Tokens that are signed with a secret both sides know (HS256, HS384, HS512): for issuers of one's own.

use std::time::SystemTime;

use async_trait::async_trait;

use super::{ChainError, addressed};
use crate::{
    auth::{
        AuthFault, Authenticator, Evidence, Proof, Reason, Standing,
        token::{Key, TokenPolicy},
    },
    config::identity::SharedSecretSettings,
};

/// Proves tokens by a secret.
#[derive(Debug)]
pub(super) struct SharedSecret {
    name: String,
    policy: TokenPolicy,
    /// The newer first.
    keys: Vec<Key>,
}

impl SharedSecret {
    /// Fails if a secret is too short.
    pub(super) fn new(settings: &SharedSecretSettings, standing: Standing) -> Result<Self, ChainError> {
        let name = match &settings.rules.issuer {
            Some(issuer) => format!("shared_secret {issuer}"),
            None => "shared_secret".to_owned(),
        };
        let keys = settings.secrets.iter().map(|secret| Key::secret(secret.reveal().as_bytes()));
        let keys: Result<Vec<_>, _> = keys.collect();
        let keys = keys.map_err(|problem| ChainError::new(name.as_str(), &problem))?;
        let policy = TokenPolicy { rules: settings.rules.clone(), claims: settings.claims.clone(), standing };
        Ok(Self { name, policy, keys })
    }
}

#[async_trait]
impl Authenticator for SharedSecret {
    fn name(&self) -> &str {
        &self.name
    }

    async fn authenticate(&self, evidence: &Evidence<'_>) -> Result<Option<Proof>, AuthFault> {
        let Some(token) = evidence.token else { return Ok(None) };
        let Some(parsed) = addressed(token, self.policy.rules.issuer.as_deref())? else { return Ok(None) };
        if !parsed.algorithm().is_symmetric() {
            return Ok(None);
        }
        let now = SystemTime::now();
        let mut refused = AuthFault::refused(Reason::UnknownKey, "there is no secret");
        for key in &self.keys {
            match self.policy.prove(&parsed, key, now) {
                // It may have been signed with the other one.
                Err(fault @ AuthFault::Refused { reason: Reason::Signature, .. }) => refused = fault,
                proved => return proved.map(Some),
            }
        }
        Err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            minted::{Minted, claims, rules, with_secret},
            scripted::{Request, told},
        },
        *,
    };
    use crate::{
        auth::{claims::ClaimPaths, token::Algorithm},
        config::Secret,
    };

    const NEWER: &str = "the newer secret of thirty-two bytes";
    const OLDER: &str = "the older secret of thirty-two bytes";

    fn made(issuer: Option<&str>) -> SharedSecret {
        let settings = SharedSecretSettings {
            secrets: vec![Secret::new(NEWER), Secret::new(OLDER)],
            rules: rules(issuer, &[Algorithm::HS256]),
            claims: ClaimPaths::default(),
        };
        SharedSecret::new(&settings, Standing::default()).unwrap()
    }

    #[tokio::test]
    async fn only_who_knows_a_secret_can_sign() {
        let ann = claims("https://own", "ann");
        let signed = |secret| with_secret(secret, Algorithm::HS256, &ann);
        let truncated = signed(NEWER).rsplit_once('.').unwrap().0.to_owned() + ".";
        for issuer in [None, Some("https://own")] {
            for (token, wanted) in [
                (signed(NEWER), "ann"),
                (signed(OLDER), "ann"),
                (signed("the wrong secret of thirty-two bytes"), "signature"),
                (with_secret(NEWER, Algorithm::HS512, &ann), "algorithm"),
                (Minted::new("k").token(&ann), "nobody's"),
                ("opaque".to_owned(), "nobody's"),
            ] {
                let told = told(&Request::with(&token).to(&made(issuer)).await);
                assert_eq!(told, wanted, "{issuer:?} {token}");
            }
            let told = told(&Request::with(&truncated).to(&made(issuer)).await);
            assert_ne!(told, "ann");
        }
        assert_eq!(told(&Request::bare().to(&made(None)).await), "nobody's");
    }

    #[tokio::test]
    async fn tokens_of_others_are_left_to_others() {
        let token = with_secret(NEWER, Algorithm::HS256, &claims("https://other", "ann"));
        assert_eq!(told(&Request::with(&token).to(&made(Some("https://own"))).await), "nobody's");
        assert_eq!(told(&Request::with(&token).to(&made(None)).await), "ann");
    }

    #[tokio::test]
    async fn a_short_secret_is_none_and_none_is_shown() {
        assert!(!format!("{:?}", made(None)).contains("newer"));
        let settings = SharedSecretSettings {
            secrets: vec![Secret::new("short")],
            rules: rules(None, &[Algorithm::HS256]),
            claims: ClaimPaths::default(),
        };
        let error = SharedSecret::new(&settings, Standing::default()).unwrap_err().to_string();
        assert!(error.starts_with("shared_secret") && !error.contains("short "), "{error}");
    }
}
